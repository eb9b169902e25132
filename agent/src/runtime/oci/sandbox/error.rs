//! What can go wrong between agent and sandbox.

use std::io;
use std::path::PathBuf;

use mote_pause::wire::{Failure, Reply, VERSION, WireError};

/// Why a sandbox did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The program could not be put where it is executed from.
    #[error("extract mote-pause to `{}`", path.display())]
    Extract {
        /// Where it should be.
        path: PathBuf,
        /// Why it is not.
        source: io::Error,
    },
    /// No process.
    #[error("start mote-pause in `{}`", dir.display())]
    Spawn {
        /// The pod's directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No sandbox to adopt.
    #[error("connect to mote-pause in `{}`", dir.display())]
    Connect {
        /// The pod's directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The connection failed.
    #[error("talk to mote-pause")]
    Talk {
        /// Why.
        source: io::Error,
    },
    /// The sandbox refused, or could not.
    #[error("mote-pause could not {}", failure.text())]
    Refused {
        /// What it was doing.
        failure: Failure,
        /// What the kernel said; nothing if it was not asked.
        source: Option<io::Error>,
    },
    /// The sandbox has gone, or has hung up.
    #[error("mote-pause is gone")]
    Gone,
    /// It speaks another language.
    #[error("understand mote-pause")]
    Language {
        /// What was not understood.
        source: WireError,
    },
    /// A newer agent started it, and this one does not know what it says.
    #[error("mote-pause speaks version {found}, this agent {VERSION}: it is left alone")]
    Version {
        /// Its version.
        found: u8,
    },
    /// It answered something else than what was asked.
    #[error("mote-pause gave the wrong answer")]
    Answer,
    /// The helper has more arguments, environment or files than a message has room for, or a NUL
    /// in one of its strings.
    #[error("describe a helper to mote-pause")]
    Helper,
}

impl SandboxError {
    /// This says nothing of the sandbox: it may live, and answer when it is asked again, or when another
    /// agent asks it.
    pub fn is_passing(&self) -> bool {
        match self {
            // Nobody listens there, or nobody ever did.
            Self::Connect { source, .. } => {
                !matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
            }
            Self::Talk { .. } | Self::Gone | Self::Version { .. } => true,
            _ => false,
        }
    }

    /// The program, or its directory, is not where it was put.
    pub fn lacks_program(&self) -> bool {
        matches!(self, Self::Spawn { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// What an answer that is not the wanted one means.
    pub(super) fn unexpected(reply: Reply) -> Self {
        let Reply::Failed { failure, errno } = reply else { return Self::Answer };
        let source = (errno != 0).then(|| io::Error::from_raw_os_error(i32::from(errno)));
        Self::Refused { failure, source }
    }
}
