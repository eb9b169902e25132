//! The release as it is shipped: programs linked statically for a target, built with cargo and
//! checked to be what they claim.
//!
//! Cargo's own target directory is the cache: a second build of unchanged sources takes a second.
//! What is built does not depend on where: directories of this machine are told as others.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::check;
use crate::mended;
use crate::route::{Library, Route, rustc};
use crate::target::Target;
use crate::workspace;

/// What a release consists of, for one target.
#[derive(Clone, Debug)]
pub struct Release {
    /// What for.
    pub target: Target,
    /// How it was built.
    pub route: Route,
    /// The daemon of nodes.
    pub agent: PathBuf,
    /// The operators' tool.
    pub mote: PathBuf,
    /// What the agent has embedded.
    pub pause: PathBuf,
}

impl Release {
    /// Builds everything for a target.
    pub fn build(target: Target) -> Result<Self> {
        let route = Route::find(target)?;
        let agent = Package::AGENT.build(target, &route)?;
        let mote = Package::MOTE.build(target, &route)?.program;
        let pause =
            agent.made.context("cargo does not say where mote-pause is")?.join("mote-pause");
        check::is_static(target, &pause)?;
        Ok(Self { target, route, agent: agent.program, mote, pause })
    }
}

/// The agent, built for a target.
pub fn agent(target: Target) -> Result<PathBuf> {
    Ok(Package::AGENT.build(target, &Route::find(target)?)?.program)
}

/// Builds the agent at once for several targets: one alone keeps but one processor busy, as it is
/// optimised as a whole. None of them may take zig.
pub fn agents(targets: &[Target]) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.arg("build");
    for target in targets.iter().copied() {
        let route = Route::find(target)?;
        ensure!(route.zig.is_none(), "{target} takes zig: cargo cross build {}", target.name());
        cargo.args(["--target", target.triple(), "--config", &configuration(target)?]);
    }
    let status = Package::AGENT.choose(&mut cargo).status().context("start cargo")?;
    ensure!(status.success(), "the agent does not build");
    Ok(())
}

/// The operators' tool, built for a target.
pub fn mote(target: Target) -> Result<PathBuf> {
    Ok(Package::MOTE.build(target, &Route::find(target)?)?.program)
}

/// A package, and the program of it that is shipped.
struct Package {
    name: &'static str,
    program: &'static str,
}

/// What a build gave.
struct Built {
    program: PathBuf,
    /// The directory of what the package's build script made.
    made: Option<PathBuf>,
}

impl Package {
    const AGENT: Self = Self { name: "mote-agent", program: "mote-agent" };
    const MOTE: Self = Self { name: "mote-fleet", program: "mote" };

    fn build(&self, target: Target, route: &Route) -> Result<Built> {
        let output = self
            .choose(&mut self.command(target, route)?)
            .args(["--target", target.triple()])
            .arg("--message-format=json-render-diagnostics")
            .stderr(Stdio::inherit())
            .output()
            .context("start cargo")?;
        ensure!(output.status.success(), "{} does not build for {target} ({route})", self.program);
        let built = self.read(&output.stdout)?;
        check::is_static(target, &built.program)?;
        Ok(built)
    }

    /// Says which program of which package is built, and how.
    fn choose<'a>(&self, cargo: &'a mut Command) -> &'a mut Command {
        cargo.args(["--quiet", "--locked", "--release", "--package", self.name]);
        cargo.args(["--bin", self.program]).stdin(Stdio::null())
    }

    fn command(&self, target: Target, route: &Route) -> Result<Command> {
        let mut cargo = workspace::cargo();
        if let Some(zig) = &route.zig {
            // Takes the flags of the environment only, and hands them on.
            cargo.arg("zigbuild").env("PATH", path_with(zig)?);
            let mut all = vec!["-Cforce-unwind-tables=no".to_owned()];
            if route.library == Library::Source {
                // Start files and C library are zig's; rustup's would come with the library.
                all.push("-Clink-self-contained=no".into());
            }
            all.extend(remapped()?);
            cargo.env("CARGO_ENCODED_RUSTFLAGS", all.join("\x1f"));
        } else {
            cargo.args(["build", "--config", &configuration(target)?]);
        }
        if route.library == Library::Source {
            // By the environment: the agent's build script builds `mote-pause` in the same way.
            cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort");
        }
        if target.is_32_bit_arm() && self.name == Self::AGENT.name {
            let copy = mended::libcontainer(&workspace::target_directory()?.join("cross"))?;
            let paths = serde_json::to_string(&[copy])?;
            cargo.arg("--config").arg(format!("paths={paths}"));
        }
        Ok(cargo)
    }

    /// Reads what cargo said.
    fn read(&self, messages: &[u8]) -> Result<Built> {
        let (mut program, mut made) = (None, None);
        for line in messages.split(|byte| *byte == b'\n') {
            let Ok(message) = serde_json::from_slice::<Message>(line) else { continue };
            let is_ours = message.package_id.is_some_and(|id| id.contains(self.name));
            if let Some(path) = message.executable
                && path.file_name().is_some_and(|name| name == self.program)
            {
                program = Some(path);
            } else if is_ours && message.out_dir.is_some() {
                made = message.out_dir;
            }
        }
        let missing = || format!("cargo does not say where {} is", self.program);
        Ok(Built { program: program.with_context(missing)?, made })
    }
}

