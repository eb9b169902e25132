//! Which of an image's variants a machine can run.
//!
//! The names are Go's, as everywhere in the image world: `amd64`, `arm64`, `arm` with a variant.
//! What counts is what the program was built for, not what the kernel calls itself: a 32-bit system
//! on a 64-bit kernel has 32-bit libraries, helpers and expectations.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Operating system, architecture and variant of an image or a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// `linux` on every node.
    pub os: String,
    /// `amd64`, `arm64`, `arm`, ...
    pub architecture: String,
    /// `v6`, `v7`, `v8`, or empty.
    pub variant: String,
}

/// Longest part of a platform that people write.
const MAX_PART: usize = 40;
/// Longest platform that is shown.
const MAX_SHOWN: usize = 60;

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a platform is OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64 or linux/arm/v7")]
pub struct PlatformError;

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads what people write, also where they use a kernel's word for an architecture.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let text = text.to_ascii_lowercase();
        let parts: Vec<&str> = text.split('/').collect();
        let part = |part: &&str| {
            !part.is_empty()
                && part.len() <= MAX_PART
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(part) {
            return Err(PlatformError);
        }
        let at = |place: usize| parts.get(place).copied().unwrap_or_default().to_owned();
        let architecture = match at(1).as_str() {
            "x86_64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        };
        Ok(Self { os: at(0), architecture, variant: at(2) })
    }
}

impl Platform {
    /// The platform this program was built for, with the variant this machine has.
    pub fn host() -> Self {
        let machine = rustix::system::uname();
        Self::of_machine(std::env::consts::ARCH, &machine.machine().to_string_lossy())
    }

    /// The platform of a program built for `arch` (Rust's name) on a kernel that calls its
    /// machine `machine`.
    fn of_machine(arch: &str, machine: &str) -> Self {
        let (architecture, variant) = match arch {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", arm_variant(machine)),
            "powerpc64" => ("ppc64le", ""),
            other => (other, ""),
        };
        Self::new(architecture, variant)
    }

    /// A Linux platform.
    pub fn new(architecture: &str, variant: &str) -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// One that somebody else wrote, for a person: short, and without what a terminal would obey.
    pub fn shown(&self) -> String {
        self.to_string().chars().filter(char::is_ascii_graphic).take(MAX_SHOWN).collect()
    }

    /// How well an image made for `offered` suits this node: `None` not at all, otherwise the
    /// lowest number is the best.
    pub fn rank(&self, offered: &Self) -> Option<u32> {
        if offered.os != self.os || offered.architecture != self.architecture {
            return None;
        }
        let mine = level(self)?;
        let theirs = level(offered)?;
        // An older variant runs, only slower; a newer one does not.
        mine.checked_sub(theirs)
    }
}

/// The number of a variant, with the one that is meant when none is written.
fn level(platform: &Platform) -> Option<u32> {
    let variant = match (platform.architecture.as_str(), platform.variant.as_str()) {
        ("arm", "") => "v7",
        ("arm64", "") => "v8",
        ("amd64", "") => "v1",
        (_, "") => return Some(0),
        (_, variant) => variant,
    };
    // `v8.1` and the like are newer than any board we can tell apart: treat as their next major.
    let digits = variant.strip_prefix('v')?;
    match digits.split_once('.') {
        None => digits.parse().ok(),
        Some((major, _)) => major.parse::<u32>().ok()?.checked_add(1),
    }
}

/// `armv6l`, `armv7l`; the kernels of 64-bit boards call themselves `aarch64` or `armv8l`, and run
/// 32-bit programs of every variant.
fn arm_variant(machine: &str) -> &'static str {
    if machine.starts_with("armv5") {
        "v5"
    } else if machine.starts_with("armv6") {
        "v6"
    } else if machine.starts_with("armv8") || machine.starts_with("aarch64") {
        "v8"
    } else {
        "v7"
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown =
            |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
        write!(f, "{}/{}", or_unknown(&self.os), or_unknown(&self.architecture))?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Platform {
        let mut parts = text.split('/');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        Platform { os: next(), architecture: next(), variant: next() }
    }

    /// The offers a node accepts, best first.
    fn choose<'a>(node: &Platform, offers: &[&'a str]) -> Vec<&'a str> {
        let mut ranked: Vec<_> =
            offers.iter().filter_map(|o| Some((node.rank(&parse(o))?, *o))).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, offer)| offer).collect()
    }

    const OFFERS: &[&str] = &[
        "linux/amd64",
        "linux/arm/v5",
        "linux/arm/v6",
        "linux/arm",
        "linux/arm64",
        "linux/arm64/v9",
        "windows/amd64",
        "unknown/unknown",
    ];

    #[test]
    fn boards_get_the_newest_variant_they_can_run() {
        let node = |arch, machine| Platform::of_machine(arch, machine);
        assert_eq!(choose(&node("aarch64", "aarch64"), OFFERS), ["linux/arm64"]);
        assert_eq!(
            choose(&node("arm", "armv7l"), OFFERS),
            ["linux/arm", "linux/arm/v6", "linux/arm/v5"]
        );
        assert_eq!(choose(&node("arm", "armv6l"), OFFERS), ["linux/arm/v6", "linux/arm/v5"]);
        assert_eq!(choose(&node("x86_64", "x86_64"), OFFERS), ["linux/amd64"]);
        assert!(choose(&node("riscv64", "riscv64"), OFFERS).is_empty());
    }

    #[test]
    fn a_32_bit_system_on_a_64_bit_kernel_stays_32_bit() {
        let node = Platform::of_machine("arm", "aarch64");
        assert_eq!(choose(&node, OFFERS)[0], "linux/arm");
        assert_eq!(choose(&node, &["linux/arm/v7", "linux/arm/v8"])[0], "linux/arm/v8");
    }

    #[test]
    fn nonsense_variants_match_nothing() {
        let node = Platform::new("arm", "v7");
        assert_eq!(node.rank(&parse("linux/arm/seven")), None);
        assert_eq!(node.rank(&parse("linux/arm/v99999999999")), None);
    }

    #[test]
    fn platforms_are_read_as_people_write_them() {
        for (text, read) in [
            ("linux/arm64", "linux/arm64"),
            ("Linux/aarch64", "linux/arm64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm/v7", "linux/arm/v7"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), read);
        }
        for text in ["", "arm64", "linux/", "linux/arm/v7/x", "linux/a b", "linux//v7"] {
            assert_eq!(text.parse::<Platform>(), Err(PlatformError), "{text}");
        }
    }

    #[test]
    fn platforms_print_as_people_write_them() {
        assert_eq!(Platform::new("arm", "v6").to_string(), "linux/arm/v6");
        assert_eq!(Platform::default().to_string(), "unknown/unknown");
    }

    #[test]
    fn a_terminal_obeys_no_platform() {
        let hostile = Platform::new("arm\u{1b}[2J\r\n\u{9b}1m\u{202e}64", "");
        assert_eq!(hostile.shown(), "linux/arm[2J1m64");
        assert_eq!(Platform::new(&"x".repeat(999), "").shown().len(), MAX_SHOWN);
    }
}
