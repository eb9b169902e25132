//! How an object that arrives becomes one that is wanted: decoded, judged, checked, written.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use mote_protocol::frame::{self, FrameError};
use mote_protocol::name::{Kind, ObjectKey, Uid};
use mote_protocol::node::Taint;
use mote_protocol::object::{self, BodyError, ContentHash, Intent, Object, Revision};
use mote_protocol::pod::{PodSpec, TaintEffect};
use mote_protocol::rollout;
use mote_protocol::status::Refusal;
use mote_protocol::text::{Short, Text};

use super::claims::{Claims, Crowded};
use super::judgement::{Judgement, Objection, behind_lost, judge, older_than_lost};
use super::seal::short_hash;
use super::source::Source;
use super::stored::{Ending, Stored, StoredLife};
use super::update::forbidden_change;
use super::{Admission, Change, Entry, Life, OnTrial, Store, spec_file};
use crate::pod::PodName;
use crate::pod::qos::QosClass;
use crate::pod::storage::EVICTED;
use crate::pod::validate::{Checked, DEFAULT_GRACE_S, validate};
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

/// What was said of a pod, and to whom.
pub(super) struct Said<'a> {
    pub(super) scope: &'a Source,
    pub(super) key: &'a ObjectKey,
    pub(super) object: &'a Object,
    /// The object, as it came.
    pub(super) payload: &'a [u8],
    /// Nothing puts it off.
    pub(super) now: bool,
}

/// A body that can be used, and what of it is ignored.
pub(super) struct Body {
    asked: object::Pod,
    pub(super) checked: Checked,
    rollback_after: Option<Duration>,
    /// Something may hold it up.
    pub(super) delays: bool,
    /// Pods that end for it.
    gives_way: Vec<(ObjectKey, Uid)>,
}

impl Body {
    fn preempted(&self) -> impl Iterator<Item = Uid> {
        self.gives_way.iter().map(|(_, uid)| *uid)
    }
}

impl<W: World> Store<W> {
    /// Takes in what was published for `key`. An error means that flash did not take it: nothing
    /// has changed, and it must not be acknowledged. Nor must it as long as [`Self::owes`].
    pub async fn admit(
        &mut self,
        scope: &Source,
        key: &ObjectKey,
        payload: &[u8],
    ) -> io::Result<Admission> {
        if self.ledger_owed {
            self.write_ledger(self.ledger.clone()).await?;
        }
        let object = match read(payload) {
            Read::Object(object) => object,
            Read::Answer(answer) => return Ok(answer),
        };
        let held = self.entries.get(key).map(|entry| &entry.held);
        let seen = object.revision;
        let ends = matches!(object.intent, Intent::Delete { .. });
        let judgement = self.judged(scope, key, &object);
        let said = Said { scope, key, object: &object, payload, now: false };
        match judgement {
            // Its end is known; whoever says it again may have lost that. What is lost to damage may be
            // later than this, and of another scope.
            Judgement::Same if ends && held.is_none() && !self.damaged.contains(key) => {
                self.delete_unknown(scope, key, seen).await
            }
            // The ledger was written first: flash may have refused what follows.
            Judgement::Same if ends && held.is_some_and(|held| held.scope != *scope) => {
                let admission = self.make_way(scope, key, &object).await?;
                Ok(admission.unwrap_or(Admission::Same))
            }
            Judgement::Same => Ok(Admission::Same),
            Judgement::Refused(no @ (Objection::Shadowed { .. } | Objection::StaticPod)) => {
                self.shadowed(scope, key, &object, &no).await
            }
            Judgement::Refused(no) => Ok(refuse(seen, no.reason(), "", &no.to_string())),
            Judgement::New(_) | Judgement::Replace(_) | Judgement::Update
                if key.kind == Kind::Service =>
            {
                self.keep_service(scope, key, &object, payload).await
            }
            Judgement::New(_) | Judgement::Replace(_) | Judgement::Update
                if key.kind != Kind::Pod =>
            {
                self.keep(scope, key, &object, payload).await
            }
            Judgement::Delete if key.kind != Kind::Pod => self.drop_data(scope, key, &object).await,
            Judgement::New(uid) => {
                let uid = uid.or_else(|| self.lost_life(key, &object));
                self.begin(&said, uid).await
            }
            Judgement::Replace(uid) => self.replace(&said, uid).await,
            Judgement::Update => self.change(&said).await,
            Judgement::Delete => self.delete(scope, key, &object).await,
            Judgement::DeleteUnknown => self.delete_unknown(scope, key, seen).await,
        }
    }

