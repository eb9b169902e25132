//! Changes that are put off: on flash beside what runs, and acknowledged, until somebody says that they are
//! made now.
//!
//! An older agent passes them over: it runs what is written as the object, and makes the change when the
//! broker says it again.

use std::io;

use mote_protocol::frame;
use mote_protocol::name::{Kind, ObjectKey};
use mote_protocol::object::{self, Intent, Object, Revision};
use mote_protocol::rollout::{self, Delay};
use serde::{Deserialize, Serialize};

use super::admission::{Body, Said, refuse};
use super::judgement::{Held, Judgement, judge};
use super::source::Source;
use super::stored::Stored;
use super::{Admission, Store};
use crate::rollout::{Count, Delayed};
use crate::world::World;

const DELAYED: &str = "delayed";

/// Beside it: what waited until this took its place, of other scopes.
const OVERTAKEN: &str = "overtaken";

/// A change that is put off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredDelay {
    /// Whom it was said to, as it stands in topics.
    pub(super) scope: String,
    /// The accepted frame, as it came.
    pub(super) frame: Vec<u8>,
    /// When the first change that had to wait was asked for, in Unix milliseconds, where somebody kept the
    /// clock then.
    pub(super) asked_unix_ms: Option<i64>,
    pub(super) count: Count,
}

/// A change that is put off, as the steward needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOff {
    /// Its revision.
    pub revision: Revision,
    /// How long, and why.
    pub delayed: Delayed,
}

/// What becomes of a change that is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Its time runs.
    Counts(Count),
    /// It is made.
    Over,
}

/// What waits, read.
pub(super) struct Waits {
    scope: Source,
    object: Object,
    delay: Delay,
    stored: StoredDelay,
}

impl StoredDelay {
    fn read(self) -> Option<Waits> {
        let scope = Source::parse(&self.scope).ok()?;
        let object = frame::decode::<Object>(&self.frame).ok()?;
        let Intent::Apply { schema, body } = &object.intent else { return None };
        let asked = object::Pod::decode(*schema, body).ok()?;
        let delay = rollout::delay(&asked.meta.annotations).ok()??;
        Some(Waits { scope, object, delay, stored: self })
    }
}

impl Waits {
    /// Whom it was said to, and what the steward needs of it.
    pub(super) fn put_off(self) -> (Source, PutOff) {
        let StoredDelay { asked_unix_ms, count, .. } = self.stored;
        let delayed = Delayed::new(self.delay, asked_unix_ms, count);
        (self.scope, PutOff { revision: self.object.revision, delayed })
    }

    pub(super) const fn revision(&self) -> Revision {
        self.object.revision
    }
}

impl Stored {
    /// The change that is put off, where this agent can read it. Where it cannot, the broker says it again.
    pub(super) fn waits(&self) -> Option<Waits> {
        let waits = self.delay()?.read()?;
        // An older agent leaves it in the file when it makes it, or something later.
        let later =
            self.current.scope != waits.stored.scope || waits.revision() > self.last().ok()?;
        (self.current.ending.is_none() && later).then_some(waits)
    }

    fn delay(&self) -> Option<StoredDelay> {
        self.extensions.read(DELAYED)
    }

    pub(super) fn set_delay(&mut self, delay: Option<&StoredDelay>) {
        self.extensions.write(DELAYED, delay);
        if delay.is_none() {
            self.extensions.set(OVERTAKEN, None);
        }
    }

    /// Has what waits there wait here as well.
    pub(super) fn set_delay_of(&mut self, other: &Self) {
        for name in [DELAYED, OVERTAKEN] {
            self.extensions.set(name, other.extensions.get(name).map(<[u8]>::to_vec));
        }
    }

