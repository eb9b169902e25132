//! Devices of the board that containers may have without being privileged: each is an extended
//! resource, named after its node (`/dev/gpiochip0` is `mote.io/gpiochip0`).
//!
//! Which nodes are offered, and how many containers may have one at a time, is the operator's to say
//! (`[[device]]`). Nothing is kept here: a node is looked up when it is needed, so that what is plugged
//! in later is there.

mod watch;

pub use watch::Watch;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Before the name of each.
pub const PREFIX: &str = "mote.io/";

/// Longest name of an extended resource behind its prefix, as in Kubernetes.
const MAX_NAME: usize = 63;

/// What boards like the Raspberry Pi have, where the operator says nothing. Many programs drive
/// different pins of one chip and different chips on one bus; a serial line has one at its end.
const USUAL: [(&str, u32); 9] = [
    ("/dev/gpiochip*", 8),
    ("/dev/gpiomem*", 8),
    ("/dev/i2c-*", 8),
    ("/dev/spidev*", 1),
    ("/dev/ttyAMA*", 1),
    ("/dev/ttyUSB*", 1),
    ("/dev/ttyACM*", 1),
    ("/dev/video*", 1),
    // USB by a name that is the same in whatever socket it is.
    ("/dev/serial/by-id/*", 1),
];

/// Device nodes that are offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    directory: PathBuf,
    /// Of the file's name: before and behind a star, or all of it.
    name: (String, Option<String>),
    /// Containers that may have one at the same time.
    pub share: u32,
}

/// Why a text is no pattern.
#[derive(Debug, thiserror::Error)]
#[error("must be a path below /dev, with one `*` at most, in its last part")]
pub struct PatternError;

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let path = Path::new(text);
        let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
        let (directory, name) = text.rsplit_once('/').ok_or(PatternError)?;
        let below = plain && path.starts_with("/dev") && !directory.contains('*');
        let (before, behind) = match name.split_once('*') {
            Some((before, behind)) => (before, Some(behind.to_owned())),
            None => (name, None),
        };
        let one = behind.as_ref().is_none_or(|behind| !behind.contains('*'));
        // Any node at all would be the disks as well.
        if !below || !one || before.is_empty() && directory == "/dev" || name.is_empty() {
            return Err(PatternError);
        }
        Ok(Self { directory: directory.into(), name: (before.to_owned(), behind), share: 1 })
    }
}

impl Pattern {
    /// The same, for so many containers at a time.
    #[must_use]
    pub fn shared_by(self, share: u32) -> Self {
        Self { share, ..self }
    }

    /// It matches the same nodes.
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.directory, &self.name) == (&other.directory, &other.name)
    }

    fn matches(&self, name: &str) -> bool {
        match &self.name {
            (whole, None) => name == whole,
            (before, Some(behind)) => {
                name.len() >= before.len() + behind.len()
                    && name.starts_with(before.as_str())
                    && name.ends_with(behind.as_str())
            }
        }
    }
}

/// The patterns of a node whose operator says nothing.
pub fn usual() -> Vec<Pattern> {
    let patterns = USUAL
        .into_iter()
        .filter_map(|(text, share)| Some(text.parse::<Pattern>().ok()?.shared_by(share)));
    patterns.collect()
}

/// A device node that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where.
    pub path: PathBuf,
    /// Its number for the kernel (`st_rdev`), which all nodes of it have.
    pub number: u64,
    /// Containers that may have it at the same time.
    pub share: u32,
}

/// The devices that are there now, by the name of their resource. Where two patterns match, the
/// first counts.
pub fn found(patterns: &[Pattern]) -> BTreeMap<String, Device> {
    let mut found = BTreeMap::new();
    for pattern in patterns {
        for entry in fs::read_dir(&pattern.directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !pattern.matches(&name) {
                continue;
            }
            // Through links: those by id are links.
            let path = entry.path();
            let Ok(node) = fs::metadata(&path) else { continue };
            let kind = node.file_type();
            if kind.is_char_device() || kind.is_block_device() {
                let device = Device { path, number: node.rdev(), share: pattern.share };
                found.entry(resource(&name)).or_insert(device);
            }
        }
    }
    found
}

/// The name of the resource that a node is.
fn resource(node: &str) -> String {
    let valid = |character: char| {
        let plain = character.is_ascii_alphanumeric() || "-_.".contains(character);
        if plain { character } else { '_' }
    };
    let name: String = node.chars().map(valid).take(MAX_NAME).collect();
    format!("{PREFIX}{}", name.trim_matches(['-', '_', '.']))
}

/// Whether a text is the name of a resource that a node may be.
pub fn is_resource(name: &str) -> bool {
    let Some(name) = name.strip_prefix(PREFIX) else { return false };
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    name.len() <= MAX_NAME
        && name.bytes().all(inner)
        && outer(name.as_bytes().first())
        && outer(name.as_bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_below_dev() {
        let pattern = |text: &str| text.parse::<Pattern>().ok();
        let chips = pattern("/dev/gpiochip*").unwrap();
        assert!(chips.matches("gpiochip0") && chips.matches("gpiochip"));
        assert!(!chips.matches("xgpiochip0"));
        let inner = pattern("/dev/serial/by-id/usb-*-port0").unwrap();
        assert!(inner.matches("usb-FTDI-port0") && !inner.matches("usb-port0"));
        let one = pattern("/dev/ttyAMA0").unwrap();
        assert!(one.matches("ttyAMA0") && !one.matches("ttyAMA01"));
        for wrong in
            ["gpio*", "/dev/*", "/sys/x", "/dev/../etc/x", "/dev/a*b*", "/dev/*/x", "/dev/"]
        {
            assert!(pattern(wrong).is_none(), "{wrong}");
        }
        assert_eq!(usual().len(), USUAL.len());
    }

    #[test]
    fn resources_are_named_after_nodes() {
        assert_eq!(resource("gpiochip0"), "mote.io/gpiochip0");
        let long = "usb-Silicon_Labs:CP2102_".repeat(4);
        let name = resource(&long);
        assert!(is_resource(&name) && name.contains("Labs_CP2102"), "{name}");
        for wrong in ["gpio", "example.com/gpio", "mote.io/", "mote.io/-a", "mote.io/a/b"] {
            assert!(!is_resource(wrong), "{wrong}");
        }
    }

    #[test]
    fn nodes_that_are_there_are_found_and_files_are_not() {
        let patterns: Vec<Pattern> = ["/dev/nul*", "/dev/null", "/dev/shm*"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let found = found(&patterns);
        let number = rustix::fs::makedev(1, 3);
        let null = Device { path: "/dev/null".into(), number, share: 1 };
        assert_eq!(found, BTreeMap::from([("mote.io/null".to_owned(), null)]));
    }
}