    /// What an object means beside what the node has of its name, or had and lost.
    fn judged(&self, scope: &Source, key: &ObjectKey, object: &Object) -> Judgement {
        let held = self.entries.get(key).map(|entry| &entry.held);
        let mut judgement = judge(held, self.ledger.get(scope, key), scope, object);
        let Some(lost) = self.lost.get(key) else { return judgement };
        if let Some(lost) = &lost.scope {
            judgement = behind_lost(judgement, scope, lost);
        }
        if let Some(lost) = lost.revision_in(scope) {
            let same = self.is_of_lost(key, object);
            judgement = older_than_lost(judgement, object, lost, same);
        }
        judgement
    }

    /// What a nearer scope stands before.
    async fn shadowed(
        &mut self,
        scope: &Source,
        key: &ObjectKey,
        object: &Object,
        no: &Objection,
    ) -> io::Result<Admission> {
        let seen = object.revision;
        let admission = if matches!(object.intent, Intent::Delete { .. }) {
            // What it ended must not come once the nearer object is gone.
            self.remember(scope, key, seen).await?;
            self.make_way(scope, key, object).await?
        } else {
            self.runs_meanwhile(scope, key, seen).await?.then_some(Admission::Same)
        };
        Ok(admission.unwrap_or_else(|| refuse(seen, no.reason(), "", &no.to_string())))
    }

    /// The end of what this node does not have, or has lost.
    async fn delete_unknown(
        &mut self,
        scope: &Source,
        key: &ObjectKey,
        seen: Revision,
    ) -> io::Result<Admission> {
        let lost = self.lost.get(key).map(|lost| lost.uid);
        self.remember(scope, key, seen).await?;
        if self.damaged.contains(key) {
            // Also one that could not be set aside, or that a newer agent wrote.
            self.edges.disk.remove(&spec_file(key)).await?;
        }
        self.repaired(key).await;
        Ok(Admission::DeletedUnknown { lost })
    }

    /// The life of a new name.
    async fn begin(&mut self, said: &Said<'_>, uid: Option<Uid>) -> io::Result<Admission> {
        let (uid, body) = match self.check_new(said, uid) {
            Ok(new) => new,
            Err(refusal) => return Ok(refusal),
        };
        let mut stored = Stored::new(self.first(said, uid), None);
        stored.set_came_under(self.cordon.came_under());
        self.live(said, body, Change::New, None, stored).await
    }

    /// A new life of a name that is taken.
    pub(super) async fn replace(
        &mut self,
        said: &Said<'_>,
        uid: Option<Uid>,
    ) -> io::Result<Admission> {
        let (uid, body) = match self.check_new(said, uid) {
            Ok(new) => new,
            Err(refusal) => return Ok(refusal),
        };
        let before = self.read(said.key).await?;
        if Self::may_wait(said, &body, &before) {
            return self.put_off(said, body, before).await;
        }
        let can_go_back = before.current.ending.is_none() && body.rollback_after.is_some();
        let trial = can_go_back.then(|| before.trial_of_next(true));
        let previous = outgoing(before.clone(), said.object.revision);
        let mut stored = Stored::new(self.first(said, uid), previous);
        stored.set_trial(trial.as_ref());
        stored.set_came_under(self.cordon.came_under());
        self.live(said, body, Change::Replace, Some(before), stored).await
    }

    /// The uid of a life that begins: the one that is asked for, unless that is another pod's.
    fn own_uid(&self, said: &Said<'_>, asked: Option<Uid>) -> Result<Uid, Admission> {
        let Some(uid) = asked else { return Ok(self.edges.new_uid()) };
        let has = |(key, entry): &(&ObjectKey, &Entry)| *key != said.key && entry.held.uid == uid;
        match self.entries.iter().find(has) {
            None => Ok(uid),
            // A file's is what everybody can reckon.
            Some(_) if *said.scope == Source::Static => Ok(self.edges.new_uid()),
            Some((key, _)) => {
                let no = Objection::TakenUid { uid, key: key.to_string() };
                Err(refuse(said.object.revision, no.reason(), "metadata.uid", &no.to_string()))
            }
        }
    }

