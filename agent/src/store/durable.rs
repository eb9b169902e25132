//! How what was accepted gets to flash, and what is known where it did not.

use std::io;

use mote_protocol::name::ObjectKey;
use mote_protocol::object::{ContentHash, Revision};

use super::judgement::Held;
use super::seal::seal;
use super::source::Source;
use super::stored::Stored;
use super::{DAMAGED, Entry, Store, spec_file};
use crate::ports::Disk;
use crate::world::World;

impl<W: World> Store<W> {
    /// Flash does not have everything that must not be lost of what was admitted.
    pub const fn owes(&self) -> bool {
        self.ledger_owed
    }

    /// Why flash refused the ledger, once for each time that an object was admitted all the same.
    pub(super) const fn ledger_refused(&mut self) -> Option<io::Error> {
        self.ledger_error.take()
    }

    /// Makes it durable, then makes it what the next object is judged by. Where that fails, what
    /// was before still counts, whatever the card holds now.
    pub(super) async fn write(
        &mut self,
        scope: &Source,
        key: &ObjectKey,
        revision: Revision,
        before: Option<Stored>,
        stored: Stored,
    ) -> io::Result<()> {
        let over = self.over(scope, key, revision, before.as_ref(), &stored);
        let too_late = self.too_late(key, scope, &stored);
        let result = self.make_durable(over, key, &stored).await;
        if let (Err(_), Some(before)) = (&result, before) {
            self.unsure.entry(key.clone()).or_insert(before);
        }
        result?;
        self.unsure.remove(key);
        let held = Held {
            uid: stored.current.uid,
            revision,
            scope: scope.clone(),
            deleting: stored.current.ending.is_some(),
        };
        let previous = stored.previous.is_some();
        let claims = self.entries.get(key).map(|entry| entry.claims.clone()).unwrap_or_default();
        self.entries.insert(key.clone(), Entry { held, previous, claims });
        if let Some(revision) = too_late {
            self.remember_or_owe(scope, key, revision).await;
        }
        self.repaired(key).await;
        Ok(())
    }

    /// Remembers a revision, also where flash refuses it: then nothing is acknowledged until it took it.
    pub(super) async fn remember_or_owe(
        &mut self,
        scope: &Source,
        key: &ObjectKey,
        revision: Revision,
    ) {
        if let Err(error) = self.remember(scope, key, revision).await {
            self.ledger.remember(scope, key, revision);
            (self.ledger_owed, self.ledger_error) = (true, Some(error));
        }
    }

    /// What another life or another scope takes the place of: what ran, and what waited. It must not come
    /// back should the file of its successor be lost.
    fn over(
        &self,
        scope: &Source,
        key: &ObjectKey,
        revision: Revision,
        before: Option<&Stored>,
        stored: &Stored,
    ) -> Vec<(Source, Revision)> {
        let Some(held) = self.entries.get(key).map(|entry| &entry.held) else { return Vec::new() };
        if before.is_some_and(|before| before.current == stored.current) {
            // What runs goes on: nothing took its place yet.
            return Vec::new();
        }
        let ran =
            before.and_then(|before| Some((before.current.scope().ok()?, before.last().ok()?)));
        let known = Some((held.scope.clone(), held.revision));
        // Not what is taken back: the file itself guards against that, and to an older agent, which knows
        // no more of that file than the revision that runs, a later one in the ledger would mean that
        // the pod is gone. Nor what still waits: it takes the place of what runs only later.
        let tried = stored.rejected().map(|rejected| rejected.revision);
        let waits = stored.waits().map(|waits| waits.revision());
        // What waited before that is over with it.
        let overtaken = before.filter(|_| waits.is_none()).map(Stored::overtaken);
        let replaced = held.uid != stored.current.uid;
        let is_over = |(of, said): &(Source, Revision)| {
            let itself = (of, *said) == (scope, revision);
            (replaced || of != scope) && !itself && ![tried, waits].contains(&Some(*said))
        };
        let all = ran.into_iter().chain(known).chain(overtaken.unwrap_or_default());
        all.filter(is_over).collect()
    }

    /// The last word before what begins in another's place, where that is not on trial: words in between
    /// were never heard, or were too late while it was there. To be remembered once its file is written:
    /// should flash refuse that, what ran would seem to be over.
    fn too_late(&self, key: &ObjectKey, scope: &Source, stored: &Stored) -> Option<Revision> {
        let held = &self.entries.get(key)?.held;
        let replaced = held.uid != stored.current.uid && held.scope == *scope;
        let tries = stored.rejected().is_some() || stored.trial().is_some();
        (replaced && !tries).then(|| stored.current.revision().ok().map(just_before)).flatten()
    }

    async fn make_durable(
        &mut self,
        over: Vec<(Source, Revision)>,
        key: &ObjectKey,
        stored: &Stored,
    ) -> io::Result<()> {
        for (scope, said) in over {
            self.remember(&scope, key, said).await?;
        }
        let file = seal(stored).map_err(io::Error::other)?;
        self.edges.disk.write(&spec_file(key), &file).await
    }

    /// Somebody said again what a damaged file said.
    pub(super) async fn repaired(&mut self, key: &ObjectKey) {
        self.lost.remove(key);
        if self.damaged.contains(key) {
            let file = format!("{DAMAGED}/{}", spec_file(key));
            // One that stays is tried again with the next object of that name.
            if self.edges.disk.remove(&file).await.is_ok() {
                self.damaged.remove(key);
            }
        }
    }
}

/// The greatest revision that is less than another.
fn just_before(revision: Revision) -> Revision {
    let hash = u64::from_be_bytes(revision.hash.0);
    match hash.checked_sub(1) {
        Some(hash) => Revision { hash: ContentHash(hash.to_be_bytes()), ..revision },
        None => {
            Revision { number: revision.number.saturating_sub(1), hash: ContentHash([u8::MAX; 8]) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_between_a_revision_and_the_one_before() {
        let revision =
            |number, hash: u64| Revision { number, hash: ContentHash(hash.to_be_bytes()) };
        assert_eq!(just_before(revision(5, 7)), revision(5, 6));
        assert_eq!(just_before(revision(5, 0x100)), revision(5, 0xff));
        assert_eq!(just_before(revision(5, 0)), revision(4, u64::MAX));
        assert_eq!(just_before(revision(0, 0)), revision(0, u64::MAX), "there is none");
    }
}
