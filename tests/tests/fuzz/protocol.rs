//! What the broker brings.

use std::fmt::Debug;

use mote_agent::fuzz::store::settings_of;
use mote_protocol::command::{Command, Reply};
use mote_protocol::event::Event;
use mote_protocol::frame::{self, Body};
use mote_protocol::node::{Birth, Heartbeat, NodeStatus, Usage, Will};
use mote_protocol::object::{BodyError, ConfigMap, Intent, Object, Pod, Revision, Secret};
use mote_protocol::status::{ObjectStatus, PodStatus};
use mote_protocol::stream::StreamFrame;
use mote_protocol::topic::Address;
use serde::Serialize;

use crate::drive::Target;
use crate::samples::{self, varint};

/// Bytes in memory for one of a pod's, without lists that are only claimed: a container of which
/// nothing is said is some twenty bytes on the wire and a thousand in memory.
const FACTOR: u64 = 64;

/// Most lists of a pod within each other: volumes, sources of one that is projected, their items.
const LISTS: u64 = 3;

#[test]
fn frames() {
    let target = Target {
        name: "frames",
        made: framed_samples(),
        inputs: 150_000,
        longest: 20_000,
        factor: FACTOR,
        free: 16 * 1024,
        lists: LISTS,
        ..Target::default()
    };
    target.run(|bytes| {
        let node = read::<NodeStatus>(bytes).is_some();
        let birth = read::<Birth>(bytes).map(|birth| birth.groups()).is_some();
        let pod = read::<PodStatus>(bytes).map(|status| status.unhealthy_devices()).is_some();
        let command = read::<Command>(bytes).is_some() | read::<StreamFrame>(bytes).is_some();
        let others = [
            read::<Object>(bytes).is_some(),
            read::<ObjectStatus>(bytes).is_some(),
            read::<Will>(bytes).is_some(),
            read::<Heartbeat>(bytes).is_some(),
            read::<Event>(bytes).is_some(),
            read::<Usage>(bytes).is_some_and(|usage| usage.metrics().is_some()),
            read::<Reply>(bytes).is_some(),
        ];
        node || birth || pod || command || others.contains(&true)
    });
}

/// Every seed is a frame of its kind: one that is none would test nothing.
#[test]
fn all_samples_of_frames_are_frames() {
    for (name, bytes) in framed_samples() {
        let good = [
            frame::decode::<Object>(&bytes).is_ok(),
            frame::decode::<PodStatus>(&bytes).is_ok(),
            frame::decode::<ObjectStatus>(&bytes).is_ok(),
            frame::decode::<NodeStatus>(&bytes).is_ok(),
            frame::decode::<Birth>(&bytes).is_ok(),
            frame::decode::<Will>(&bytes).is_ok(),
            frame::decode::<Heartbeat>(&bytes).is_ok(),
            frame::decode::<Event>(&bytes).is_ok(),
            frame::decode::<Usage>(&bytes).is_ok(),
            frame::decode::<Command>(&bytes).is_ok(),
            frame::decode::<Reply>(&bytes).is_ok(),
            frame::decode::<StreamFrame>(&bytes).is_ok(),
        ];
        assert_eq!(good.contains(&true), !name.starts_with("claims"), "{name}");
    }
}

fn read<B: Body + PartialEq + Debug>(bytes: &[u8]) -> Option<B> {
    let (body, signature) = frame::decode_signed::<B>(bytes).ok()?;
    let again = frame::encode(&body).expect("what was decoded is within its bounds");
    assert_eq!(frame::decode::<B>(&again).expect("our own frame"), body);
    assert!(signature.is_none_or(|signature| signature.signed.len() < bytes.len()));
    Some(body)
}

fn framed_samples() -> Vec<(&'static str, Vec<u8>)> {
    let object = |intent| Object {
        revision: Revision { number: 1_700_000_000_000, ..Revision::default() },
        uid: None,
        intent,
        extensions: samples::extensions(),
    };
    let applied = object(samples::pod().to_intent().expect("encodes"));
    let deleted = object(Intent::Delete { grace_s: Some(5) });
    let mut signed = framed(&Will::default());
    signed[0] |= 1;
    signed.extend([7; frame::SIGNATURE]);
    let mut made = vec![
        ("object", framed(&applied)),
        ("tombstone", framed(&deleted)),
        ("pod-status", framed(&samples::status())),
        ("object-status", framed(&ObjectStatus::default())),
        ("node-status", framed(&NodeStatus::default())),
        ("birth", framed(&samples::birth())),
        ("will", framed(&Will::default())),
        ("will-signed", signed),
        ("heartbeat", framed(&Heartbeat::default())),
        ("event", framed(&Event { message: "pulled".into(), ..Event::default() })),
        ("usage", framed(&samples::usage())),
    ];
    let with = |name, frame| (name, frame);
    made.extend(samples::commands().iter().map(|(name, body)| with(*name, framed(body))));
    made.extend(samples::replies().iter().map(|(name, body)| with(*name, framed(body))));
    made.extend(samples::streams().iter().map(|(name, body)| with(*name, framed(body))));
    // A reply with as many events as there are addresses, and one with as many as there are bytes.
    let head = [frame::VERSION << 4, 10, 1, 0, 1, 1];
    made.push(("claims-all-events", [&head[..], &varint(usize::MAX)].concat()));
    made.push(("claims-many-events", [&head[..], &varint(2000), &[0; 2000]].concat()));
    made
}

