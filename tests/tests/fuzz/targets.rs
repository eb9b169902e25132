//! The decoders, and seeds for each.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;

use mote_agent::config::Config;
use mote_agent::image::unpack::{Limits, Sums, unpack};
use mote_pause::wire::{Reply, Request};
use mote_protocol::command::{Answer, Command, Reply as CommandReply};
use mote_protocol::event::Event;
use mote_protocol::extension::{Extension, Extensions};
use mote_protocol::frame::{self, Body};
use mote_protocol::node::{Birth, Heartbeat, NodeStatus, Usage, Will};
use mote_protocol::object::{Intent, Meta, Object, Pod, Revision};
use mote_protocol::pod::{Container, EnvValue, EnvVar, PodSpec};
use mote_protocol::status::{ConditionCause, ContainerStatus, ObjectStatus, PodStatus};
use mote_protocol::stream::StreamFrame;
use mote_protocol::topic::Address;
use mote_registry::manifest::{Configuration, Document, Index, Manifest};
use mote_registry::platform::Platform;
use mote_registry::reference::Reference;
use mote_tests::image::{Builder, Layer};
use serde::Serialize;

use crate::drive::Target;

/// `postcard` reserves up to 1 MiB per list before it has read an element, and lists nest.
const LISTS: u64 = 6 * 1024 * 1024;

#[test]
fn frames() {
    let target = Target {
        name: "frames",
        seeds: frame_seeds(),
        inputs: 150_000,
        longest: 20_000,
        factor: 64,
        free: LISTS,
    };
    target.run(|bytes| {
        round_trip::<Object>(bytes);
        round_trip::<PodStatus>(bytes);
        round_trip::<ObjectStatus>(bytes);
        round_trip::<NodeStatus>(bytes);
        round_trip::<Birth>(bytes);
        round_trip::<Will>(bytes);
        round_trip::<Heartbeat>(bytes);
        round_trip::<Event>(bytes);
        round_trip::<Usage>(bytes);
        round_trip::<Command>(bytes);
        round_trip::<CommandReply>(bytes);
        round_trip::<StreamFrame>(bytes);
    });
}

fn round_trip<B: Body + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok((body, signature)) = frame::decode_signed::<B>(bytes) else { return };
    let again = frame::encode(&body).expect("what was decoded is within its bounds");
    assert_eq!(frame::decode::<B>(&again).expect("our own frame"), body);
    let _ = signature.map(|signature| signature.signed.len());
}

#[test]
fn objects() {
    let target = Target {
        name: "objects",
        seeds: vec![encoded(&Pod::default()), encoded(&pod())],
        inputs: 150_000,
        longest: 20_000,
        factor: 64,
        free: LISTS,
    };
    target.run(|bytes| {
        let Ok(pod) = Pod::decode(Pod::SCHEMA, bytes) else { return };
        let _ = pod.extensions.unknown(&[]).map(Iterator::count);
        let Ok(Intent::Apply { schema, body }) = pod.to_intent() else {
            panic!("a pod asks to be applied")
        };
        assert_eq!(Pod::decode(schema, &body), Ok(pod));
    });
}

#[test]
fn topics() {
    let texts = [
        "mote/v1/f/n/birth",
        "mote/v1/f/@all/spec/pod/default/web",
        "mote/v1/f/n/stream/x/in",
        "mote/v1/f/@blue/spec/configmap/kube-system/a.b",
        "mote/v1/f/n/status/node",
    ];
    let target = Target {
        name: "topics",
        seeds: texts.map(|text| text.as_bytes().to_vec()).into(),
        inputs: 300_000,
        longest: 2_000,
        factor: 16,
        free: 4096,
    };
    target.run(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(address) = Address::parse(text) {
            assert_eq!(address.to_string(), text);
        }
    });
}