    /// What a life that begins is called, and what it is.
    fn check_new(&self, said: &Said<'_>, asked: Option<Uid>) -> Result<(Uid, Body), Admission> {
        let uid = self.own_uid(said, asked)?;
        let body = self.check(said, uid)?;
        let pressure = self.policy.pressure;
        let (pod, spec) = (&body.checked.pod, &body.asked.spec);
        let best_effort = pod.qos == QosClass::BestEffort && !tolerates_memory_pressure(spec);
        // What was put off was admitted when it came.
        if !said.now && !pressure.admits(pod.is_critical(), best_effort) {
            let message = format!("The node had condition: {pressure}. ");
            return Err(refuse(said.object.revision, EVICTED, "", &message));
        }
        // As with a kubelet, the other effects are a scheduler's.
        let evicts = |taint: &&Taint| taint.effect == TaintEffect::NoExecute;
        let mut taints = self.policy.taints.iter().filter(evicts);
        if !pod.is_static
            && taints.any(|Taint { key, value, effect }| !tolerates(spec, key, value, *effect))
        {
            let message = "Predicate TaintToleration failed: node(s) had taints that the pod \
                           didn't tolerate";
            let field = "spec.tolerations";
            return Err(refuse(said.object.revision, "TaintToleration", field, message));
        }
        match self.fit(said.key, &Claims::of(&body.asked.spec), pod.is_critical()) {
            Ok(gives_way) => Ok((uid, Body { gives_way, ..body })),
            Err(Crowded { reason, message }) => {
                Err(refuse(said.object.revision, &reason, "", &message))
            }
        }
    }

    fn first(&self, said: &Said<'_>, uid: Uid) -> StoredLife {
        StoredLife {
            uid,
            accepted_unix_ms: self.edges.unix_ms(),
            scope: said.scope.to_string(),
            frame: said.payload.to_vec(),
            ending: None,
        }
    }

