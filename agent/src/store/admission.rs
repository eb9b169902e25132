//! How an object that arrives becomes one that is wanted: decoded, judged, checked, written.

use std::io;
use std::rc::Rc;

use mote_protocol::frame::{self, FrameError};
use mote_protocol::name::{Kind, ObjectKey, Uid};
use mote_protocol::object::{self, BodyError, ContentHash, Intent, Object, Revision};
use mote_protocol::status::Refusal;
use mote_protocol::text::{Short, Text};
use mote_protocol::topic::Scope;

use super::judgement::{Held, Judgement, Objection, judge};
use super::seal::{seal, short_hash};
use super::stored::{Ending, Stored, StoredLife};
use super::update::forbidden_change;
use super::{Admission, Change, DAMAGED, Entry, Life, Store, spec_file};
use crate::pod::validate::{Checked, DEFAULT_GRACE_S, validate};
use crate::pod::{PodName, resources};
use crate::ports::Disk;
use crate::world::World;

/// A refusal of `seen`.
pub(super) fn refuse(seen: Revision, reason: &str, field: &str, message: &str) -> Admission {
    Admission::Refused(Box::new(Refusal {
        seen,
        reason: Short::new(reason),
        field: Short::new(field),
        message: Text::new(message),
    }))
}

/// What arrived, as far as it can be read.
enum Read {
    Object(Object),
    Answer(Admission),
}

fn read(payload: &[u8]) -> Read {
    let object = match frame::decode::<Object>(payload) {
        Ok(object) => object,
        Err(FrameError::Empty) => return Read::Answer(Admission::Empty),
        Err(error) => {
            let unknown = Revision::default();
            return Read::Answer(refuse(unknown, error.reason(), "", &error.to_string()));
        }
    };
    let seen = object.revision;
    if let Err(unknown) = object.extensions.unknown(&[]).map(drop) {
        let answer = refuse(seen, "UnknownExtension", &unknown.name, &unknown.to_string());
        return Read::Answer(answer);
    }
    match object.intent.to_hashed_bytes() {
        Ok(bytes) if ContentHash(short_hash(&bytes)) == seen.hash => {}
        _ => {
            let message = "the object is not the one that its hash was made of";
            return Read::Answer(refuse(seen, "HashMismatch", "", message));
        }
    }
    Read::Object(object)
}

/// A body that can be used, and what of it is ignored.
struct Body {
    asked: object::Pod,
    checked: Checked,
}

impl<W: World> Store<W> {
    /// Takes in what was published for `key`. An error means that flash did not take it: nothing
    /// has changed, and it must not be acknowledged.
    pub async fn admit(
        &mut self,
        scope: &Scope,
        key: &ObjectKey,
        payload: &[u8],
    ) -> io::Result<Admission> {
        let object = match read(payload) {
            Read::Object(object) => object,
            Read::Answer(answer) => return Ok(answer),
        };
        let held = self.entries.get(key).map(|entry| &entry.held);
        let seen = object.revision;
        let ends = matches!(object.intent, Intent::Delete { .. });
        match judge(held, self.ledger.get(scope, key), scope, &object) {
            // Its end is known; whoever says it again may have lost that. What is lost to damage may be
            // later than this, and of another scope.
            Judgement::Same if ends && held.is_none() && !self.damaged.contains(key) => {
                self.delete_unknown(scope, key, seen).await
            }
            Judgement::Same => Ok(Admission::Same),
            Judgement::Refused(no) => {
                // What it ended must not come once the nearer object is gone.
                if let (Objection::Shadowed { .. }, true) = (&no, ends) {
                    self.remember(scope, key, seen).await?;
                }
                Ok(refuse(seen, no.reason(), "", &no.to_string()))
            }
            Judgement::New(_) | Judgement::Replace(_) | Judgement::Update
                if key.kind != Kind::Pod =>
            {
                self.keep(scope, key, &object, payload).await
            }
            Judgement::Delete if key.kind != Kind::Pod => self.drop_data(scope, key, &object).await,
            Judgement::New(uid) => {
                let uid = uid.or_else(|| self.lost.get(key).copied());
                self.begin(scope, key, &object, uid, payload, Change::New).await
            }
            Judgement::Replace(uid) => {
                self.begin(scope, key, &object, uid, payload, Change::Replace).await
            }
            Judgement::Update => self.change(scope, key, &object, payload).await,
            Judgement::Delete => self.delete(scope, key, &object).await,
            Judgement::DeleteUnknown => self.delete_unknown(scope, key, seen).await,
        }
    }

