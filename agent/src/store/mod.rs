//! What this node was told to run, kept so that it runs without anybody telling it again.
//!
//! Each object is one file, written when it is accepted and before it is acknowledged; the ledger
//! remembers the last revision of what is gone; each pod has a record of how far it got. A file
//! that is damaged is set aside and reported, and the rest is used. Files are the truth: what is
//! in memory here is only what is needed to judge the next object.
//!
//! ```text
//! session                    how often this agent was started
//! clock                      when the clock was right last
//! ledger, ledger-copy        last revisions of forgotten names, twice: nothing else could give
//!                            them back
//! spec/KIND/NAMESPACE/NAME   one object; a Secret's is sealed, beside a Service is what it has of the node
//! device-key                 half of what secrets are sealed with; the other half is the board
//! record/UID                 how far a pod got
//! events                     what happened
//! cordon                     whether the node takes pods
//! damaged/...                files that were set aside
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use mote_protocol::name::{ObjectKey, Uid};
use mote_protocol::object::{self, Intent, Object, Revision};
use mote_protocol::status::Refusal;

use crate::cordon::Cordon;
use crate::events::{EventLog, Report};
use crate::eviction::Pressures;
use crate::pod::Pod;
use crate::pod::machine::Record;
use crate::pod::validate::NodePolicy;
use crate::runtime::Origin;
use crate::services::Accepted;
use crate::world::{SharedEdges, World};

mod admission;
mod claims;
mod clerk;
mod cordon;
mod critical;
mod data;
mod delayed;
mod device;
mod durable;
#[doc(hidden)]
pub mod fuzz;
mod judgement;
mod ledger;
mod lost;
mod opening;
mod rollout;
mod seal;
mod seen;
mod service;
mod source;
mod static_pods;
mod stored;
#[cfg(test)]
mod tests;
pub mod update;

pub use clerk::{Arrival, DataReader, Order, Told, serve};
pub use critical::critical_pods;
pub use delayed::{Patience, PutOff};
pub use judgement::{Held, Judgement, Objection, judge};
pub use ledger::Ledger;
pub use opening::{count_from, open};
pub use rollout::{OnTrial, Rejected, Sentence, Sentenced, WentBack};
pub use seen::{keep_time, last_seen};
pub use source::Source;
pub use static_pods::StaticPods;

use crate::ports::Disk;
use claims::Claims;
use device::Device;
use lost::LostPod;
use stored::Stored;

/// One life of a pod, as the rest of the agent needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// What is asked.
    pub pod: Rc<Pod>,
    /// When it was accepted first, in Unix milliseconds by the clock of then.
    pub accepted_unix_ms: i64,
    /// It is to end, and its containers get so many seconds.
    pub grace_s: Option<u32>,
    /// The cordon of the node that it came under.
    pub came_under: Option<u32>,
}

/// An object that was on flash when the agent started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its name.
    pub key: ObjectKey,
    /// The last revision that was accepted.
    pub revision: Revision,
    /// What is wanted.
    pub current: Life,
    /// The life that ends before this one may start.
    pub previous: Option<Life>,
    /// It is on trial.
    pub trial: Option<Box<OnTrial>>,
    /// A later revision that was tried and taken back.
    pub rejected: Option<Rejected>,
    /// A later revision that waits.
    pub put_off: Option<Box<PutOff>>,
    /// Pods that give way to what is wanted.
    pub preempts: Vec<Uid>,
}

/// What became of an object that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nothing new.
    Same,
    /// An empty payload, which says nothing.
    Empty,
    /// No, and why.
    Refused(Box<Refusal>),
    /// It is on flash, and wanted from now on.
    Accepted {
        /// Its revision.
        revision: Revision,
        /// What is wanted.
        life: Life,
        /// How it relates to what was wanted before.
        change: Change,
        /// It is on trial.
        trial: Option<Box<OnTrial>>,
        /// Fields that this version ignores.
        ignored: Vec<String>,
        /// Pods that give way to it.
        preempted: Vec<Uid>,
    },
    /// It is on flash, and may have to wait.
    Delayed {
        /// For what.
        put_off: Box<PutOff>,
        /// Fields that this version ignores.
        ignored: Vec<String>,
    },
    /// A `ConfigMap` or Secret is on flash, and counts from now on.
    Kept {
        /// Its revision.
        revision: Revision,
        /// Fields that this version ignores.
        ignored: Vec<String>,
    },
    /// A service is on flash, and counts from now on.
    Serves {
        /// Its revision.
        revision: Revision,
        /// What is asked, and what it has of the node.
        service: Box<Accepted>,
        /// Fields that this version ignores.
        ignored: Vec<String>,
    },
    /// A `ConfigMap`, Secret or service is forgotten.
    Dropped,
    /// Its tombstone is on flash.
    Deleting {
        /// The tombstone's revision.
        revision: Revision,
        /// Which life ends.
        uid: Uid,
        /// Seconds its containers get.
        grace_s: u32,
    },
    /// The tombstone of something that this node does not have is in the ledger.
    DeletedUnknown {
        /// It had it, and lost it to damage: this pod may still run.
        lost: Option<Uid>,
    },
}

