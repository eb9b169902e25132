//! How a store comes back: every file is checked, what is damaged is set aside, the rest is used.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use mote_protocol::event::EventType;
use mote_protocol::name::{Kind, Namespace, ObjectKey, ObjectName, Uid};
use serde::de::DeserializeOwned;

use super::claims::Claims;
use super::delayed::Waits;
use super::device::{Device, DeviceKey, KEY_LEN};
use super::judgement::Held;
use super::ledger::Ledger;
use super::seal::{SealError, seal, unseal};
use super::seen::Seen;
use super::source::Source;
use super::stored::{Stored, StoredLife};
use super::{
    CLOCK, CORDON, DAMAGED, DEVICE_KEY, EVENTS, Entry, LEDGERS, Life, Loaded, Opened, SESSION,
    Store,
};
use super::{data, lost};
use crate::cordon::Cordon;
use crate::events::{About, Report};
use crate::pod::PodName;
use crate::pod::machine::Record;
use crate::pod::validate::{NodePolicy, PodAddresses, validate};
use crate::ports::Disk;
use crate::world::{Edges, SharedEdges, World};

/// Files that were set aside are kept for a person, up to this many.
const MAX_DAMAGED: usize = 16;

/// Opens the store of this node, on a board that this tells from others. It always opens: what
/// cannot be used is reported.
pub async fn open<W: World>(edges: SharedEdges<W>, policy: NodePolicy, board: &[u8]) -> Opened<W> {
    let mut opening = Opening {
        edges,
        reports: Vec::new(),
        failing: false,
        damaged: BTreeSet::new(),
        unknown: false,
        device: Device { key: None, board: board.to_vec() },
        tried_key: false,
        data: Vec::new(),
        services: Vec::new(),
    };
    let start = opening.session().await;
    let seen_s = opening.file::<Seen>(CLOCK).await.map(|seen| seen.at_s);
    let mut ledger = opening.ledger().await;
    opening.damaged = opening.set_aside_before().await;
    let mut objects = opening.objects(&policy).await;
    opening.drop_ghosts(&mut objects, &ledger).await;
    let ledger_owed = !opening.keep_ledger(&mut ledger, &objects).await;
    let records = opening.records().await;
    let events = opening.file(EVENTS).await.unwrap_or_default();
    let cordon = opening.cordon(&objects).await;
    let preempted = preempted(&objects);
    let mut entries = entries(&objects, &records, &preempted);
    let data = opening.data.iter().map(|(key, entry)| (key.clone(), entry.held.revision)).collect();
    entries.extend(std::mem::take(&mut opening.data));
    let objects: Vec<_> = objects.into_iter().map(|(loaded, _)| loaded).collect();
    // Also those that were damaged just now, and those whose file is left in its place.
    let damaged = std::mem::take(&mut opening.damaged);
    let is_here = |key: &_| entries.contains_key(key);
    let (lost, kept) = lost::found(&damaged, opening.unknown, is_here, &objects, &records);
    let Opening { edges, reports, failing, device, services: found, .. } = opening;
    let mut store = Store {
        edges,
        policy,
        cordon,
        entries,
        ledger,
        ledger_owed,
        ledger_error: None,
        unsure: BTreeMap::new(),
        lost,
        damaged,
        device,
    };
    let services = store.services(found).await;
    Opened {
        store,
        start,
        seen_s,
        objects,
        data,
        services,
        records,
        events,
        cordon,
        preempted,
        reports,
        failing,
        kept,
    }
}

/// Pods that give way to others, of those that are here.
fn preempted(objects: &[(Loaded, Entry)]) -> BTreeSet<Uid> {
    let told: BTreeSet<Uid> = objects.iter().flat_map(|(one, _)| &one.preempts).copied().collect();
    objects.iter().map(|(_, entry)| entry.held.uid).filter(|uid| told.contains(uid)).collect()
}