    /// What waited in other scopes before what waits now, with its last revision. It is over once that is
    /// made. Until then the ledger must not know it: what runs may be of the same scope, and would seem to be
    /// gone; and where what waits cannot be made, nothing took its place.
    pub(super) fn overtaken(&self) -> Vec<(Source, Revision)> {
        let kept = self.waits().and_then(|_| self.extensions.read(OVERTAKEN));
        let kept: Vec<(String, Revision)> = kept.unwrap_or_default();
        let read = |(scope, said): (String, _)| Some((Source::parse(&scope).ok()?, said));
        kept.into_iter().filter_map(read).collect()
    }

    /// The same, once something of this scope waits instead.
    fn overtaken_by(&self, scope: &Source) -> Vec<(Source, Revision)> {
        let last = self.waits().map(Waits::put_off).map(|(of, last)| (of, last.revision));
        let all = self.overtaken().into_iter().chain(last);
        // Its own revision guards against what is older in its scope.
        all.filter(|(of, _)| of != scope).collect()
    }

    fn set_overtaken(&mut self, said: &[(Source, Revision)]) {
        let kept: Vec<_> = said.iter().map(|(scope, said)| (scope.to_string(), *said)).collect();
        self.extensions.write(OVERTAKEN, (!kept.is_empty()).then_some(&kept));
    }
}

impl<W: World> Store<W> {
    /// Whether a change of this may have to wait: only what may run can be disturbed.
    pub(super) fn may_wait(said: &Said<'_>, body: &Body, stored: &Stored) -> bool {
        let runs = stored.current.ending.is_none() && stored.previous.is_none();
        runs && body.delays && !said.now
    }

    /// Writes a change that may have to wait. What comes later takes its place, and waits no longer for it.
    pub(super) async fn put_off(
        &mut self,
        said: &Said<'_>,
        body: Body,
        mut stored: Stored,
    ) -> io::Result<Admission> {
        let before = stored.clone();
        let (asked_unix_ms, count) = match stored.waits() {
            Some(waits) => (waits.stored.asked_unix_ms, waits.stored.count),
            None => (self.edges.kept_unix_ms(), Count::default()),
        };
        let (scope, frame) = (said.scope.to_string(), said.payload.to_vec());
        let overtaken = stored.overtaken_by(said.scope);
        stored.set_delay(Some(&StoredDelay { scope, frame, asked_unix_ms, count }));
        stored.set_overtaken(&overtaken);
        let waits = stored.waits().ok_or_else(|| io::Error::other("read what is put off"))?;
        self.write(said.scope, said.key, said.object.revision, Some(before), stored).await?;
        let (_, put_off) = waits.put_off();
        Ok(Admission::Delayed { put_off: Box::new(put_off), ignored: body.checked.ignored })
    }

    /// Writes what becomes of the revision that is put off; tells what became of one that was made. Nothing
    /// happens where another came meanwhile.
    pub async fn patience(
        &mut self,
        key: &ObjectKey,
        revision: Revision,
        patience: Patience,
    ) -> io::Result<Option<Admission>> {
        let held = self.entries.get(key).map(|entry| entry.held.clone());
        let Some(held) = held.filter(|held| held.revision == revision) else { return Ok(None) };
        let mut stored = self.read(key).await?;
        let Some(waits) = stored.waits() else { return Ok(None) };
        if let Patience::Counts(count) = patience {
            let before = stored.clone();
            stored.set_delay(Some(&StoredDelay { count, ..waits.stored }));
            self.write(&held.scope, key, revision, Some(before), stored).await?;
            return Ok(None);
        }
        let admission = self.make(key, &stored, &waits).await?;
        if matches!(admission, Admission::Refused(_)) {
            self.give_up(key, stored).await?;
        }
        Ok(Some(admission))
    }

    /// Not where the object of a pod is lost.
    fn has_pod(&self, key: &ObjectKey) -> bool {
        key.kind == Kind::Pod && self.entries.contains_key(key)
    }

