//! What stands in the file of one object.

use mote_protocol::frame;
use mote_protocol::name::Uid;
use mote_protocol::object::{self, Intent, Object, Revision};
use mote_protocol::topic::Scope;
use serde::{Deserialize, Serialize};

/// The file of one object: the life that is wanted, and the one that ends before it may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) current: StoredLife,
    pub(super) previous: Option<StoredLife>,
}

/// One life of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredLife {
    pub(super) uid: Uid,
    /// When it was accepted first, in Unix milliseconds by the clock of then.
    pub(super) accepted_unix_ms: i64,
    /// Whom it was said to, as it stands in topics.
    pub(super) scope: String,
    /// The accepted frame, as it came.
    pub(super) frame: Vec<u8>,
    /// It is being ended.
    pub(super) ending: Option<Ending>,
}

/// The end of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ending {
    /// Revision of its tombstone; that of its successor where it was replaced.
    pub(super) revision: Revision,
    pub(super) grace_s: u32,
}

/// Why the frame in a file, whose checksum is right, is not understood: another version wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StoredError {
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error(transparent)]
    Body(#[from] object::BodyError),
    #[error("its frame holds no pod")]
    NoPod,
    #[error("its scope is none")]
    Scope(#[from] mote_protocol::name::NameError),
}

impl StoredLife {
    pub(super) fn scope(&self) -> Result<Scope, StoredError> {
        Ok(Scope::parse(&self.scope)?)
    }

    /// The last revision that was accepted for it.
    pub(super) fn revision(&self) -> Result<Revision, StoredError> {
        match self.ending {
            Some(ending) => Ok(ending.revision),
            None => Ok(frame::decode::<Object>(&self.frame)?.revision),
        }
    }

    pub(super) fn pod(&self) -> Result<object::Pod, StoredError> {
        match frame::decode::<Object>(&self.frame)?.intent {
            Intent::Apply { schema, body } => Ok(object::Pod::decode(schema, &body)?),
            Intent::Delete { .. } => Err(StoredError::NoPod),
        }
    }
}
