//! What a program can be linked statically for. PURE.

use std::fmt;
use std::str::FromStr;

use crate::elf;

/// A kind of processor, with musl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// PCs and servers.
    X86_64,
    /// 64-bit ARM: Raspberry Pi 3, 4, 5 and Zero 2 W with a 64-bit system.
    Aarch64,
    /// 32-bit ARM from version 7 on: Raspberry Pi 2, and later ones with a 32-bit system.
    Armv7,
    /// 32-bit ARM of version 6 with floating point: the first Raspberry Pi, and Zero.
    Armv6,
}

/// A word that names no target.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownTarget(String);

impl Target {
    /// Every target of a release.
    pub const ALL: [Self; 4] = [Self::X86_64, Self::Aarch64, Self::Armv7, Self::Armv6];

    /// The name rustc knows it by.
    pub fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
            Self::Armv7 => "armv7-unknown-linux-musleabihf",
            Self::Armv6 => "arm-unknown-linux-musleabihf",
        }
    }

    /// The short name that people type.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Armv7 => "armv7",
            Self::Armv6 => "armv6",
        }
    }

    /// The C compiler that `.cargo/config.toml` names for it, and the Debian packages that bring it
    /// with the headers it needs. None where it is zig's, whatever the route.
    pub fn compiler(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::X86_64 => Some(("musl-gcc", &["musl-tools"])),
            Self::Aarch64 => {
                Some(("aarch64-linux-gnu-gcc", &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]))
            }
            Self::Armv7 | Self::Armv6 => None,
        }
    }

    /// `e_machine` of its programs.
    pub fn machine(self) -> u16 {
        match self {
            Self::X86_64 => elf::X86_64,
            Self::Aarch64 => elf::AARCH64,
            Self::Armv7 | Self::Armv6 => elf::ARM,
        }
    }

    /// The emulator of single programs, with the oldest processor that programs must run on.
    pub fn emulator(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::X86_64 => ("qemu-x86_64-static", &[]),
            Self::Aarch64 => ("qemu-aarch64-static", &["-cpu", "cortex-a53"]),
            Self::Armv7 => ("qemu-arm-static", &["-cpu", "cortex-a7"]),
            Self::Armv6 => ("qemu-arm-static", &["-cpu", "arm1176"]),
        }
    }

    /// The architecture as Debian names it. Raspberry Pi OS calls version 6 what Debian calls version
    /// 7: its programs run on both.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::Armv7 | Self::Armv6 => "armhf",
        }
    }

    /// Whether packages are made of it. Of the two that Debian calls `armhf` it is the one that runs on
    /// every board: packages of one name have one content.
    pub fn has_package(self) -> bool {
        self != Self::Armv7
    }

    /// Whether libcontainer must be mended for it: see [`crate::mended`].
    pub fn is_32_bit_arm(self) -> bool {
        self.machine() == elf::ARM
    }

    /// That of this machine.
    pub fn here() -> Result<Self, UnknownTarget> {
        std::env::consts::ARCH.parse()
    }

    /// Whether this machine runs its programs without an emulator.
    pub fn is_native(self) -> bool {
        Self::here() == Ok(self)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.triple())
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        let means = |target: &Self| target.name() == text || target.triple() == text;
        Self::ALL.into_iter().find(means).ok_or_else(|| UnknownTarget(text.to_owned()))
    }
}

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Target::ALL.map(Target::name).join(", ");
        write!(f, "no target is called `{}`; there are {names}", self.0)
    }
}

impl std::error::Error for UnknownTarget {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_known_by_both_names() {
        for target in Target::ALL {
            assert_eq!(target.name().parse(), Ok(target));
            assert_eq!(target.triple().parse(), Ok(target));
        }
        let error = "arm64".parse::<Target>().expect_err("Debian's name").to_string();
        let known = "there are x86_64, aarch64, armv7, armv6";
        assert_eq!(error, format!("no target is called `arm64`; {known}"));
    }
}
