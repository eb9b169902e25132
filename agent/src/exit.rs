//! How the process ends: every exit code this program has, and what it tells systemd.

use std::process::ExitCode;

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked to, or was asked to stop.
    Done,
    /// What was asked for could not be had: no such pod, no running agent; or a node has problems
    /// (`ctl` and `halt` only).
    Failed,
    /// The command line makes no sense. Starting again cannot help.
    Usage,
    /// Something that must hold does not, or the machine is in the way. Starting again may help.
    Internal,
    /// A command in a container was run and exited so (`ctl exec` only).
    Command(u8),
    /// The configuration makes no sense. Starting again cannot help until somebody mends it.
    Config,
}

impl Exit {
    /// The number, after sysexits(3). The unit has `RestartPreventExitStatus=64 78`.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 64,
            Self::Internal => 70,
            Self::Command(code) => code,
            Self::Config => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
