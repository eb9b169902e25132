//! How a store comes back: every file is checked, what is damaged is set aside, the rest is used.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use mote_protocol::event::EventType;
use mote_protocol::name::{Kind, Namespace, ObjectKey, ObjectName, Uid};
use serde::de::DeserializeOwned;

use super::data;
use super::device::{Device, DeviceKey, KEY_LEN};
use super::judgement::Held;
use super::ledger::Ledger;
use super::seal::{SealError, seal, unseal};
use super::stored::{Stored, StoredLife};
use super::{DAMAGED, DEVICE_KEY, Entry, Kept, LEDGERS, Life, Loaded, Opened, SESSION, Store};
use crate::events::{About, Report};
use crate::pod::machine::Record;
use crate::pod::validate::{NodePolicy, validate};
use crate::pod::{PodName, resources};
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
        damaged: BTreeSet::new(),
        device: Device { key: None, board: board.to_vec() },
        tried_key: false,
        data: Vec::new(),
    };
    let start = opening.session().await;
    let mut ledger = opening.ledger().await;
    opening.damaged = opening.set_aside_before().await;
    let mut objects = opening.objects(&policy).await;
    opening.drop_ghosts(&mut objects, &ledger).await;
    opening.keep_ledger(&mut ledger, &objects).await;
    let records = opening.records().await;
    let entries = objects.iter().map(|(loaded, entry)| (loaded.key.clone(), entry.clone()));
    let mut entries: BTreeMap<_, _> = entries.collect();
    for entry in entries.values_mut() {
        let record = records.get(&entry.held.uid);
        if record.is_some_and(|record| record.verdict.is_some()) {
            entry.storage = 0;
        }
    }
    let data = opening.data.iter().map(|(key, entry)| (key.clone(), entry.held.revision)).collect();
    entries.extend(std::mem::take(&mut opening.data));
    let objects: Vec<_> = objects.into_iter().map(|(loaded, _)| loaded).collect();
    // Also those that were damaged just now, and those whose file is left in its place.
    let damaged = std::mem::take(&mut opening.damaged);
    let mut lacking: BTreeSet<_> = damaged.iter().filter(|key| key.kind == Kind::Pod).collect();
    lacking.retain(|key| !entries.contains_key(*key));
    let names = names_of_unwanted(&records, &objects);
    let lost = names.iter().filter(|(_, key)| lacking.contains(key));
    let lost: BTreeMap<_, _> = lost.map(|(uid, key)| (key.clone(), *uid)).collect();
    let kept = Kept {
        uids: lost.values().copied().collect(),
        keys: lacking.into_iter().filter(|key| !lost.contains_key(*key)).cloned().collect(),
        names,
    };
    let Opening { edges, reports, device, .. } = opening;
    let unsure = BTreeMap::new();
    let store = Store { edges, policy, entries, ledger, unsure, lost, damaged, device };
    Opened { store, start, objects, data, records, reports, kept }
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
    /// Names of objects that are there but cannot be used.
    damaged: BTreeSet<ObjectKey>,
    device: Device,
    /// Its key was looked for.
    tried_key: bool,
    /// `ConfigMap`s and Secrets that can be used.
    data: Vec<(ObjectKey, Entry)>,
}

impl<W: World> Opening<W> {
    /// Counts this start.
    async fn session(&mut self) -> u32 {
        let start = self.file::<u32>(SESSION).await.unwrap_or(0).wrapping_add(1);
        if let Err(error) = count_from(&self.edges, start).await {
            self.report("StorageErrors", format!("count this start of the agent: {error}"));
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

    /// Adds what power or the card cut short, and makes both copies whole again.
    async fn keep_ledger(&mut self, ledger: &mut Ledger, objects: &[(Loaded, Entry)]) {
        for (loaded, entry) in objects.iter().filter(|(_, entry)| entry.held.deleting) {
            ledger.remember(&entry.held.scope, &loaded.key, loaded.revision);
        }
        if *ledger == Ledger::default() {
            return;
        }
        let Ok(file) = seal(ledger) else { return };
        for name in LEDGERS {
            if self.edges.disk.read(name).await.is_ok_and(|bytes| bytes == file) {
                continue;
            }
            if let Err(error) = self.edges.disk.write(name, &file).await {
                self.report("StorageErrors", format!("write {name}: {error}"));
            }
        }
    }

    /// A file's content; none where there is no such file, or it was set aside.
    async fn file<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let bytes = match self.edges.disk.read(name).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.report("StorageErrors", format!("read {name}: {error}"));
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
            self.report("StorageErrors", format!("set {name} aside: {error}"));
        }
    }

