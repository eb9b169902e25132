//! Files of the store, without a card.

use mote_protocol::extension::{Extension, Extensions};
use mote_protocol::frame;
use mote_protocol::name::{Kind, Namespace, ObjectKey, ObjectName, Uid};
use mote_protocol::object::{ConfigMap, Intent, Object, Pod, Revision, Secret};
use mote_protocol::rollout::{ROLLBACK_AFTER, UPDATE_LOCK, UPDATE_WINDOW};
use mote_protocol::status::Phase;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::delayed::StoredDelay;
use super::device::{DeviceKey, KEY_LEN};
use super::ledger::Ledger;
use super::opening::{load, load_data};
use super::rollout::{Rejected, StoredTrial};
use super::seal::{seal, unseal};
use super::source::Source;
use super::stored::{Ending, Stored, StoredLife};
use super::{data, spec_file};
use crate::pod::Boot;
use crate::pod::machine::{Record, SlotRecord};
use crate::pod::validate::NodePolicy;
use crate::ports::Random;
use crate::rollout::Count;

/// Files are the same each time they are made.
struct Same;

impl Random for Same {
    fn next(&self) -> u64 {
        7
    }
}

const BOARD: &[u8] = b"board";

fn key(kind: Kind) -> ObjectKey {
    let namespace = Namespace::new("default").expect("a namespace");
    ObjectKey { kind, namespace, name: ObjectName::new("web").expect("a name") }
}

fn device() -> DeviceKey {
    DeviceKey::new(&[7; KEY_LEN], BOARD).expect("a key")
}

/// Reads a pod's file as the store does when it opens.
pub fn pod(file: &[u8]) -> bool {
    let Ok(stored) = unseal::<Stored>(file) else { return false };
    rewrite(&stored);
    load(&key(Kind::Pod), &stored, &NodePolicy::default()).is_ok()
}

/// Reads the file of a `ConfigMap` or Secret when the store opens, and when a pod wants it.
pub fn settings(file: &[u8], secret: bool) -> bool {
    let key = key(if secret { Kind::Secret } else { Kind::ConfigMap });
    let Ok(stored) = unseal::<Stored>(file) else { return false };
    let device = device();
    let _ = load_data(&key, &stored, Some(&device));
    let object = data::object(&key, &stored.current, Some(&device));
    object.is_ok_and(|object| settings_of(secret, &object.intent))
}

/// Checks what a `ConfigMap` or Secret that arrived asks for.
pub fn settings_of(secret: bool, intent: &Intent) -> bool {
    data::check(if secret { Kind::Secret } else { Kind::ConfigMap }, intent).is_ok()
}

/// Reads a file that holds something else.
pub fn other(file: &[u8]) -> bool {
    fn is<T: DeserializeOwned + Serialize>(file: &[u8]) -> bool {
        unseal::<T>(file).is_ok_and(|content| {
            rewrite(&content);
            true
        })
    }
    let key =
        unseal::<[u8; KEY_LEN]>(file).is_ok_and(|file| DeviceKey::new(&file, BOARD).is_some());
    is::<Record>(file) | is::<Ledger>(file) | is::<u32>(file) | key
}

fn rewrite(content: &impl Serialize) {
    seal(content).expect("what was read is written");
}

/// Seals spoiled content again, so that it is looked at.
pub fn reseal(file: &mut [u8]) {
    if let Some((head, content)) = file.split_at_mut_checked(13) {
        head.copy_from_slice(&super::seal::head(content));
    }
}

/// A file as a newer agent may have written it: with something beside what this one knows, which may be
/// passed over. None for files that cannot have that, and for damaged ones.
pub fn of_newer_agent(name: &str, file: &[u8]) -> Option<Vec<u8>> {
    fn with<T: DeserializeOwned + Serialize>(
        file: &[u8],
        extensions: impl FnOnce(&mut T) -> &mut Extensions,
    ) -> Option<Vec<u8>> {
        let mut content = unseal::<T>(file).ok()?;
        let extension = Extension { name: "newer".into(), critical: false, value: vec![1] };
        extensions(&mut content).0.push(extension);
        Some(sealed(&content))
    }
    match name.split('/').next()? {
        "spec" => with::<Stored>(file, |stored| &mut stored.extensions),
        "record" => with::<Record>(file, |record| &mut record.extensions),
        "ledger" | "ledger-copy" => with::<Ledger>(file, Ledger::extensions),
        _ => None,
    }
}