#[test]
fn configuration() {
    let example = "node = \"n1\"\nfleet = \"f\"\ngroups = [\"a\"]\nstate_dir = \"/s\"\n\
        run_dir = \"/r\"\nheartbeat_s = 30\n[labels]\nzone = \"north\"\n[broker]\n\
        url = \"mqtts://localhost:8883\"\nca = \"/ca\"\n[[images.registry]]\nhost = \"h:5000\"\n\
        insecure = true\n[limits]\npods = 3\n";
    let target = Target {
        name: "configuration",
        seeds: vec![example.into(), b"fleet = \"f\"\n[broker]\nurl = \"mqtt://h\"\n".to_vec()],
        inputs: 30_000,
        longest: 4_000,
        factor: 512,
        free: 256 * 1024,
    };
    target.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Err(problems) = Config::parse(&text, "host", &|_| None) {
            assert!(!problems.is_empty(), "refused without a reason");
        }
    });
}

#[test]
fn pause_requests() {
    let seeds = (0..24).map(|kind| vec![1, kind, 7, 0, 1, 2, 3, 0, 0, 0, b'a', 0]).collect();
    wire("pause_requests", seeds, |bytes| {
        let Ok((id, request)) = Request::decode(bytes) else { return };
        let mut out = vec![0; bytes.len() + 64];
        let length = request.encode(id, &mut out).expect("what was decoded fits");
        assert_eq!(Request::decode(&out[..length]).expect("our own message"), (id, request));
    });
}

#[test]
fn pause_replies() {
    let seeds = (0..24).map(|kind| vec![1, kind, 7, 0, 1, 2, 3, 0, 0, 0, b'a', 0]).collect();
    wire("pause_replies", seeds, |bytes| {
        let Ok((id, reply)) = Reply::decode(bytes) else { return };
        let mut out = vec![0; bytes.len() + 64];
        let length = reply.encode(id, &mut out).expect("what was decoded fits");
        assert_eq!(Reply::decode(&out[..length]).expect("our own message"), (id, reply));
    });
}

/// Pause has no allocator: decoding must not need one. What is allowed is the check's own.
fn wire(name: &'static str, seeds: Vec<Vec<u8>>, decode: impl Fn(&[u8])) {
    let target = Target { name, seeds, inputs: 300_000, longest: 9_000, factor: 4, free: 4096 };
    target.run(decode);
}

#[test]
fn references() {
    let texts = ["busybox", "localhost:5000/a/b:1", "ghcr.io/a/b@sha256:aa", "[::1]:5000/x"];
    let target = Target {
        name: "references",
        seeds: texts.map(|text| text.as_bytes().to_vec()).into(),
        inputs: 200_000,
        longest: 1_000,
        factor: 16,
        free: 4096,
    };
    target.run(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(reference) = text.parse::<Reference>() {
            assert!(!reference.endpoint().contains('/'), "{text}");
            assert!(!reference.repository().split('/').any(|part| part == ".."), "{text}");
        }
    });
}

#[test]
fn manifests() {
    let image = small_image();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":7,"platform":{{"architecture":"arm","os":"linux","variant":"v7"}}}}]}}"#,
        image.manifest().digest
    );
    let config = image.blobs().last().expect("a configuration").bytes.clone();
    let manifest = Manifest::parse(&image.manifest().bytes).expect("a good manifest");
    let target = Target {
        name: "manifests",
        seeds: vec![image.manifest().bytes.clone(), index.into(), config],
        inputs: 100_000,
        longest: 20_000,
        factor: 256,
        free: 64 * 1024,
    };
    target.run(|bytes| {
        let _ = Manifest::parse(bytes);
        let _ = Configuration::parse(bytes, &manifest).map(|found| found.check(&Platform::host()));
        if let Ok(Document::Index(index)) = Document::parse(bytes, "") {
            let _ = Index::select(&index, &Platform::host());
        }
    });
}

