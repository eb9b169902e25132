//! Pods whose object was lost to damage: what is known of them, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};

use mote_protocol::name::{Kind, ObjectKey, Uid};
use mote_protocol::topic::Scope;

use super::{Kept, Loaded, SCOPE};
use crate::pod::machine::Record;
use crate::runtime::Origin;

/// What is known of a pod whose object is lost.
#[derive(Clone, Debug)]
pub(super) struct LostPod {
    pub(super) uid: Uid,
    /// Whom the object was said to.
    pub(super) scope: Option<Scope>,
    /// Names of its containers, in the order of the spec, init containers first.
    pub(super) containers: Vec<String>,
}

impl LostPod {
    /// One that runs.
    pub(super) fn running(uid: Uid, origin: Origin) -> Self {
        Self { uid, scope: None, containers: origin.containers }
    }

    fn recorded(uid: Uid, record: &Record) -> Self {
        let told = record.extensions.get(SCOPE).and_then(|told| std::str::from_utf8(told).ok());
        let scope = told.and_then(|told| Scope::parse(told).ok());
        let containers = record.slots.iter().map(|slot| slot.name.clone()).collect();
        Self { uid, scope, containers }
    }
}

/// Which pods lost their object: those of damaged names, and where it is not known what there was, those
/// of all names that are not here.
pub(super) fn found(
    damaged: &BTreeSet<ObjectKey>,
    unknown: bool,
    is_here: impl Fn(&ObjectKey) -> bool,
    objects: &[Loaded],
    records: &BTreeMap<Uid, Record>,
) -> (BTreeMap<ObjectKey, LostPod>, Kept) {
    let lacking = damaged.iter().filter(|key| key.kind == Kind::Pod && !is_here(key));
    let lacking: BTreeSet<_> = lacking.collect();
    let unwanted = unwanted(records, objects);
    let names = unwanted.iter().map(|(uid, record)| (*uid, name(record)));
    let names: BTreeMap<_, _> = names.collect();
    let is_lost = |key: &ObjectKey| lacking.contains(key) || unknown && !is_here(key);
    let lost = unwanted.into_iter().filter_map(|(uid, record)| {
        let key = name(record);
        is_lost(&key).then(|| (key, LostPod::recorded(uid, record)))
    });
    let lost: BTreeMap<_, _> = lost.collect();
    let kept = Kept {
        unknown,
        uids: lost.values().map(|lost| lost.uid).collect(),
        disowned: BTreeSet::new(),
        keys: lacking.into_iter().filter(|key| !lost.contains_key(*key)).cloned().collect(),
        names,
    };
    (lost, kept)
}

/// Records of no life that an object is for. They are dropped once nothing of it is left.
fn unwanted<'a>(records: &'a BTreeMap<Uid, Record>, objects: &[Loaded]) -> Vec<(Uid, &'a Record)> {
    let lives = objects.iter().flat_map(|o| std::iter::once(&o.current).chain(&o.previous));
    let wanted: BTreeSet<Uid> = lives.map(|life| life.pod.name.uid).collect();
    let unwanted = records.iter().filter(|(uid, _)| !wanted.contains(uid));
    unwanted.map(|(uid, record)| (*uid, record)).collect()
}

fn name(record: &Record) -> ObjectKey {
    let (namespace, name) = (record.namespace.clone(), record.name.clone());
    ObjectKey { kind: Kind::Pod, namespace, name }
}