    /// Names of objects that were set aside, now or earlier.
    async fn set_aside_before(&mut self) -> BTreeSet<ObjectKey> {
        let prefix = format!("{DAMAGED}/spec");
        let names = self.edges.disk.list(&prefix).await.unwrap_or_default();
        names.iter().filter_map(|name| key_of(name.strip_prefix("damaged/")?)).collect()
    }

    async fn objects(&mut self, policy: &NodePolicy) -> Vec<(Loaded, Entry)> {
        let names = match self.edges.disk.list("spec").await {
            Ok(names) => names,
            Err(error) => {
                self.report("StorageErrors", format!("list objects: {error}"));
                Vec::new()
            }
        };
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
                    Ok(entry) => self.data.push((key, entry)),
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

    fn report(&mut self, reason: &'static str, message: String) {
        self.reports.push(Report {
            event_type: EventType::Warning,
            about: About::Node,
            reason: reason.into(),
            message,
        });
    }
}

/// Whose records are of no life that an object is for. They are dropped once nothing of it is left.
fn names_of_unwanted(
    records: &BTreeMap<Uid, Record>,
    objects: &[Loaded],
) -> BTreeMap<Uid, ObjectKey> {
    let lives = objects.iter().flat_map(|o| std::iter::once(&o.current).chain(&o.previous));
    let wanted: BTreeSet<Uid> = lives.map(|life| life.pod.name.uid).collect();
    let unwanted = records.iter().filter(|(uid, _)| !wanted.contains(uid));
    let name = |(uid, record): (&Uid, &Record)| {
        let (namespace, name) = (record.namespace.clone(), record.name.clone());
        (*uid, ObjectKey { kind: Kind::Pod, namespace, name })
    };
    unwanted.map(name).collect()
}

fn key_of(name: &str) -> Option<ObjectKey> {
    let mut parts = name.strip_prefix("spec/")?.splitn(3, '/');
    Some(ObjectKey {
        kind: parts.next()?.parse().ok()?,
        namespace: Namespace::new(parts.next()?).ok()?,
        name: ObjectName::new(parts.next()?).ok()?,
    })
}

fn load(key: &ObjectKey, stored: &Stored, policy: &NodePolicy) -> Result<(Loaded, Entry), String> {
    let text = |error: super::stored::StoredError| error.to_string();
    let revision = stored.current.revision().map_err(text)?;
    let scope = stored.current.scope().map_err(text)?;
    let current = life(key, &stored.current, policy)?;
    // A life that only has to end is ended as an orphan where it cannot be read.
    let previous = stored.previous.as_ref().and_then(|previous| life(key, previous, policy).ok());
    let held = Held {
        uid: stored.current.uid,
        revision,
        scope,
        deleting: stored.current.ending.is_some(),
    };
    let storage = stored.current.pod().map(|asked| resources::storage_request(&asked.spec));
    let storage = storage.map_err(text)?;
    let entry = Entry { held, previous: stored.previous.is_some(), storage };
    Ok((Loaded { key: key.clone(), revision, current, previous }, entry))
}

fn load_data(
    key: &ObjectKey,
    stored: &Stored,
    device: Option<&DeviceKey>,
) -> Result<Entry, String> {
    let revision = data::object(key, &stored.current, device)?.revision;
    let scope = stored.current.scope().map_err(|error| error.to_string())?;
    let held = Held { uid: stored.current.uid, revision, scope, deleting: false };
    Ok(Entry { held, previous: false, storage: 0 })
}

fn life(key: &ObjectKey, stored: &StoredLife, policy: &NodePolicy) -> Result<Life, String> {
    let asked = stored.pod().map_err(|error| error.to_string())?;
    let (namespace, name) = (key.namespace.clone(), key.name.clone());
    let name = PodName { namespace, name, uid: stored.uid };
    // What was accepted stays accepted: a node whose operator says something else since ends nothing.
    let asked_of = &asked.spec;
    let lenient = NodePolicy {
        labels: asked_of.node_selector.clone(),
        unsafe_sysctls: vec!["*".to_owned()],
        enforcement: policy.enforcement.of_accepted(),
        ..NodePolicy::default()
    };
    let checked = validate(name, &asked, &lenient).map_err(|error| error.to_string())?;
    Ok(Life {
        pod: Rc::new(checked.pod),
        accepted_unix_ms: stored.accepted_unix_ms,
        grace_s: stored.ending.map(|ending| ending.grace_s),
    })
}
