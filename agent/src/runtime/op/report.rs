//! What a helper tells the agent: frames of bounded size, the first as soon as it is true.
//!
//! ```text
//! start   Created, then Started or Failed(Start);   or Failed(Create)
//! exec    Started;                                  or Failed(Create)
//! ```
//! A report that ends without one of the final frames is a helper that was killed.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::runtime::ProcessId;

/// Longest text of a cause; the rest is cut off.
pub const MAX_CAUSE: usize = 2048;

/// Longest frame: a cause and a few numbers.
const MAX_FRAME: usize = MAX_CAUSE + 64;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The container's first process is there and waits.
    Created {
        /// That process, a child of this helper's parent.
        process: ProcessId,
    },
    /// The process executes what it was ordered to.
    Started {
        /// The same process as before, or that of the command.
        process: ProcessId,
        /// `CLOCK_BOOTTIME`, in nanoseconds.
        at_ns: u64,
    },
    /// It came to nothing. Nothing is left but files.
    Failed {
        /// How far it came.
        phase: Phase,
        /// The first cause, as text a person can act on.
        cause: String,
        /// The same order can never succeed.
        permanent: bool,
    },
}

/// How far a container came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not even created.
    Create,
    /// Created, but what it should execute could not be executed.
    Start,
}

impl Report {
    /// Writes one frame, at once, so that readers never see half of it.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let body = postcard::to_allocvec(self).map_err(io::Error::other)?;
        let len = u16::try_from(body.len()).map_err(io::Error::other)?;
        to.write_all(&[&len.to_le_bytes()[..], &body].concat())
    }

    /// Reads one frame; nothing where the helper said no more.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut len = [0; 2];
        match from.read_exact(&mut len).await {
            Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        };
        let len = usize::from(u16::from_le_bytes(len));
        if len > MAX_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "report frame too long"));
        }
        let mut body = vec![0; len];
        from.read_exact(&mut body).await?;
        postcard::from_bytes(&body).map(Some).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_back_in_order_and_end() {
        let process = ProcessId { pid: 4711, start_ticks: u64::MAX };
        let cause = "x".repeat(MAX_CAUSE);
        let frames = [
            Report::Created { process },
            Report::Started { process, at_ns: 1 },
            Report::Failed { phase: Phase::Start, cause, permanent: true },
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.write(&mut bytes).unwrap();
        }
        let mut from = &bytes[..];
        for frame in frames {
            assert_eq!(Report::read(&mut from).await.unwrap(), Some(frame));
        }
        assert_eq!(Report::read(&mut from).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_frame_cut_off_or_too_long_is_an_error() {
        let mut bytes = Vec::new();
        let process = ProcessId { pid: 1, start_ticks: 2 };
        Report::Created { process }.write(&mut bytes).unwrap();
        bytes.pop();
        assert!(Report::read(&mut &bytes[..]).await.is_err());
        assert!(Report::read(&mut &[0xff, 0xff, 0, 0][..]).await.is_err());
    }
}