    /// The end of what this node does not have, or has lost.
    async fn delete_unknown(
        &mut self,
        scope: &Scope,
        key: &ObjectKey,
        seen: Revision,
    ) -> io::Result<Admission> {
        let lost = self.lost.get(key).copied();
        self.remember(scope, key, seen).await?;
        if self.damaged.contains(key) {
            // Also one that could not be set aside, or that a newer agent wrote.
            self.edges.disk.remove(&spec_file(key)).await?;
        }
        self.repaired(key).await;
        Ok(Admission::DeletedUnknown { lost })
    }

    /// A new life, of a new name or of one that is taken.
    async fn begin(
        &mut self,
        scope: &Scope,
        key: &ObjectKey,
        object: &Object,
        uid: Option<Uid>,
        payload: &[u8],
        change: Change,
    ) -> io::Result<Admission> {
        let uid = uid.unwrap_or_else(|| self.edges.new_uid());
        let body = match self.check(key, object, uid) {
            Ok(body) => body,
            Err(refusal) => return Ok(refusal),
        };
        let storage = resources::storage_request(&body.asked.spec);
        if let Some(message) = self.lacks_storage(key, storage) {
            return Ok(refuse(object.revision, "OutOfephemeral-storage", "", &message));
        }
        let before = match change {
            Change::Replace => Some(self.read(key).await?),
            Change::New | Change::Update => None,
        };
        let previous = before.clone().and_then(|stored| self.outgoing(key, stored, object));
        let current = StoredLife {
            uid,
            accepted_unix_ms: self.edges.unix_ms(),
            scope: scope.to_string(),
            frame: payload.to_vec(),
            ending: None,
        };
        let accepted_unix_ms = current.accepted_unix_ms;
        let stored = Stored { current, previous };
        self.write(scope, key, object.revision, before, stored).await?;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.storage = storage;
        }
        Ok(accepted(object.revision, body, accepted_unix_ms, change))
    }

    /// The same life, changed where it may change.
    async fn change(
        &mut self,
        scope: &Scope,
        key: &ObjectKey,
        object: &Object,
        payload: &[u8],
    ) -> io::Result<Admission> {
        let mut stored = self.read(key).await?;
        let body = match self.check(key, object, stored.current.uid) {
            Ok(body) => body,
            Err(refusal) => return Ok(refusal),
        };
        let before = stored.clone();
        let asked_before = stored.current.pod().map_err(io::Error::other)?;
        if let Some(field) = forbidden_change(&asked_before, &body.asked) {
            // Two scopes mean two pods where they do not say otherwise. Were it refused, the order of
            // arrival would decide which of them a node runs.
            if object.uid.is_none() && stored.current.scope != scope.to_string() {
                return self.begin(scope, key, object, None, payload, Change::Replace).await;
            }
            let message = "may not change while the pod lives: delete it first, or replace it \
                           under a new uid (`apply --force`)";
            return Ok(refuse(object.revision, "Forbidden", &field, message));
        }
        stored.current.scope = scope.to_string();
        stored.current.frame = payload.to_vec();
        stored.previous = stored.previous.filter(|_| self.has_previous(key));
        let accepted_unix_ms = stored.current.accepted_unix_ms;
        self.write(scope, key, object.revision, Some(before), stored).await?;
        Ok(accepted(object.revision, body, accepted_unix_ms, Change::Update))
    }

    async fn delete(
        &mut self,
        scope: &Scope,
        key: &ObjectKey,
        object: &Object,
    ) -> io::Result<Admission> {
        let mut stored = self.read(key).await?;
        let before = stored.clone();
        let asked = match object.intent {
            Intent::Delete { grace_s } => grace_s,
            Intent::Apply { .. } => None,
        };
        let grace_s = asked.unwrap_or_else(|| grace_of(&stored.current));
        let uid = stored.current.uid;
        stored.current.scope = scope.to_string();
        stored.current.ending = Some(Ending { revision: object.revision, grace_s });
        stored.previous = stored.previous.filter(|_| self.has_previous(key));
        self.write(scope, key, object.revision, Some(before), stored).await?;
        // Should its file be damaged, nothing older brings it back. Insisted on where the name is
        // forgotten.
        let _ = self.remember(scope, key, object.revision).await;
        Ok(Admission::Deleting { revision: object.revision, uid, grace_s })
    }

    /// The life that ends before another may start: the one that runs, which may not be the one
    /// that was wanted last.
    fn outgoing(&self, key: &ObjectKey, stored: Stored, next: &Object) -> Option<StoredLife> {
        if self.has_previous(key) {
            return stored.previous;
        }
        let mut life = stored.current;
        let grace_s = grace_of(&life);
        life.ending.get_or_insert(Ending { revision: next.revision, grace_s });
        Some(life)
    }

    fn has_previous(&self, key: &ObjectKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.previous)
    }

    fn check(&self, key: &ObjectKey, object: &Object, uid: Uid) -> Result<Body, Admission> {
        let seen = object.revision;
        let malformed = |error: &BodyError| refuse(seen, error.reason(), "", &error.to_string());
        let Intent::Apply { schema, body } = &object.intent else {
            return Err(refuse(seen, "Invalid", "", "the object asks for nothing"));
        };
        let asked = object::Pod::decode(*schema, body).map_err(|error| malformed(&error))?;
        let (namespace, name) = (key.namespace.clone(), key.name.clone());
        let checked = validate(PodName { namespace, name, uid }, &asked, &self.policy);
        let checked = checked.map_err(|error| {
            let fault = &error.first;
            refuse(seen, fault.reason, &fault.field, &error.to_string())
        })?;
        Ok(Body { asked, checked })
    }

    /// Why a pod that asks for so much of the disk is not taken, where it is not. What others of the
    /// node ask for counts, and not the life that it replaces: that ends before.
    fn lacks_storage(&self, key: &ObjectKey, requested: u64) -> Option<String> {
        let capacity = self.policy.storage?;
        let others = self.entries.iter().filter(|(other, _)| *other != key);
        let used = others.fold(0_u64, |sum, (_, entry)| sum.saturating_add(entry.storage));
        let fits = requested == 0 || used.saturating_add(requested) <= capacity;
        (!fits).then(|| {
            format!(
                "Node didn't have enough resource: ephemeral-storage, requested: {requested}, \
                 used: {used}, capacity: {capacity}"
            )
        })
    }

    /// Makes it durable, then makes it what the next object is judged by. Where that fails, what
    /// was before still counts, whatever the card holds now.
    pub(super) async fn write(
        &mut self,
        scope: &Scope,
        key: &ObjectKey,
        revision: Revision,
        before: Option<Stored>,
        stored: Stored,
    ) -> io::Result<()> {
        let result = self.make_durable(scope, key, &stored).await;
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
        let storage = self.entries.get(key).map_or(0, |entry| entry.storage);
        self.entries.insert(key.clone(), Entry { held, previous, storage });
        self.repaired(key).await;
        Ok(())
    }

    async fn make_durable(
        &mut self,
        scope: &Scope,
        key: &ObjectKey,
        stored: &Stored,
    ) -> io::Result<()> {
        let before =
            self.entries.get(key).map(|entry| (entry.held.scope.clone(), entry.held.revision));
        if let Some((farther, said)) = before.filter(|(before, _)| before != scope) {
            self.remember(&farther, key, said).await?;
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

fn accepted(revision: Revision, body: Body, accepted_unix_ms: i64, change: Change) -> Admission {
    let Checked { pod, ignored } = body.checked;
    let life = Life { pod: Rc::new(pod), accepted_unix_ms, grace_s: None };
    Admission::Accepted { revision, life, change, ignored }
}

/// The grace period that a life's spec gives it.
pub(super) fn grace_of(life: &StoredLife) -> u32 {
    let asked = life.pod().ok().and_then(|pod| pod.spec.termination_grace_period_s);
    asked.unwrap_or(DEFAULT_GRACE_S)
}
