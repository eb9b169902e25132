//! `mote image save` on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueHint};
use mote_registry::platform::{Platform, PlatformError};
use mote_registry::reference::Reference;

/// `mote image save`.
#[derive(Debug, Args)]
#[command(after_help = "\
A node imports the archive from its import directory (/var/lib/mote/import), or at the machine with \
`mote-agent ctl images import FILE`. Layers are kept as the registry has them, every byte is \
compared with its digest, and the same image gives the same file. An image that is made for several \
platforms needs --platform; of variants it takes the one that a node of that platform would run.

Of variables, HTTPS_PROXY, HTTP_PROXY, NO_PROXY and DOCKER_CONFIG mean what they mean elsewhere. \
Credential helpers are not run: docker's file must hold names and passwords itself (`auths`).

Examples:
  mote image save registry.example/web:3.5 --platform linux/arm64 -o web.tar
  mote image save registry.example/web:3.5 registry.example/db:2 --platform all -o both.tar
  mote image save registry.lan:5000/web:3.5 --plain-http registry.lan:5000 | \
ssh pi-7 'cat > web.tar'")]
pub struct SaveArgs {
    /// Images; what they share is in the archive once
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// The archive, or - for standard output; may be left out where that is no terminal
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64 or linux/arm/v7; several, or all
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    pub platform: Vec<AskedPlatform>,
    /// Docker's file of names and passwords (default ~/.docker/config.json)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub registry_config: Option<PathBuf>,
    /// PEM file of the CAs that may have signed certificates of registries, instead of the system's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// A registry that is asked by plain HTTP, as images name it; may be given several times
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host)]
    pub plain_http: Vec<String>,
}

/// For what an image is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedPlatform {
    /// For all that there are.
    All,
    /// For this one.
    One(Platform),
}

impl FromStr for AskedPlatform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

/// A host as references begin with it.
fn host(text: &str) -> Result<String, &'static str> {
    let whole: Result<Reference, _> = format!("{text}/x").parse();
    let is_host = |reference: &Reference| reference.registry() == text;
    match whole.ok().filter(is_host) {
        Some(_) => Ok(text.to_owned()),
        None => Err("a registry is a host or host:port, as image names begin"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_that_images_begin_with() {
        for text in ["r.example", "r.example:5000", "localhost", "10.0.0.1:5000", "[::1]:5000"] {
            assert_eq!(host(text).as_deref(), Ok(text));
        }
        for text in ["", "http://r.example", "r.example/a", "team", "r.example:x"] {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_is_a_platform_of_its_own() {
        assert_eq!("all".parse(), Ok(AskedPlatform::All));
        assert_eq!("linux/arm64".parse(), Ok(AskedPlatform::One(Platform::new("arm64", ""))));
        assert!("arm64".parse::<AskedPlatform>().is_err());
    }
}
