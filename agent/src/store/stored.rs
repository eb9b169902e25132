//! What stands in the file of one object.

use mote_protocol::extension::{Extensions, UnknownCritical};
use mote_protocol::frame;
use mote_protocol::name::Uid;
use mote_protocol::object::{self, Intent, Object, Revision};
use serde::{Deserialize, Serialize};

use super::source::Source;

/// Beside an object: which pods give way to it. They end though the node loses its power before they do.
const PREEMPTS: &str = "preempts";

/// The file of one object: the life that is wanted, and the one that ends before it may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) current: StoredLife,
    pub(super) previous: Option<StoredLife>,
    /// What later agents keep beside it: one that does not know it passes it over, and one that must not
    /// be passed over keeps the object from being used.
    pub(super) extensions: Extensions,
}

impl Stored {
    pub(super) fn new(current: StoredLife, previous: Option<StoredLife>) -> Self {
        Self { current, previous, extensions: Extensions::default() }
    }

    /// Pods that give way to the current life.
    pub(super) fn preempts(&self) -> Vec<Uid> {
        self.extensions.read(PREEMPTS).unwrap_or_default()
    }

    pub(super) fn set_preempts(&mut self, pods: impl Iterator<Item = Uid>) {
        let pods: Vec<_> = pods.collect();
        self.extensions.write(PREEMPTS, (!pods.is_empty()).then_some(&pods));
    }

    /// Whether this agent knows all that it must know to use it.
    pub(super) fn check(&self) -> Result<(), StoredError> {
        Ok(self.extensions.unknown(&[]).map(drop)?)
    }
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
    #[error(transparent)]
    Extension(#[from] UnknownCritical),
    #[error("its scope is none")]
    Scope(#[from] mote_protocol::name::NameError),
}

impl StoredLife {
    pub(super) fn scope(&self) -> Result<Source, StoredError> {
        Ok(Source::parse(&self.scope)?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::extension::Extension;

    fn life(ending: Option<Ending>) -> StoredLife {
        StoredLife {
            uid: Uid([3; 16]),
            accepted_unix_ms: -2,
            scope: "@all".into(),
            frame: vec![9, 8],
            ending,
        }
    }

    const FROZEN: &[u8] =
        b"\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x04@all\
        \x02\x09\x08\x00\x01\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\
        \x03\x03\x03\x04@all\x02\x09\x08\x01\x07\x00\x00\x00\x00\x00\x00\x00\x00\x1e\
        \x00";

    #[test]
    fn the_form_on_flash_is_frozen() {
        let revision = Revision { number: 7, ..Revision::default() };
        let stored = Stored::new(life(None), Some(life(Some(Ending { revision, grace_s: 30 }))));
        let bytes = postcard::to_allocvec(&stored).unwrap();
        assert_eq!(bytes, FROZEN);
        assert_eq!(postcard::from_bytes::<Stored>(&bytes), Ok(stored));
    }

    #[test]
    fn what_must_be_known_is_not_passed_over() {
        let with = |critical| {
            let extension = Extension { name: "new".into(), critical, value: vec![1] };
            Stored { extensions: Extensions(vec![extension]), ..Stored::new(life(None), None) }
        };
        assert_eq!(with(false).check(), Ok(()));
        assert!(matches!(with(true).check(), Err(StoredError::Extension(_))));
    }
}