fn sealed(content: &impl Serialize) -> Vec<u8> {
    seal(content).expect("sealed")
}

fn life(frame: Vec<u8>, ending: Option<Ending>) -> StoredLife {
    let uid = Uid::from_random([1; 16]);
    StoredLife { uid, accepted_unix_ms: 7, scope: "@all".into(), frame, ending }
}

fn framed(intent: Intent) -> Vec<u8> {
    let revision = Revision { number: 9, ..Revision::default() };
    let object = Object { revision, uid: None, intent, extensions: Extensions::default() };
    frame::encode(&object).expect("encodes")
}

/// Files of pods that are right: one that runs, one that ends before another, and one with changes that
/// wait, are on trial, and were taken back.
pub fn pods(pod: &Pod) -> [Vec<u8>; 3] {
    let frame = framed(pod.to_intent().expect("encodes"));
    let ending = Ending { revision: Revision::default(), grace_s: 30 };
    let plain = Stored::new(life(frame.clone(), None), None);
    let two = Stored::new(life(frame.clone(), None), Some(life(frame.clone(), Some(ending))));
    let mut asked = pod.clone();
    asked.meta.annotations.insert(UPDATE_LOCK.into(), "printing".into());
    asked.meta.annotations.insert(UPDATE_WINDOW.into(), "Mon-Fri 02:00-04:00".into());
    asked.meta.annotations.insert(ROLLBACK_AFTER.into(), "2m".into());
    let change = framed(asked.to_intent().expect("encodes"));
    let mut changed = Stored::new(life(change.clone(), None), None);
    let count = Count::default();
    changed.set_trial(Some(&StoredTrial { frame, replaced: true, count }));
    let (scope, asked_unix_ms) = ("n1".into(), Some(7));
    changed.set_delay(Some(&StoredDelay { scope, frame: change, asked_unix_ms, count }));
    changed.set_rejected(Some(&Rejected { revision: Revision::default(), why: "why".into() }));
    [sealed(&plain), sealed(&two), sealed(&changed)]
}

/// Files of a `ConfigMap` and a Secret that are right.
pub fn data_files(map: &ConfigMap, secret: &Secret) -> [Vec<u8>; 2] {
    let file = |frame| sealed(&Stored::new(life(frame, None), None));
    let hidden = framed(secret.to_intent().expect("encodes"));
    let hidden = device().seal(&spec_file(&key(Kind::Secret)), &hidden, &Same);
    [file(framed(map.to_intent().expect("encodes"))), file(hidden.expect("sealed"))]
}

/// Others that are right.
pub fn others() -> Vec<Vec<u8>> {
    let ObjectKey { namespace, name, .. } = key(Kind::Pod);
    let slot = SlotRecord {
        name: "web".into(),
        attempts: 3,
        image: Some([7; 32]),
        rollback: None,
        ended: None,
        last: None,
        crash: None,
    };
    let record = Record {
        namespace,
        name,
        boot: Boot::default(),
        accepted_ms: 12,
        begun: true,
        peak: Phase::Running,
        evicted: Some("disk".into()),
        verdict: Some((Phase::Failed, Some(("Evicted".into(), "disk".into())))),
        slots: vec![slot.clone(), slot],
        volume_images: vec![None, Some([8; 32])],
        extensions: Extensions::default(),
    };
    let mut ledger = Ledger::default();
    for number in 0..3 {
        let scope = Source::parse(&format!("n{number}")).expect("a scope");
        ledger.remember(&scope, &key(Kind::Pod), Revision { number, ..Revision::default() });
    }
    vec![sealed(&record), sealed(&ledger), sealed(&7_u32), sealed(&[7_u8; KEY_LEN])]
}