/// The parts of cargo's messages that say where something is.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    out_dir: Option<PathBuf>,
    package_id: Option<String>,
}

/// What cargo is told in addition to what `.cargo/config.toml` says of a target.
fn configuration(target: Target) -> Result<String> {
    let list = serde_json::to_string(&remapped()?)?;
    Ok(format!("target.{}.rustflags={list}", target.triple()))
}

/// Flags by which directories of this machine are in no program: panics name their source.
fn remapped() -> Result<Vec<String>> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let sources = home.context("there is no home directory")?.join("registry/src");
    let mut flags = Vec::new();
    // The index's directory in between has a name that is the same everywhere.
    for (from, to) in [(workspace::root(), "/mote"), (sources.as_path(), "/crates")] {
        let from = from.to_str().context("a directory's name is no text")?;
        flags.push(format!("--remap-path-prefix={from}={to}"));
    }
    let mended = workspace::target_directory()?.join("cross");
    let mended = mended.to_str().context("the target directory's name is no text")?;
    flags.push(format!("--remap-path-prefix={mended}=/mended"));
    // Where rustup has the standard library's source, its functions are said to be there, and else
    // where they were built.
    let source = Path::new(&rustc(&["--print", "sysroot"])?).join("lib/rustlib/src/rust");
    let source = source.to_str().context("the toolchain's name is no text")?;
    let version = rustc(&["--version", "--verbose"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    let commit = commit.context("rustc does not say of which commit it is")?;
    flags.push(format!("--remap-path-prefix={source}=/rustc/{commit}"));
    Ok(flags)
}

fn path_with(first: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(first.to_owned()).chain(env::split_paths(&path));
    env::join_paths(all).context("a directory has a colon in its name")
}

/// Puts the programs of a release into one directory, under their names.
pub fn collect(release: &Release, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("create {}", into.display()))?;
    for program in [&release.agent, &release.mote, &release.pause] {
        let name = program.file_name().context("a program has a name")?;
        let to = into.join(name);
        fs::copy(program, &to).with_context(|| format!("copy to {}", to.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_among_what_cargo_says() {
        let messages = concat!(
            r#"{"reason":"build-script-executed","package_id":"path+file:///w/agent#mote-agent@0.1.0","out_dir":"/out"}"#,
            "\n",
            r#"{"reason":"build-script-executed","package_id":"registry+x#ring@0.17","out_dir":"/ring"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","package_id":"path+file:///w/agent#mote-agent@0.1.0","executable":"/t/mote-agent"}"#,
            "\nnot a message\n",
        );
        let built = Package::AGENT.read(messages.as_bytes()).expect("found");
        assert_eq!(built.program, Path::new("/t/mote-agent"));
        assert_eq!(built.made.as_deref(), Some(Path::new("/out")));
        assert!(Package::MOTE.read(messages.as_bytes()).is_err());
    }

    #[test]
    fn no_directory_of_this_machine_stays() {
        let flags = remapped().expect("flags");
        let root = format!("--remap-path-prefix={}=/mote", workspace::root().display());
        assert!(flags.contains(&root), "{flags:?}");
        assert!(flags.iter().any(|flag| flag.ends_with("registry/src=/crates")), "{flags:?}");
        let library = |flag: &&String| flag.contains("lib/rustlib/src/rust=/rustc/");
        assert_eq!(flags.iter().filter(library).count(), 1, "{flags:?}");
    }
}