/// What is needed of each pod to judge the next object. What is over claims nothing.
fn entries(
    objects: &[(Loaded, Entry)],
    records: &BTreeMap<Uid, Record>,
    preempted: &BTreeSet<Uid>,
) -> BTreeMap<ObjectKey, Entry> {
    let entries = objects.iter().map(|(loaded, entry)| {
        let mut entry = entry.clone();
        let record = records.get(&entry.held.uid);
        if record.is_some_and(|record| record.verdict.is_some()) {
            entry.claims = Claims::default();
        }
        entry.claims.gives_way = preempted.contains(&entry.held.uid);
        (loaded.key.clone(), entry)
    });
    entries.collect()
}

/// Raises the number of this start: the broker keeps a later one, from a flash card that was
/// replaced.
pub async fn count_from<W: World>(edges: &Edges<W>, start: u32) -> io::Result<()> {
    let file = seal(&start).map_err(io::Error::other)?;
    edges.disk.write(SESSION, &file).await
}

struct Opening<W: World> {
    edges: SharedEdges<W>,
    reports: Vec<Report>,
    /// The card did not do what it was told.
    failing: bool,
    /// Names of objects that are there but cannot be used.
    damaged: BTreeSet<ObjectKey>,
    /// There may have been others.
    unknown: bool,
    device: Device,
    /// Its key was looked for.
    tried_key: bool,
    /// `ConfigMap`s and Secrets that can be used.
    data: Vec<(ObjectKey, Entry)>,
    /// Services among them, as their files have them.
    services: Vec<(ObjectKey, Stored)>,
}

impl<W: World> Opening<W> {
    /// Whether the node takes pods: no earlier time than one that pods remember.
    async fn cordon(&mut self, objects: &[(Loaded, Entry)]) -> Cordon {
        let kept = self.file::<Cordon>(CORDON).await.unwrap_or_default();
        kept.later_than(objects.iter().filter_map(|(loaded, _)| loaded.current.came_under).max())
    }

    /// Counts this start.
    async fn session(&mut self) -> u32 {
        let start = self.file::<u32>(SESSION).await.unwrap_or(0).wrapping_add(1);
        if let Err(error) = count_from(&self.edges, start).await {
            self.card_failed(format!("count this start of the agent: {error}"));
        }
        start
    }

    /// Reads the device's key, where one was made: once there is a secret to be read with it. One
    /// that is damaged is set aside, and what it sealed is said again by the broker.
    async fn read_device_key(&mut self) {
        if !std::mem::replace(&mut self.tried_key, true)
            && let Some(file) = self.file::<[u8; KEY_LEN]>(DEVICE_KEY).await
        {
            self.device.key = DeviceKey::new(&file, &self.device.board);
        }
    }

    /// Everything that any copy knows: revisions only grow.
    async fn ledger(&mut self) -> Ledger {
        let mut ledger = Ledger::default();
        for name in LEDGERS {
            ledger.merge(self.file(name).await.unwrap_or_default());
        }
        ledger
    }

    /// Adds what power or the card cut short, and makes both copies whole again; false where the card
    /// does not take them.
    async fn keep_ledger(&mut self, ledger: &mut Ledger, objects: &[(Loaded, Entry)]) -> bool {
        for (loaded, entry) in objects.iter().filter(|(_, entry)| entry.held.deleting) {
            ledger.remember(&entry.held.scope, &loaded.key, loaded.revision);
        }
        if *ledger == Ledger::default() {
            return true;
        }
        let Ok(file) = seal(ledger) else { return true };
        let mut kept = true;
        for name in LEDGERS {
            if self.edges.disk.read(name).await.is_ok_and(|bytes| bytes == file) {
                continue;
            }
            if let Err(error) = self.edges.disk.write(name, &file).await {
                self.card_failed(format!("write {name}: {error}"));
                kept = false;
            }
        }
        kept
    }