/// How an accepted object relates to what was wanted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new name.
    New,
    /// The same life, changed.
    Update,
    /// Another life: the one before ends first.
    Replace,
}

/// What the store was found to hold.
pub struct Opened<W: World> {
    /// The store.
    pub store: Store<W>,
    /// Which start of the agent on this node this is.
    pub start: u32,
    /// When the clock was right last, in Unix seconds, if it ever was.
    pub seen_s: Option<i64>,
    /// Every pod that can be used.
    pub objects: Vec<Loaded>,
    /// Every `ConfigMap`, Secret and service that can be used.
    pub data: BTreeMap<ObjectKey, Revision>,
    /// What the services among them ask, and have of the node.
    pub services: BTreeMap<ObjectKey, Accepted>,
    /// How far pods got.
    pub records: BTreeMap<Uid, Record>,
    /// What happened before.
    pub events: EventLog,
    /// Whether the node takes pods.
    pub cordon: Cordon,
    /// Pods that give way to critical ones, if they have not yet.
    pub preempted: BTreeSet<Uid>,
    /// What was found damaged.
    pub reports: Vec<Report>,
    /// The card did not do what it was told.
    pub failing: bool,
    /// What runs although its object is lost.
    pub kept: Kept,
}

/// Pods whose object was lost to damage: they go on until somebody says again what they should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Nobody can say what objects there were: any pod may be one's.
    pub unknown: bool,
    /// Those known by their record.
    pub uids: BTreeSet<Uid>,
    /// Those of them that are to end, and that gave no answer when that was said.
    pub disowned: BTreeSet<Uid>,
    /// Lost objects that have no record: any pod that nobody wants may be theirs.
    pub keys: BTreeSet<ObjectKey>,
    /// The names of pods that no object is for, by their records.
    pub names: BTreeMap<Uid, ObjectKey>,
}

#[derive(Clone, Debug)]
struct Entry {
    held: Held,
    /// The life before has not ended yet.
    previous: bool,
    claims: Claims,
}

/// Beside what the record of a pod says: whom its object was said to, and the last that was, in case that
/// is lost.
const SCOPE: &str = "scope";
const REVISION: &str = "revision";

/// The files of this node, and what is needed to judge the next object.
pub struct Store<W: World> {
    edges: SharedEdges<W>,
    policy: NodePolicy,
    cordon: Cordon,
    entries: BTreeMap<ObjectKey, Entry>,
    ledger: Ledger,
    /// Flash did not take it as it is.
    ledger_owed: bool,
    /// Why, where nobody was told yet.
    ledger_error: Option<std::io::Error>,
    /// What the files of some names should hold: their last write failed, so that nobody knows
    /// what they do hold.
    unsure: BTreeMap<ObjectKey, Stored>,
    /// Pods whose object is lost, to be given back to it.
    lost: BTreeMap<ObjectKey, LostPod>,
    /// Names with a file that was set aside.
    damaged: BTreeSet<ObjectKey>,
    device: Device,
}

fn spec_file(key: &ObjectKey) -> String {
    format!("spec/{key}")
}

fn record_file(uid: Uid) -> String {
    format!("record/{uid}")
}

/// The same content in each: whichever is read last wins nothing, both count.
const LEDGERS: [&str; 2] = ["ledger", "ledger-copy"];
const SESSION: &str = "session";
const CLOCK: &str = "clock";
const EVENTS: &str = "events";
const CORDON: &str = "cordon";
const DEVICE_KEY: &str = "device-key";
const DAMAGED: &str = "damaged";

impl<W: World> Store<W> {
    /// The node is short of this from here on.
    pub(super) const fn under(&mut self, held: Pressures) {
        self.policy.pressure = held;
    }

    /// Writes how far a pod got.
    pub async fn save_record(&mut self, uid: Uid, record: &Record) -> std::io::Result<()> {
        if record.verdict.is_some() {
            // What is over keeps nothing of what it asked for.
            self.entries
                .values_mut()
                .filter(|e| e.held.uid == uid)
                .for_each(|e| e.claims = Claims::default());
        }
        let entry = self.entries.values().find(|entry| entry.held.uid == uid);
        let held = entry.map(|entry| entry.held.clone());
        self.write_record(uid, record.clone(), held.as_ref()).await
    }

    /// Has the record of a pod say whom its object is said to from now on: should the object be lost before
    /// the pod changes, one of a farther scope must not take its place.
    async fn record_scope(&self, held: &Held) -> std::io::Result<()> {
        // Where there is none yet, the first one says it.
        let file = self.edges.disk.read(&record_file(held.uid)).await?;
        let record = seal::unseal::<Record>(&file).map_err(std::io::Error::other)?;
        self.write_record(held.uid, record, Some(held)).await
    }

    async fn write_record(
        &self,
        uid: Uid,
        mut record: Record,
        held: Option<&Held>,
    ) -> std::io::Result<()> {
        if let Some(Held { scope, revision, .. }) = held {
            record.extensions.set(SCOPE, Some(scope.to_string().into_bytes()));
            record.extensions.write(REVISION, Some(revision));
        }
        let file = seal::seal(&record).map_err(std::io::Error::other)?;
        self.edges.disk.write(&record_file(uid), &file).await
    }

