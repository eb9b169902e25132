//! The last revision of every name that this node forgot.
//!
//! A broker may say an old thing again: a backup was restored, a message was delayed. Without a
//! memory of what was deleted, an old spec would bring a pod back. Names are kept as hashes, so
//! that a name costs 24 bytes however long it is.

use std::collections::BTreeMap;

use mote_protocol::extension::Extensions;
use mote_protocol::name::ObjectKey;
use mote_protocol::object::Revision;
use serde::{Deserialize, Serialize};

use super::seal::short_hash;
use super::source::Source;

/// Names remembered; then the one with the oldest revision is dropped. 24 KiB on flash, and a
/// broker would have to be as old as a thousand deletions to bring a pod back.
pub(super) const CAPACITY: usize = 1024;

/// The last revision of every name that was forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    revisions: BTreeMap<[u8; 8], Revision>,
    /// What later agents keep beside it: one that does not know it passes it over.
    extensions: Extensions,
}

fn hashed(scope: &Source, key: &ObjectKey) -> [u8; 8] {
    short_hash(format!("{scope} {key}").as_bytes())
}

impl Ledger {
    /// The last revision of a name that was forgotten.
    pub fn get(&self, scope: &Source, key: &ObjectKey) -> Option<Revision> {
        self.revisions.get(&hashed(scope, key)).copied()
    }

    pub(super) const fn extensions(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// Takes in what another copy knows.
    pub(super) fn merge(&mut self, other: Self) {
        for (name, revision) in other.revisions {
            let known = self.revisions.entry(name).or_default();
            *known = revision.max(*known);
        }
    }

    /// Remembers the last revision of a name, where it is later than what is known.
    pub fn remember(&mut self, scope: &Source, key: &ObjectKey, revision: Revision) {
        let known = self.revisions.entry(hashed(scope, key)).or_default();
        *known = revision.max(*known);
        if self.revisions.len() > CAPACITY {
            let oldest = self.revisions.iter().min_by_key(|(_, revision)| **revision);
            if let Some(name) = oldest.map(|(name, _)| *name) {
                self.revisions.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::name::{Kind, Namespace, ObjectName};

    fn all() -> Source {
        Source::parse("@all").unwrap()
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey {
            kind: Kind::Pod,
            namespace: Namespace::new("default").unwrap(),
            name: ObjectName::new(name).unwrap(),
        }
    }

    fn revision(number: u64) -> Revision {
        Revision { number, ..Revision::default() }
    }

    #[test]
    fn a_revision_never_goes_back() {
        let mut ledger = Ledger::default();
        ledger.remember(&all(), &key("web"), revision(5));
        ledger.remember(&all(), &key("web"), revision(3));
        assert_eq!(ledger.get(&all(), &key("web")), Some(revision(5)));
        assert_eq!(ledger.get(&Source::parse("n1").unwrap(), &key("web")), None);
    }

    const FROZEN: &[u8] = b"\x01\x06\xbf]\x86n\x17C\x81\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00";

    #[test]
    fn the_form_on_flash_is_frozen() {
        let mut ledger = Ledger::default();
        ledger.remember(&all(), &key("web"), revision(5));
        let bytes = postcard::to_allocvec(&ledger).unwrap();
        assert_eq!(bytes, FROZEN);
        assert_eq!(postcard::from_bytes::<Ledger>(&bytes), Ok(ledger));
    }

    #[test]
    fn a_full_ledger_drops_the_oldest_revision() {
        let mut ledger = Ledger::default();
        for number in 0..=CAPACITY as u64 {
            ledger.remember(&all(), &key(&format!("p{number}")), revision(number + 10));
        }
        assert_eq!(ledger.revisions.len(), CAPACITY);
        assert_eq!(ledger.get(&all(), &key("p0")), None);
        assert!(ledger.get(&all(), &key("p1")).is_some());
    }
}