    /// Writes a life that begins.
    async fn live(
        &mut self,
        said: &Said<'_>,
        body: Body,
        change: Change,
        before: Option<Stored>,
        mut stored: Stored,
    ) -> io::Result<Admission> {
        stored.set_preempts(body.preempted());
        let (accepted_unix_ms, came_under) = (stored.current.accepted_unix_ms, stored.came_under());
        let trial = stored.on_trial(said.key, &self.policy);
        self.write(said.scope, said.key, said.object.revision, before, stored).await?;
        if let Some(entry) = self.entries.get_mut(said.key) {
            entry.claims = Claims::of(&body.asked.spec);
        }
        for (key, _) in &body.gives_way {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.claims.gives_way = true;
            }
        }
        Ok(accepted(said.object.revision, body, (accepted_unix_ms, came_under), change, trial))
    }

    /// The same life, changed where it may change.
    pub(super) async fn change(&mut self, said: &Said<'_>) -> io::Result<Admission> {
        let Said { scope, key, object, .. } = *said;
        let mut stored = self.read(key).await?;
        let body = match self.check(said, stored.current.uid) {
            Ok(body) => body,
            Err(refusal) => return Ok(refusal),
        };
        let asked_before = stored.current.pod().map_err(io::Error::other)?;
        if let Some(field) = forbidden_change(&asked_before, &body.asked) {
            // Two scopes mean two pods where they do not say otherwise. Were it refused, the order of
            // arrival would decide which of them a node runs.
            if object.uid.is_none() && stored.current.scope != scope.to_string() {
                return self.replace(said, None).await;
            }
            let message = "may not change while the pod lives: delete it first, or replace it \
                           under a new uid (`apply --force`)";
            return Ok(refuse(object.revision, "Forbidden", &field, message));
        }
        if Self::may_wait(said, &body, &stored) {
            return self.put_off(said, body, stored).await;
        }
        let before = stored.clone();
        let trial = body.rollback_after.map(|_| stored.trial_of_next(false));
        stored.set_trial(trial.as_ref());
        stored.set_rejected(None);
        stored.set_delay(None);
        stored.current.scope = scope.to_string();
        stored.current.frame = said.payload.to_vec();
        let since = (stored.current.accepted_unix_ms, stored.came_under());
        let trial = stored.on_trial(key, &self.policy);
        let moved = stored.current.scope != before.current.scope;
        self.write(scope, key, object.revision, Some(before), stored).await?;
        if let Some(held) = self.entries.get(key).map(|entry| &entry.held).filter(|_| moved) {
            // Where it fails, the next record of the pod says it.
            let _ = self.record_scope(held).await;
        }
        Ok(accepted(object.revision, body, since, Change::Update, trial))
    }

    pub(super) async fn delete(
        &mut self,
        scope: &Source,
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
        stored.set_trial(None);
        stored.set_rejected(None);
        stored.set_delay(None);
        self.write(scope, key, object.revision, Some(before), stored).await?;
        // Should its file be damaged, nothing older brings it back.
        self.remember_or_owe(scope, key, object.revision).await;
        Ok(Admission::Deleting { revision: object.revision, uid, grace_s })
    }

    fn check(&self, said: &Said<'_>, uid: Uid) -> Result<Body, Admission> {
        let Said { scope, key, object, .. } = *said;
        let seen = object.revision;
        let malformed = |error: &BodyError| refuse(seen, error.reason(), "", &error.to_string());
        let Intent::Apply { schema, body } = &object.intent else {
            return Err(refuse(seen, "Invalid", "", "the object asks for nothing"));
        };
        let asked = object::Pod::decode(*schema, body).map_err(|error| malformed(&error))?;
        let (namespace, name) = (key.namespace.clone(), key.name.clone());
        let checked = validate(PodName { namespace, name, uid }, &asked, &self.policy);
        let mut checked = checked.map_err(|error| {
            let fault = &error.first;
            refuse(seen, fault.reason, &fault.field, &error.to_string())
        })?;
        // Not where the node comes back: what was accepted once stays accepted.
        let annotations = &asked.meta.annotations;
        let fault = |fault: rollout::Fault| {
            refuse(seen, "Invalid", &fault.field(), &fault.error.to_string())
        };
        let rollback_after = rollout::rollback_after(annotations).map_err(fault)?;
        let delays = rollout::delay(annotations).map_err(fault)?.is_some();
        checked.pod.is_static = *scope == Source::Static;
        if checked.pod.is_static && (delays || rollback_after.is_some()) {
            let message =
                "a static pod changes when its file does: nothing puts that off, or takes it back";
            return Err(refuse(seen, "Invalid", "metadata.annotations", message));
        }
        checked.ignored.extend(rollout::unknown(annotations).map(rollout::field));
        Ok(Body { asked, checked, rollback_after, delays, gives_way: Vec::new() })
    }
}

/// Whether a pod is to run although memory is short.
fn tolerates_memory_pressure(spec: &PodSpec) -> bool {
    tolerates(spec, "node.kubernetes.io/memory-pressure", "", TaintEffect::NoSchedule)
}

fn tolerates(spec: &PodSpec, key: &str, value: &str, effect: TaintEffect) -> bool {
    spec.tolerations.iter().any(|toleration| toleration.tolerates(key, value, effect))
}

fn accepted(
    revision: Revision,
    body: Body,
    (accepted_unix_ms, came_under): (i64, Option<u32>),
    change: Change,
    trial: Option<Box<OnTrial>>,
) -> Admission {
    let preempted = body.preempted().collect();
    let Checked { pod, ignored } = body.checked;
    let life = Life { pod: Rc::new(pod), accepted_unix_ms, grace_s: None, came_under };
    Admission::Accepted { revision, life, change, trial, ignored, preempted }
}

/// The life that ends before another may start: the one that runs, which may not be the one that was
/// wanted last.
pub(super) fn outgoing(stored: Stored, next: Revision) -> Option<StoredLife> {
    if stored.previous.is_some() {
        return stored.previous;
    }
    let mut life = stored.current;
    let grace_s = grace_of(&life);
    life.ending.get_or_insert(Ending { revision: next, grace_s });
    Some(life)
}

/// The grace period that a life's spec gives it.
pub(super) fn grace_of(life: &StoredLife) -> u32 {
    let asked = life.pod().ok().and_then(|pod| pod.spec.termination_grace_period_s);
    asked.unwrap_or(DEFAULT_GRACE_S)
}