fn framed(body: &impl Body) -> Vec<u8> {
    frame::encode(body).expect("encodes")
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("encodes")
}

#[test]
fn objects() {
    // Labels, annotations, time, owners; init containers; then as many containers as there are bytes.
    let dense =
        |head: &[u8], claimed: usize, len: usize| [head, &varint(claimed), &vec![0; len]].concat();
    // The first of many has no name, no image, no policy, and a command of as many words.
    let nested = [&[0; 4][..], &varint(4000), &[0; 3]].concat();
    let target = Target {
        name: "objects",
        made: vec![
            ("empty", encoded(&Pod::default())),
            ("pod", encoded(&samples::pod())),
            ("claims-containers", dense(&[0; 5], 4000, 4000)),
            ("claims-all-containers", dense(&[0; 5], usize::MAX, 10)),
            ("claims-owners", dense(&[0; 3], 3000, 3000)),
            ("claims-containers-and-commands", dense(&nested, 3000, 3000)),
        ],
        large: vec![
            ("containers", dense(&[0; 5], 100_000, 128 * 1024 - 20)),
            ("containers-and-commands", dense(&nested, 90_000, 128 * 1024 - 20)),
            ("labels", dense(&[], 60_000, 128 * 1024 - 20)),
            ("too-long", dense(&[0; 5], 100_000, 256 * 1024)),
        ],
        inputs: 150_000,
        longest: 20_000,
        factor: FACTOR,
        free: 16 * 1024,
        lists: LISTS,
        ..Target::default()
    };
    target.run(|bytes| {
        let decoded = Pod::decode(Pod::SCHEMA, bytes);
        if let Ok(pod) = &decoded {
            let _ = pod.extensions.unknown(&[]).map(Iterator::count);
        }
        again(decoded, Pod::to_intent, Pod::decode).is_some()
    });
}

#[test]
fn config_maps() {
    // No labels, annotations, owners; then as many keys as there are bytes.
    let keys = |count: usize| [&[0; 4][..], &varint(count), &vec![0; 2 * count + 3]].concat();
    let target = Target {
        name: "config_maps",
        made: vec![
            ("empty", encoded(&ConfigMap::default())),
            ("both-kinds-of-data", encoded(&samples::config_map())),
            ("one-key-many-times", keys(500)),
            ("claims-all-keys", [&[0; 4][..], &varint(usize::MAX), b"\x01a\x01b"].concat()),
        ],
        large: vec![("a-million-keys", keys(500_000))],
        ..settings()
    };
    target.run(|bytes| {
        let intent = again(ConfigMap::decode(1, bytes), ConfigMap::to_intent, ConfigMap::decode);
        intent.is_some_and(|intent| settings_of(false, &intent))
    });
}

#[test]
fn secrets() {
    let target = Target {
        name: "secrets",
        made: vec![
            ("empty", encoded(&Secret::default())),
            ("tls", encoded(&samples::secret())),
            ("claims-all-keys", [&[0; 5][..], &varint(usize::MAX), b"\x01a\x01b"].concat()),
        ],
        ..settings()
    };
    target.run(|bytes| {
        let intent = again(Secret::decode(1, bytes), Secret::to_intent, Secret::decode);
        intent.is_some_and(|intent| settings_of(true, &intent))
    });
}

/// Data is read entry by entry; only labels and owners are lists that make room.
fn settings() -> Target {
    Target {
        inputs: 60_000,
        longest: 8_000,
        factor: 64,
        free: 16 * 1024,
        lists: 1,
        ..Target::default()
    }
}

/// Writes what was decoded again, and reads that.
fn again<T: PartialEq + Debug>(
    decoded: Result<T, BodyError>,
    write: fn(&T) -> Result<Intent, postcard::Error>,
    read: fn(u8, &[u8]) -> Result<T, BodyError>,
) -> Option<Intent> {
    let content = decoded.ok()?;
    let intent = write(&content).expect("what was decoded encodes");
    let Intent::Apply { schema, body } = &intent else { panic!("it asks to be applied") };
    assert_eq!(read(*schema, body), Ok(content));
    Some(intent)
}

#[test]
fn topics() {
    let text = |text: &str| text.as_bytes().to_vec();
    let target = Target {
        name: "topics",
        made: vec![
            ("birth", text("mote/v1/f/n/birth")),
            ("pod", text("mote/v1/f/@all/spec/pod/default/web")),
            ("stream", text("mote/v1/f/n/stream/x/in")),
            ("config-map", text("mote/v1/f/@blue/spec/configmap/kube-system/a.b")),
            ("status", text("mote/v1/f/n/status/node")),
            ("command", text("mote/v1/f/n/command/abc")),
            ("levels", text(&"/".repeat(900))),
            ("wildcards", text("mote/v1/+/#/spec/pod/../web")),
        ],
        inputs: 150_000,
        longest: 2_000,
        ..Target::default()
    };
    target.run(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let Ok(address) = Address::parse(text) else { return false };
        assert_eq!(address.to_string(), text);
        true
    });
}
