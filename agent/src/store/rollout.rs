//! What the file of a pod says of its last change: that it is on trial, and what it goes back to; or
//! that it was taken back.
//!
//! Each is an extension that an older agent passes over: it runs what is written as the object.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use mote_protocol::name::{ObjectKey, Uid};
use mote_protocol::object::{self, Revision};
use mote_protocol::rollout;
use serde::{Deserialize, Serialize};

use super::admission::outgoing;
use super::claims::Claims;
use super::opening::life;
use super::stored::{Stored, StoredError, StoredLife};
use super::{Change, Life, Store};
use crate::pod::Pod;
use crate::pod::validate::NodePolicy;
use crate::rollout::{Count, Trial};
use crate::world::World;

const TRIAL: &str = "trial";
const REJECTED: &str = "rejected";

/// A change on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredTrial {
    /// The accepted frame of what it goes back to.
    pub(super) frame: Vec<u8>,
    /// It is another life than that was.
    pub(super) replaced: bool,
    pub(super) count: Count,
}

/// A revision that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Which.
    pub revision: Revision,
    /// Why, for a person.
    pub why: String,
}

/// A change on trial, as the steward needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnTrial {
    /// How far it is.
    pub trial: Trial,
    /// What it goes back to.
    pub before: Rc<Pod>,
}

/// What becomes of a change on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sentence {
    /// Its time runs.
    Counts(Count),
    /// It stays.
    Final,
    /// It is taken back.
    Back {
        /// Why, for a person.
        why: String,
    },
}

/// What flash has of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sentenced {
    /// Nothing: another revision came meanwhile.
    Void,
    /// That the time of the change runs.
    Counted,
    /// That it stays.
    Final,
    /// What was before.
    Back(Box<WentBack>),
}

/// What runs again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WentBack {
    /// Its revision.
    pub revision: Revision,
    /// What is wanted.
    pub life: Life,
    /// How it relates to what was tried.
    pub change: Change,
    /// What was tried.
    pub rejected: Rejected,
}

impl Stored {
    pub(super) fn trial(&self) -> Option<StoredTrial> {
        self.extensions.read(TRIAL)
    }

    pub(super) fn set_trial(&mut self, trial: Option<&StoredTrial>) {
        self.extensions.write(TRIAL, trial);
    }

    pub(super) fn rejected(&self) -> Option<Rejected> {
        self.extensions.read(REJECTED)
    }

    /// The last revision that was heard of its scope, beside one that waits. What was tried and taken back is
    /// not new; what runs since may be of another scope, where numbers are others, and says nothing of that.
    pub(super) fn last(&self) -> Result<Revision, StoredError> {
        let tried = self.rejected().filter(|_| self.current.ending.is_none());
        tried.map_or_else(|| self.current.revision(), |tried| Ok(tried.revision))
    }

    pub(super) fn set_rejected(&mut self, rejected: Option<&Rejected>) {
        self.extensions.write(REJECTED, rejected);
    }

    /// What the change that follows goes back to: what was on trial never proved itself.
    pub(super) fn trial_of_next(&self, replaced: bool) -> StoredTrial {
        let before = self.trial();
        let replaced = replaced || before.as_ref().is_some_and(|before| before.replaced);
        let frame = before.map_or_else(|| self.current.frame.clone(), |before| before.frame);
        StoredTrial { frame, replaced, count: Count::default() }
    }

    /// The change on trial, where there is one that can be taken back.
    pub(super) fn on_trial(&self, key: &ObjectKey, policy: &NodePolicy) -> Option<Box<OnTrial>> {
        let trial = self.trial().filter(|_| self.current.ending.is_none())?;
        let limit = rollback_after(&self.current.pod().ok()?)?;
        let before = StoredLife { frame: trial.frame, ..self.current.clone() };
        let before = life(key, &before, policy).ok()?.pod;
        Some(Box::new(OnTrial { trial: Trial::new(limit, trial.count), before }))
    }
}

