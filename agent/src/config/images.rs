//! `[images]`: where images come from, and how long they stay.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mote_registry::reference::Reference;
use mote_registry::{Exception, Host, Identity, MAX_EXCEPTIONS, Proxies, Proxy, Settings};

use super::broker::BrokerUrl;
use super::problem::Rule;
use super::section::{Found, Section};
use crate::image::gc::Thresholds;

/// Registries with settings of their own.
const MAX_REGISTRIES: usize = 16;

/// Mirrors of one registry.
const MAX_MIRRORS: usize = 8;

/// Images that are never removed.
const MAX_PINNED: usize = 64;

/// Fastest bound on downloads that means anything, in KiB per second: 10 Gbit/s.
const MAX_PACE: u64 = 1_220_703;

/// `[images]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagesConfig {
    /// Where people drop archives and layouts of images.
    pub import_dir: PathBuf,
    /// When images that nobody needs are removed.
    pub gc: Thresholds,
    /// Full references of images that never are.
    pub pinned: BTreeSet<String>,
    /// Registries, and the way to them.
    pub registries: Settings,
    /// Variables of the environment that mean nothing here, and why.
    pub passed_over: Vec<String>,
}

impl ImagesConfig {
    pub(super) fn read(section: &mut Section<'_, '_>, state_dir: Option<&Path>) -> Self {
        let import_dir = section.text("import_dir");
        let import_dir = section.path(import_dir);
        let gc = read_image_gc(section);
        let pinned = section.list::<Reference>("pinned", MAX_PINNED);
        let pace = section.integer("max_kib_per_s", 0..=MAX_PACE, 0);
        let mut passed_over = Vec::new();
        let proxies = read_proxies(section, &mut passed_over);
        let registries = Settings {
            hosts: read_registries(section),
            proxies,
            bytes_per_second: NonZeroU64::new(pace * 1024),
            ..Settings::default()
        };
        let beside_state = || state_dir.unwrap_or(Path::new("/")).join("import");
        Self {
            import_dir: import_dir.unwrap_or_else(beside_state),
            gc,
            pinned: pinned.iter().map(ToString::to_string).collect(),
            registries,
            passed_over,
        }
    }
}

fn read_image_gc(section: &mut Section<'_, '_>) -> Thresholds {
    let default = Thresholds::default();
    let percent = |value: u64| u8::try_from(value).unwrap_or(100);
    let high = percent(section.integer("gc_high_percent", 1..=100, default.high_percent.into()));
    let low = percent(section.integer("gc_low_percent", 0..=99, default.low_percent.into()));
    if low >= high {
        let rule = format!("must be below `gc_high_percent`, which is {high}");
        section.report(None, "gc_low_percent", Rule::Invalid(rule));
    }
    let age = section.integer("gc_min_age_s", 0..=31_536_000, default.min_age.as_secs());
    Thresholds { high_percent: high, low_percent: low, min_age: Duration::from_secs(age) }
}

/// The file counts; where it says nothing, the variables that programs written in Go go by.
fn read_proxies(section: &mut Section<'_, '_>, passed_over: &mut Vec<String>) -> Proxies {
    let proxy = section.text("proxy");
    let no_proxy = section.list_where_any::<Exception>("no_proxy", MAX_EXCEPTIONS);
    let mut problems = Vec::new();
    let variable = |name: &str| section.variable(name).map(|found| found.text);
    let mut proxies = Proxies::of_environment(variable, &mut problems);
    if let Some(Found { text, key, line }) = proxy {
        let proxy = section.parse::<Proxy>(Some(Found { text, key, line }));
        (proxies.https, proxies.http) = (proxy.clone(), proxy);
    } else {
        passed_over.extend(problems);
    }
    if let Some(except) = no_proxy {
        proxies.except = except;
    }
    proxies
}

fn read_registries(section: &mut Section<'_, '_>) -> Vec<Host> {
    let mut registries: Vec<Host> = Vec::new();
    for mut entry in section.tables("registry", MAX_REGISTRIES) {
        let host = entry.text("host");
        let host = entry.required::<RegistryHost>("host", host);
        let plain_http = entry.flag("insecure");
        let ca = entry.text("ca");
        let ca = entry.path(ca);
        let identity = entry.certificate().map(|(cert, key)| Identity { cert, key });
        for (key, given) in [("ca", ca.is_some()), ("cert", identity.is_some())] {
            if plain_http && given {
                let rule = format!("`{key}` has no meaning where `insecure` is true");
                entry.report(None, key, Rule::Invalid(rule));
            }
        }
        let mirrors = entry.list::<RegistryHost>("mirrors", MAX_MIRRORS);
        let mirrors = mirrors.into_iter().map(|RegistryHost(mirror)| mirror).collect();
        if let Some(RegistryHost(host)) = host {
            if registries.iter().any(|known| known.host == host) {
                entry.report(None, "host", Rule::Invalid(format!("`{host}` is there twice")));
            }
            registries.push(Host { host, plain_http, ca, identity, mirrors });
        }
        entry.finish();
    }
    registries
}

/// `host` or `host:port`.
struct RegistryHost(String);

#[derive(Debug, thiserror::Error)]
#[error("registry must be a host or host:port, as image references begin")]
struct RegistryHostError;

impl std::str::FromStr for RegistryHost {
    type Err = RegistryHostError;
    fn from_str(text: &str) -> Result<Self, RegistryHostError> {
        // The same rules as for the broker's host and port.
        match format!("mqtt://{text}").parse::<BrokerUrl>() {
            Ok(_) if !text.ends_with('/') => Ok(Self(text.to_owned())),
            _ => Err(RegistryHostError),
        }
    }
}