    /// A file's content; none where there is no such file, or it was set aside.
    async fn file<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let bytes = match self.edges.disk.read(name).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.card_failed(format!("read {name}: {error}"));
                return None;
            }
        };
        match unseal(&bytes) {
            Ok(content) => Some(content),
            // It is not damaged, and a newer agent may come back.
            Err(error @ SealError::Version { .. }) => {
                self.report("NewerFile", format!("use {name}: {error}"));
                None
            }
            Err(error) => {
                self.report("DamagedFile", format!("{name} was set aside: {error}"));
                self.set_aside(name, &bytes).await;
                None
            }
        }
    }

    /// What cannot be set aside stays where it is and is reported again next time.
    async fn set_aside(&mut self, name: &str, bytes: &[u8]) {
        let disk = &self.edges.disk;
        let kept = disk.list(DAMAGED).await.map_or(0, |names| names.len());
        let copy = async {
            if kept < MAX_DAMAGED {
                disk.write(&format!("{DAMAGED}/{name}"), bytes).await?;
            } else {
                // Only that something was there must not be lost.
                disk.write(&format!("{DAMAGED}/{name}"), &[]).await?;
            }
            disk.remove(name).await
        };
        if let Err(error) = copy.await {
            self.card_failed(format!("set {name} aside: {error}"));
        }
    }

    /// Names of objects that were set aside, now or earlier.
    async fn set_aside_before(&mut self) -> BTreeSet<ObjectKey> {
        let names = self.list(&format!("{DAMAGED}/spec")).await;
        names.iter().filter_map(|name| key_of(name.strip_prefix("damaged/")?)).collect()
    }

    async fn list(&mut self, directory: &str) -> Vec<String> {
        match self.edges.disk.list(directory).await {
            Ok(names) => names,
            Err(error) => {
                self.card_failed(format!("list {directory}: {error}"));
                self.unknown = true;
                Vec::new()
            }
        }
    }

    async fn objects(&mut self, policy: &NodePolicy) -> Vec<(Loaded, Entry)> {
        let names = self.list("spec").await;
        // A pod is removed before its file: where there is no file at all, something took them.
        self.unknown |= names.is_empty();
        let mut objects = Vec::new();
        for name in names {
            let Some(key) = key_of(&name) else {
                self.report("ForeignFile", format!("{name} is none of this agent's"));
                continue;
            };
            let Some(stored) = self.file::<Stored>(&name).await else {
                self.damaged.insert(key);
                continue;
            };
            if key.kind != Kind::Pod {
                if key.kind == Kind::Secret {
                    self.read_device_key().await;
                }
                match load_data(&key, &stored, self.device.key.as_ref()) {
                    Ok(entry) => {
                        if key.kind == Kind::Service {
                            self.services.push((key.clone(), stored));
                        }
                        self.data.push((key, entry));
                    }
                    Err(cause) => {
                        self.report("UnusableFile", format!("use {name}: {cause}"));
                        self.damaged.insert(key);
                    }
                }
                continue;
            }
            match load(&key, &stored, policy) {
                Ok(loaded) => objects.push(loaded),
                Err(cause) => {
                    self.report("UnusableFile", format!("use {name}: {cause}"));
                    self.damaged.insert(key);
                }
            }
        }
        objects
    }

    /// Drops objects that the ledger knows to be gone. A card that answered with an error may have
    /// written all the same, and power may fail between the ledger and the removal of the file.
    async fn drop_ghosts(&mut self, objects: &mut Vec<(Loaded, Entry)>, ledger: &Ledger) {
        let is_gone = |key: &ObjectKey, held: &Held| {
            // An equal revision is known of a tombstone before its pod is gone, and of an object before
            // a nearer one takes its place: power may fail before it does.
            ledger.get(&held.scope, key) > Some(held.revision)
        };
        let pods = objects.extract_if(.., |(loaded, entry)| is_gone(&loaded.key, &entry.held));
        let mut ghosts: Vec<_> = pods.map(|(loaded, _)| loaded.key).collect();
        let data = self.data.extract_if(.., |(key, entry)| is_gone(key, &entry.held));
        ghosts.extend(data.map(|(key, _)| key));
        for key in ghosts {
            // One that stays is dropped at the next start.
            let _ = self.edges.disk.remove(&super::spec_file(&key)).await;
        }
    }

    async fn records(&mut self) -> BTreeMap<Uid, Record> {
        let mut records = BTreeMap::new();
        for name in self.edges.disk.list("record").await.unwrap_or_default() {
            let uid = name.strip_prefix("record/").and_then(|uid| uid.parse().ok());
            let Some(uid) = uid else { continue };
            if let Some(record) = self.file::<Record>(&name).await {
                records.insert(uid, record);
            }
        }
        records
    }

    fn card_failed(&mut self, message: String) {
        self.failing = true;
        self.report("StorageErrors", message);
    }

    fn report(&mut self, reason: &'static str, message: String) {
        self.reports.push(Report {
            event_type: EventType::Warning,
            about: About::Node,
            reason: reason.into(),
            message,
        });
    }
}