fn rollback_after(asked: &object::Pod) -> Option<Duration> {
    rollout::rollback_after(&asked.meta.annotations).ok()?
}

impl<W: World> Store<W> {
    /// Writes what becomes of the revision that is on trial. Nothing happens where another revision
    /// came meanwhile.
    pub async fn sentence(
        &mut self,
        key: &ObjectKey,
        uid: Uid,
        tried: Revision,
        sentence: Sentence,
    ) -> io::Result<Sentenced> {
        let Some(held) = self.entries.get(key).map(|entry| entry.held.clone()) else {
            return Ok(Sentenced::Void);
        };
        let mut stored = self.read(key).await?;
        let runs = stored.current.revision().is_ok_and(|runs| runs == tried);
        let Some(mut trial) = stored.trial().filter(|_| runs && held.uid == uid) else {
            return Ok(Sentenced::Void);
        };
        let before = stored.clone();
        let sentenced = match sentence {
            Sentence::Counts(count) => {
                trial.count = count;
                stored.set_trial(Some(&trial));
                Sentenced::Counted
            }
            Sentence::Final => {
                stored.set_trial(None);
                Sentenced::Final
            }
            Sentence::Back { why } => {
                let rejected = Rejected { revision: tried, why };
                let (stored, change) = self.taken_back(stored, trial, &rejected);
                let revision = stored.current.revision().map_err(io::Error::other)?;
                let life = life(key, &stored.current, &self.policy).map_err(io::Error::other)?;
                let life = Life { came_under: stored.came_under(), ..life };
                let claims = stored.current.pod().map(|pod| Claims::of(&pod.spec));
                self.write(&held.scope, key, held.revision, Some(before), stored).await?;
                if let (Some(entry), Ok(claims)) = (self.entries.get_mut(key), claims) {
                    entry.claims = claims;
                }
                let back = WentBack { revision, life, change, rejected };
                return Ok(Sentenced::Back(Box::new(back)));
            }
        };
        self.write(&held.scope, key, held.revision, Some(before), stored).await?;
        Ok(sentenced)
    }

    fn taken_back(
        &self,
        mut stored: Stored,
        trial: StoredTrial,
        rejected: &Rejected,
    ) -> (Stored, Change) {
        let change = if trial.replaced {
            // The life before is gone, and never comes back under its uid: another one is as it was.
            let current = StoredLife {
                uid: self.edges.new_uid(),
                accepted_unix_ms: self.edges.unix_ms(),
                scope: stored.current.scope.clone(),
                frame: trial.frame,
                ending: None,
            };
            let mut back = Stored::new(current, None);
            back.set_delay_of(&stored);
            back.previous = outgoing(stored, rejected.revision);
            stored = back;
            Change::Replace
        } else {
            stored.current.frame = trial.frame;
            stored.set_trial(None);
            Change::Update
        };
        stored.set_rejected(Some(rejected));
        (stored, change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROZEN: &[u8] =
        b"\x02\x09\x08\x01\x02\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x0e";

    const FROZEN_REJECTED: &[u8] = b"\x07\x00\x00\x00\x00\x00\x00\x00\x00\x03why";

    #[test]
    fn the_forms_on_flash_are_frozen() {
        let count = Count { boots: 2, boot: [5; 16], since_ms: 7 };
        let trial = StoredTrial { frame: vec![9, 8], replaced: true, count };
        assert_eq!(postcard::to_allocvec(&trial).unwrap(), FROZEN);
        assert_eq!(postcard::from_bytes::<StoredTrial>(FROZEN), Ok(trial));
        let revision = Revision { number: 7, ..Revision::default() };
        let rejected = Rejected { revision, why: "why".into() };
        assert_eq!(postcard::to_allocvec(&rejected).unwrap(), FROZEN_REJECTED);
        assert_eq!(postcard::from_bytes::<Rejected>(FROZEN_REJECTED), Ok(rejected));
    }
}