    /// Writes what happened.
    pub async fn keep_events(&self, log: &EventLog) -> std::io::Result<()> {
        let file = seal::seal(log).map_err(std::io::Error::other)?;
        self.edges.disk.write(EVENTS, &file).await
    }

    /// Forgets a name whose object is gone, but not its revision.
    pub async fn forget(&mut self, key: &ObjectKey, uid: Uid) -> std::io::Result<()> {
        let Some(entry) = self.entries.get(key).filter(|entry| entry.held.uid == uid) else {
            return Ok(());
        };
        if !entry.held.deleting {
            return Ok(());
        }
        let (scope, revision) = (entry.held.scope.clone(), entry.held.revision);
        self.remember(&scope, key, revision).await?;
        self.edges.disk.remove(&spec_file(key)).await?;
        self.entries.remove(key);
        self.unsure.remove(key);
        // A record that stays is dropped at the next start.
        let _ = self.edges.disk.remove(&record_file(uid)).await;
        Ok(())
    }

    /// Notes that the life before the current one has ended; its record is of no use.
    pub async fn previous_ended(&mut self, key: &ObjectKey, uid: Uid) {
        let entry = self.entries.get_mut(key);
        let noted = entry.is_some_and(|entry| std::mem::take(&mut entry.previous));
        if noted {
            // The next agent would take what ended for what runs, and what begins under the same uid for
            // what ended. Where this fails it is ended once more, after the next start.
            let _ = self.write_without_previous(key).await;
        }
        // One that stays is dropped at the next start.
        let _ = self.edges.disk.remove(&record_file(uid)).await;
    }

    async fn write_without_previous(&mut self, key: &ObjectKey) -> std::io::Result<()> {
        let stored = self.read(key).await?;
        let file = seal::seal(&stored).map_err(std::io::Error::other)?;
        self.edges.disk.write(&spec_file(key), &file).await?;
        self.unsure.remove(key);
        Ok(())
    }

    /// What the pod is that runs and that no object is for: said again, it is the same life.
    pub fn lost(&mut self, uid: Uid, origin: Origin) {
        let key = origin.key();
        if !self.entries.contains_key(&key) {
            self.lost.entry(key).or_insert_with(|| LostPod::running(uid, origin));
        }
    }

    /// The life that an object of this name goes on with, where that was lost. One with other containers
    /// is another: nobody would look after those that run.
    fn lost_life(&self, key: &ObjectKey, object: &Object) -> Option<Uid> {
        let LostPod { uid, containers, .. } = self.lost.get(key)?;
        let Intent::Apply { schema, body } = &object.intent else { return None };
        let spec = object::Pod::decode(*schema, body).ok()?.spec;
        let asked = spec.init_containers.iter().chain(&spec.containers);
        asked.map(|container| &container.name).eq(containers).then_some(*uid)
    }

    /// Whether an object is of the life that was lost under its name.
    fn is_of_lost(&self, key: &ObjectKey, object: &Object) -> bool {
        let asked = object.uid.or_else(|| self.lost_life(key, object));
        asked.is_some() && asked == self.lost.get(key).map(|lost| lost.uid)
    }

    /// Forgets how far a pod got that belonged to nobody.
    pub async fn drop_record(&self, uid: Uid) {
        // One that stays is dropped after the next start.
        let _ = self.edges.disk.remove(&record_file(uid)).await;
    }

    /// What was asked for a pod, in full.
    pub async fn read_pod(&self, key: &ObjectKey) -> Option<object::Pod> {
        self.read(key).await.ok()?.current.pod().ok()
    }

    /// What the file of a name holds, or should hold; without the life before where that has ended.
    async fn read(&self, key: &ObjectKey) -> std::io::Result<Stored> {
        let mut stored = if let Some(stored) = self.unsure.get(key) {
            stored.clone()
        } else {
            let file = self.edges.disk.read(&spec_file(key)).await?;
            seal::unseal::<Stored>(&file).map_err(std::io::Error::other)?
        };
        let previous = self.entries.get(key).is_some_and(|entry| entry.previous);
        stored.previous = stored.previous.filter(|_| previous);
        Ok(stored)
    }

    async fn remember(
        &mut self,
        scope: &Source,
        key: &ObjectKey,
        revision: Revision,
    ) -> std::io::Result<()> {
        let mut ledger = self.ledger.clone();
        ledger.remember(scope, key, revision);
        if ledger != self.ledger || self.ledger_owed {
            self.write_ledger(ledger).await?;
        }
        Ok(())
    }

    async fn write_ledger(&mut self, ledger: Ledger) -> std::io::Result<()> {
        let file = seal::seal(&ledger).map_err(std::io::Error::other)?;
        for name in LEDGERS {
            self.edges.disk.write(name, &file).await?;
        }
        self.ledger = ledger;
        self.ledger_owed = false;
        Ok(())
    }
}