fn key_of(name: &str) -> Option<ObjectKey> {
    let mut parts = name.strip_prefix("spec/")?.splitn(3, '/');
    Some(ObjectKey {
        kind: parts.next()?.parse().ok()?,
        namespace: Namespace::new(parts.next()?).ok()?,
        name: ObjectName::new(parts.next()?).ok()?,
    })
}

pub(super) fn load(
    key: &ObjectKey,
    stored: &Stored,
    policy: &NodePolicy,
) -> Result<(Loaded, Entry), String> {
    let text = |error: super::stored::StoredError| error.to_string();
    stored.check().map_err(text)?;
    let revision = stored.current.revision().map_err(text)?;
    let scope = stored.current.scope().map_err(text)?;
    let came_under = stored.came_under();
    let current = Life { came_under, ..life(key, &stored.current, policy)? };
    // A life that only has to end is ended as an orphan where it cannot be read.
    let previous = stored.previous.as_ref().and_then(|previous| life(key, previous, policy).ok());
    let rejected = stored.rejected().filter(|_| stored.current.ending.is_none());
    let last = stored.last().map_err(text)?;
    let put_off = stored.waits().map(Waits::put_off);
    // What waits is not new either.
    let (scope, last, put_off) = match put_off {
        Some((scope, put_off)) => (scope, put_off.revision, Some(Box::new(put_off))),
        None => (scope, last, None),
    };
    let deleting = stored.current.ending.is_some();
    let held = Held { uid: stored.current.uid, revision: last, scope, deleting };
    let claims = stored.current.pod().map(|asked| Claims::of(&asked.spec));
    let claims = claims.map_err(text)?;
    let entry = Entry { held, previous: stored.previous.is_some(), claims };
    let trial = stored.on_trial(key, policy);
    let key = key.clone();
    let preempts = stored.preempts();
    Ok((Loaded { key, revision, current, previous, trial, rejected, put_off, preempts }, entry))
}

pub(super) fn load_data(
    key: &ObjectKey,
    stored: &Stored,
    device: Option<&DeviceKey>,
) -> Result<Entry, String> {
    stored.check().map_err(|error| error.to_string())?;
    let revision = data::object(key, &stored.current, device)?.revision;
    if key.kind == Kind::Service {
        super::service::read(key, &stored.current)?;
    }
    let scope = stored.current.scope().map_err(|error| error.to_string())?;
    let held = Held { uid: stored.current.uid, revision, scope, deleting: false };
    Ok(Entry { held, previous: false, claims: Claims::default() })
}

pub(super) fn life(
    key: &ObjectKey,
    stored: &StoredLife,
    policy: &NodePolicy,
) -> Result<Life, String> {
    let asked = stored.pod().map_err(|error| error.to_string())?;
    let (namespace, name) = (key.namespace.clone(), key.name.clone());
    let name = PodName { namespace, name, uid: stored.uid };
    // What was accepted stays accepted: a node whose operator says something else since ends nothing.
    let asked_of = &asked.spec;
    let lenient = NodePolicy {
        labels: asked_of.node_selector.clone(),
        unsafe_sysctls: vec!["*".to_owned()],
        addresses: PodAddresses::Both,
        enforcement: policy.enforcement.of_accepted(),
        ..NodePolicy::default()
    };
    let mut pod = validate(name, &asked, &lenient).map_err(|error| error.to_string())?.pod;
    pod.is_static = stored.scope() == Ok(Source::Static);
    Ok(Life {
        pod: Rc::new(pod),
        accepted_unix_ms: stored.accepted_unix_ms,
        grace_s: stored.ending.map(|ending| ending.grace_s),
        came_under: None,
    })
}
