//! Pods whose object was lost to damage: what is known of them, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};

use mote_protocol::name::{Kind, ObjectKey, Uid};
use mote_protocol::object::Revision;

use super::source::Source;
use super::{Kept, Loaded, REVISION, SCOPE};
use crate::pod::machine::Record;
use crate::runtime::Origin;

/// What is known of a pod whose object is lost.
#[derive(Clone, Debug)]
pub(super) struct LostPod {
    pub(super) uid: Uid,
    /// Whom the object was said to.
    pub(super) scope: Option<Source>,
    /// A revision of it that was accepted: there may have been later ones.
    pub(super) revision: Option<Revision>,
    /// Names of its containers, in the order of the spec, init containers first.
    pub(super) containers: Vec<String>,
}

impl LostPod {
    /// One that runs.
    pub(super) fn running(uid: Uid, origin: Origin) -> Self {
        Self { uid, scope: None, revision: None, containers: origin.containers }
    }

    fn recorded(uid: Uid, record: &Record) -> Self {
        let told = record.extensions.get(SCOPE).and_then(|told| std::str::from_utf8(told).ok());
        let scope = told.and_then(|told| Source::parse(told).ok());
        let revision = record.extensions.read(REVISION);
        let containers = record.slots.iter().map(|slot| slot.name.clone()).collect();
        Self { uid, scope, revision, containers }
    }

    /// The same, where its object was said to this scope.
    pub(super) fn revision_in(&self, scope: &Source) -> Option<Revision> {
        self.revision.filter(|_| self.scope.as_ref() == Some(scope))
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
    let mut unwanted = unwanted(records, objects);
    // Of several under one name the last here is the one that was lost.
    unwanted.sort_by_key(|(_, record)| rank(record));
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

/// Which of the pods of one name is its life: one that is over may be remembered beside the one that runs
/// now, which began later.
fn rank(record: &Record) -> (bool, i64) {
    let is_over = record.verdict.is_some() || record.evicted.is_some();
    (!is_over, record.boot.epoch_ms.saturating_add(record.accepted_ms))
}

fn name(record: &Record) -> ObjectKey {
    let (namespace, name) = (record.namespace.clone(), record.name.clone());
    ObjectKey { kind: Kind::Pod, namespace, name }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::pod::machine::Machine;
    use crate::pod::tests::{container, pod_from, wire_pod};
    use crate::pod::{Boot, Moment};

    #[test]
    fn of_several_pods_of_a_lost_object_the_one_that_is_not_over_goes_on() {
        let machine = Machine::new(Rc::new(pod_from(&wire_pod(vec![container("a")]))), Moment(0));
        let record = |epoch_ms, evicted: Option<&str>| Record {
            evicted: evicted.map(str::to_owned),
            ..machine.record(Boot { epoch_ms, ..Boot::default() })
        };
        let key = name(&record(0, None));
        for (records, expected) in [
            ([record(1, None), record(2, Some("DiskPressure"))], 1),
            ([record(2, Some("DiskPressure")), record(1, None)], 2),
            ([record(1, None), record(2, None)], 2),
            ([record(2, None), record(1, None)], 1),
        ] {
            let records = [Uid([1; 16]), Uid([2; 16])].into_iter().zip(records).collect();
            let damaged = [key.clone()].into_iter().collect();
            let (lost, kept) = found(&damaged, false, |_| false, &[], &records);
            let expected = Uid([expected; 16]);
            assert_eq!(lost[&key].uid, expected);
            assert_eq!(kept.uids.into_iter().collect::<Vec<_>>(), [expected]);
            assert_eq!(kept.names.len(), 2, "that the other is over is remembered");
        }
    }
}
