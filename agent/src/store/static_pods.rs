//! Static pods: what the files of this node say, as if it had been published.
//!
//! What a file asks for is kept as all objects are, so that it runs again after a boot before anybody has
//! read the file, and so that the one before has ended before its successor begins. A file has no
//! revisions: each change of it is one, and another life.

use std::collections::BTreeMap;

use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::name::{ObjectKey, Uid};
use mote_protocol::object::{ContentHash, Intent, Object, Revision};
use ring::digest::{Context, SHA256};

use super::clerk::Arrival;
use super::seal::short_hash;
use super::source::Source;
use super::{Entry, Store};
use crate::world::World;

/// All static pods that this node should have: what the file of each holds, where it could be read. One
/// that could not be says nothing of its pod.
pub type StaticPods = BTreeMap<ObjectKey, Option<Vec<u8>>>;

impl<W: World> Store<W> {
    /// What is new in that: changes of some, and the ends of those that have no file; and which are what their
    /// files ask for.
    pub(super) fn said_by_files(&self, mut files: StaticPods) -> (Vec<Arrival>, Vec<ObjectKey>) {
        let is_static = |entry: &Entry| entry.held.scope == Source::Static && !entry.held.deleting;
        let gone =
            self.entries.iter().filter(|(key, entry)| is_static(entry) && !files.contains_key(key));
        // Nobody has one for what was lost, either.
        let lost = self
            .lost
            .iter()
            .filter(|(key, lost)| lost.scope == Some(Source::Static) && !files.contains_key(key));
        let gone: Vec<_> =
            gone.map(|(key, _)| key.clone()).chain(lost.map(|(key, _)| key.clone())).collect();
        files.retain(|_, file| file.is_some());
        let (mut said, mut settled) = (Vec::new(), Vec::new());
        for key in gone {
            let intent = Intent::Delete { grace_s: None };
            said.extend(self.next(&key, None, intent, Extensions::default()).map(|it| (key, it)));
        }
        for (key, file) in files.into_iter().filter_map(|(key, file)| Some((key, file?))) {
            // What cannot be read whoever admits objects says.
            let payload = match frame::decode::<Object>(&file) {
                Ok(object) => self.changed(&key, object, file),
                Err(_) => Some(file),
            };
            match payload {
                Some(payload) => said.push((key, payload)),
                None => settled.push(key),
            }
        }
        let arrival =
            |(key, payload)| Arrival { scope: Source::Static, key, payload, receipt: None };
        (said.into_iter().map(arrival).collect(), settled)
    }

    /// What a file says, unless the node has just that.
    fn changed(&self, key: &ObjectKey, object: Object, file: Vec<u8>) -> Option<Vec<u8>> {
        let Object { revision, intent, extensions, .. } = object;
        let hash = hash(&intent)?;
        if revision.hash != hash {
            // Something happened to it since it was compiled: who admits objects says so.
            return Some(file);
        }
        let has = self.entries.get(key).is_some_and(|Entry { held, .. }| {
            held.scope == Source::Static && !held.deleting && held.revision.hash == hash
        });
        if has {
            return None;
        }
        let uid = uid(key, &intent)?;
        self.next(key, Some(uid), intent, extensions)
    }

    /// The frame of the next revision of a name. None where it would be too long.
    fn next(
        &self,
        key: &ObjectKey,
        uid: Option<Uid>,
        intent: Intent,
        extensions: Extensions,
    ) -> Option<Vec<u8>> {
        let held = self.entries.get(key).map(|entry| &entry.held);
        let held = held.filter(|held| held.scope == Source::Static).map(|held| held.revision);
        let lost = self.lost.get(key).and_then(|lost| lost.revision_in(&Source::Static));
        let last = held.max(lost).max(self.ledger.get(&Source::Static, key));
        let number = last.map_or(0, |last| last.number).saturating_add(1);
        let revision = Revision { number, hash: hash(&intent)? };
        frame::encode(&Object { revision, uid, intent, extensions }).ok()
    }
}

fn hash(intent: &Intent) -> Option<ContentHash> {
    Some(ContentHash(short_hash(&intent.to_hashed_bytes().ok()?)))
}

/// The uid of a static pod: that of what it is and of where, so that each change is another life, and the
/// same file is the same pod on a card that was written anew.
fn uid(key: &ObjectKey, intent: &Intent) -> Option<Uid> {
    let mut context = Context::new(&SHA256);
    context.update(key.to_string().as_bytes());
    context.update(&[0]);
    context.update(&intent.to_hashed_bytes().ok()?);
    let digest = context.finish();
    Some(Uid(*digest.as_ref().first_chunk()?))
}