    /// Whether it is what runs while something nearer waits.
    pub(super) async fn runs_meanwhile(
        &self,
        scope: &Source,
        key: &ObjectKey,
        seen: Revision,
    ) -> io::Result<bool> {
        if !self.has_pod(key) {
            return Ok(false);
        }
        let stored = self.read(key).await?;
        let runs = stored.current.scope == scope.to_string()
            && stored.current.revision().is_ok_and(|revision| revision == seen);
        Ok(runs && stored.waits().is_some())
    }

    /// Makes what waits, where this ends what runs meanwhile: what is nearer and waits keeps nothing
    /// alive that somebody deleted.
    pub(super) async fn make_way(
        &mut self,
        scope: &Source,
        key: &ObjectKey,
        end: &Object,
    ) -> io::Result<Option<Admission>> {
        if !self.has_pod(key) {
            return Ok(None);
        }
        let stored = self.read(key).await?;
        let Some(waits) = stored.waits() else { return Ok(None) };
        let of_its_scope = stored.current.scope == scope.to_string();
        if !of_its_scope || stored.last().is_ok_and(|last| last >= end.revision) {
            return Ok(None);
        }
        let admission = self.make(key, &stored, &waits).await?;
        if matches!(admission, Admission::Refused(_)) {
            return self.delete(scope, key, end).await.map(Some);
        }
        Ok(Some(admission))
    }

    /// Makes what waits, as though it came now.
    async fn make(
        &mut self,
        key: &ObjectKey,
        stored: &Stored,
        waits: &Waits,
    ) -> io::Result<Admission> {
        let Waits { scope, object, stored: delay, .. } = waits;
        let said = Said { scope, key, object, payload: &delay.frame, now: true };
        let held = Held {
            uid: stored.current.uid,
            revision: stored.last().map_err(io::Error::other)?,
            scope: stored.current.scope().map_err(io::Error::other)?,
            deleting: false,
        };
        match judge(Some(&held), None, scope, object) {
            Judgement::Replace(uid) => self.replace(&said, uid).await,
            Judgement::Update => self.change(&said).await,
            // What runs cannot have become later than what waits.
            _ => Ok(refuse(object.revision, "Conflict", "", "something later runs")),
        }
    }

    /// What cannot be made any more does not wait; should the broker say it again, it is judged anew.
    async fn give_up(&mut self, key: &ObjectKey, mut stored: Stored) -> io::Result<()> {
        let before = stored.clone();
        let scope = stored.current.scope().map_err(io::Error::other)?;
        let last = stored.last().map_err(io::Error::other)?;
        stored.set_delay(None);
        self.write(&scope, key, last, Some(before), stored).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::stored::StoredLife;
    use mote_protocol::name::Uid;

    const FROZEN: &[u8] =
        b"\x04@all\x02\x09\x08\x01\x0e\x02\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\
        \x05\x05\x05\x05\x05\x05\x0c";

    #[test]
    fn the_form_on_flash_is_frozen() {
        let count = Count { boots: 2, boot: [5; 16], since_ms: 6 };
        let scope = "@all".to_owned();
        let delay = StoredDelay { scope, frame: vec![9, 8], asked_unix_ms: Some(7), count };
        assert_eq!(postcard::to_allocvec(&delay).unwrap(), FROZEN);
        assert_eq!(postcard::from_bytes::<StoredDelay>(FROZEN), Ok(delay));
    }

    const FROZEN_OVERTAKEN: &[u8] = b"\x01\x04@all\x07\x00\x00\x00\x00\x00\x00\x00\x00";

    #[test]
    fn the_form_of_what_was_overtaken_is_frozen() {
        let life = StoredLife {
            uid: Uid([3; 16]),
            accepted_unix_ms: 0,
            scope: "@all".into(),
            frame: vec![],
            ending: None,
        };
        let mut stored = Stored::new(life, None);
        let revision = Revision { number: 7, ..Revision::default() };
        stored.set_overtaken(&[(Source::parse("@all").unwrap(), revision)]);
        assert_eq!(stored.extensions.get(OVERTAKEN), Some(FROZEN_OVERTAKEN));
    }
}