#[test]
fn layers() {
    let place = tempfile::Builder::new().prefix("mote-fuzz-").tempdir_in(memory()).expect("place");
    let limits = Limits { entries: 2_000, bytes: 8 << 20, headers: 16 << 10, ..Limits::default() };
    let target = Target {
        name: "layers",
        seeds: layer_seeds(),
        inputs: 15_000,
        longest: 16 * 1024,
        factor: 64,
        free: 1024 * 1024,
    };
    target.run(|bytes| {
        let root = place.path().join("root");
        fs::create_dir(&root).expect("created");
        let opened: OwnedFd = File::open(&root).expect("opened").into();
        if let Ok((unpacked, _)) = unpack(bytes, opened, &limits, (&[], &mut Sums::default())) {
            assert!(unpacked.bytes <= limits.bytes);
        }
        fs::remove_dir_all(&root).expect("removed");
        let beside = fs::read_dir(place.path()).expect("readable").count();
        assert_eq!(beside, 0, "something appeared beside the layer's directory");
    });
}

/// Memory, where the machine has a file system in it: every input makes and removes a tree.
fn memory() -> &'static Path {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared } else { Path::new("/tmp") }
}

fn layer_seeds() -> Vec<Vec<u8>> {
    let layers = [
        Layer::default().root().file("etc/x", 0o644, b"content").symlink("bin/sh", "busybox"),
        Layer::default().symlink("out", "../..").file("out/x", 0o644, b"x"),
        Layer::default().file("a", 0o4755, b"a").hard_link("b", "a").file(".wh.c", 0, b""),
        Layer::default().directory("d", 0o755).file("d/.wh..wh..opq", 0, b""),
        Layer::default().file("../../etc/x", 0o644, b"x").file("/etc/y", 0o644, b"y"),
    ];
    layers.iter().map(|layer| layer.to_tar().expect("an archive")).collect()
}

fn small_image() -> mote_tests::image::Image {
    let layer = Layer::default().root().file("bin/x", 0o755, b"x");
    let builder = Builder::default().layer(layer).entrypoint(&["/bin/x"]).env("A", "b").user("1:2");
    builder.build().expect("an image")
}

fn frame_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        framed(&Object {
            revision: Revision { number: 1_700_000_000_000, ..Revision::default() },
            uid: None,
            intent: pod().to_intent().expect("encodes"),
            extensions: extensions(),
        }),
        framed(&status()),
        framed(&ObjectStatus::default()),
        framed(&NodeStatus::default()),
        framed(&Birth { labels: labels(), ..Birth::default() }),
        framed(&Will::default()),
        framed(&Heartbeat::default()),
        framed(&Event { message: "pulled".into(), ..Event::default() }),
        framed(&Usage::default()),
        framed(&CommandReply {
            part: 0,
            last: true,
            answer: Answer::Events(vec![Event::default(), Event::default()]),
            extensions: extensions(),
        }),
    ];
    let mut signed = framed(&Will::default());
    signed[0] |= 1;
    signed.extend([7; frame::SIGNATURE]);
    seeds.push(signed);
    seeds
}

fn framed(body: &impl Body) -> Vec<u8> {
    frame::encode(body).expect("encodes")
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("encodes")
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app".into(), "web".into()), ("zone".into(), "north".into())])
}

fn extensions() -> Extensions {
    Extensions(vec![Extension { name: "future".into(), critical: true, value: vec![1, 2, 3] }])
}

fn pod() -> Pod {
    let container = Container {
        name: "web".into(),
        image: "busybox".into(),
        command: vec!["sleep".into(), "1000".into()],
        env: vec![EnvVar { name: "A".into(), value: EnvValue::Literal("b".into()) }],
        ..Container::default()
    };
    let spec = PodSpec {
        init_containers: vec![container.clone()],
        containers: vec![container.clone(), Container { name: "other".into(), ..container }],
        node_selector: labels(),
        ..PodSpec::default()
    };
    Pod { meta: Meta { labels: labels(), ..Meta::default() }, spec, extensions: extensions() }
}

fn status() -> PodStatus {
    let mut status = PodStatus::default();
    let container = ContainerStatus { name: "web".into(), ..ContainerStatus::default() };
    status.containers.push(container).expect("room");
    let cause = ConditionCause {
        condition: "Ready".into(),
        reason: "ContainersNotReady".into(),
        message: "web".into(),
    };
    status.causes.push(cause).expect("room");
    status.addresses.push(std::net::Ipv4Addr::LOCALHOST.into()).expect("room");
    status
}
