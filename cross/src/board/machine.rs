//! The machines a board can be: which emulator, which kernel, which program.

use std::fmt;
use std::str::FromStr;

use crate::target::Target;

/// A kind of virtual board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// A PC, for the servers and gateways.
    Pc,
    /// QEMU's `virt` board with the processor of a Raspberry Pi 3.
    CortexA53,
}

impl Machine {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Pc, Self::CortexA53];

    /// What the agent on it is built for.
    pub fn target(self) -> Target {
        match self {
            Self::Pc => Target::X86_64,
            Self::CortexA53 => Target::Aarch64,
        }
    }

    /// Debian's name for its architecture.
    pub fn debian(self) -> &'static str {
        self.target().debian()
    }

    /// The architecture as container images name it.
    pub fn platform(self) -> &'static str {
        self.debian()
    }

    /// The Debian package that depends on the newest kernel for a virtual machine: small, and with
    /// every driver that QEMU's devices want.
    pub fn kernel_package(self) -> String {
        format!("linux-image-cloud-{}", self.debian())
    }

    /// The emulator.
    pub fn emulator(self) -> &'static str {
        match self {
            Self::Pc => "qemu-system-x86_64",
            Self::CortexA53 => "qemu-system-aarch64",
        }
    }

    /// The options that make the emulator this machine.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            Self::Pc => &["-machine", "pc", "-cpu", "max"],
            Self::CortexA53 => &["-machine", "virt", "-cpu", "cortex-a53"],
        }
    }

    /// What its kernel must be told.
    pub fn kernel_options(self) -> &'static str {
        match self {
            // It counts interrupts of a timer that an emulator on a busy machine delivers late, and
            // panics where there are too few.
            Self::Pc => "no_timer_check",
            Self::CortexA53 => "",
        }
    }

    /// The kernel's name of the serial console.
    pub fn console(self) -> &'static str {
        match self {
            Self::Pc => "ttyS0",
            Self::CortexA53 => "ttyAMA0",
        }
    }
}

impl FromStr for Machine {
    type Err = UnknownMachine;

    fn from_str(text: &str) -> Result<Self, UnknownMachine> {
        let named = |machine: &Self| machine.to_string() == text;
        Self::ALL.into_iter().find(named).ok_or_else(|| UnknownMachine(text.to_owned()))
    }
}

/// A word that names no machine.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownMachine(String);

impl fmt::Display for UnknownMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no board is called `{}`; there are x86_64, aarch64 and raspi3b", self.0)
    }
}

impl std::error::Error for UnknownMachine {}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.target().name())
    }
}
