//! Whatever bytes arrive: no panic, and never more memory than their number accounts for.
//!
//! The allocator of this test counts what each thread holds, so that a length that was made up
//! shows as memory.

// A global allocator cannot be written without it; each call is passed on as it came.
#![allow(unsafe_code)]

mod strategies;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use mote_protocol::command::{Command, Reply};
use mote_protocol::event::Event;
use mote_protocol::frame::{self, Body};
use mote_protocol::name::Kind;
use mote_protocol::node::{Birth, Heartbeat, NodeStatus, Usage, Will};
use mote_protocol::object::{ConfigMap, Object, Pod, Secret, Service, max_body};
use mote_protocol::status::{ObjectStatus, PodStatus};
use mote_protocol::stream::StreamFrame;
use mote_protocol::topic::Address;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn taken(size: usize) {
    let held = HELD.get().wrapping_add(size);
    HELD.set(held);
    // What another thread allocated and this one freed makes the number wrap: no peak.
    if held < isize::MAX as usize {
        PEAK.set(PEAK.get().max(held));
    }
}

fn given_back(size: usize) {
    HELD.set(HELD.get().wrapping_sub(size));
}

// SAFETY: every call goes to the system's allocator with the arguments it came with; counting
// touches nothing but this thread's cells, which are constant at first and need no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        given_back(layout.size());
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        taken(size);
        given_back(layout.size());
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `work` held at once beyond what was held before.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = HELD.get();
    PEAK.set(before);
    work();
    PEAK.get().saturating_sub(before)
}

/// Room that lists make before they are read, and what does not depend on the length.
const ROOM: usize = 1 << 20;

/// Memory of a value for each byte of its encoding: a container of which nothing is said is some
/// twenty bytes on the wire and a thousand in memory, and a list that grows holds the old and the
/// new room for a moment.
const PER_BYTE: usize = 64;

#[track_caller]
fn bounded(what: &str, len: usize, work: impl FnOnce()) -> usize {
    let peak = peak_of(work);
    let bound = ROOM + PER_BYTE * len;
    assert!(peak <= bound, "{what}: {len} bytes made {peak} bytes of memory, more than {bound}");
    peak
}

/// Every reader that takes bytes from the network.
fn read_all(bytes: &[u8]) {
    fn read<B: Body>(bytes: &[u8]) {
        let _ = frame::decode_signed::<B>(bytes);
        let mut framed = vec![frame::VERSION << 4, B::KIND as u8, B::SCHEMA];
        framed.extend(bytes);
        let _ = frame::decode_signed::<B>(&framed);
    }
    let _ = frame::kind(bytes);
    read::<Object>(bytes);
    read::<PodStatus>(bytes);
    read::<ObjectStatus>(bytes);
    read::<NodeStatus>(bytes);
    read::<Birth>(bytes);
    read::<Will>(bytes);
    read::<Heartbeat>(bytes);
    read::<Event>(bytes);
    read::<Usage>(bytes);
    read::<Command>(bytes);
    read::<Reply>(bytes);
    read::<StreamFrame>(bytes);
    let _ = Pod::decode(1, bytes);
    let _ = ConfigMap::decode(1, bytes);
    let _ = Secret::decode(1, bytes);
    let _ = Service::decode(1, bytes).map(|service| service.faults());
    let _ = std::str::from_utf8(bytes).map(Address::parse);
}

/// Some change to good bytes.
#[derive(Clone, Debug)]
enum Damage {
    Cut(Index),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let length = prop_oneof![
        vec(any::<u8>(), 1..4),
        // Varints of lengths that nobody has.
        Just(vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
        Just(vec![0xff; 9]),
    ];
    prop_oneof![
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), 1..=255_u8).prop_map(|(place, bits)| Damage::Flip(place, bits)),
        (any::<Index>(), length).prop_map(|(place, bytes)| Damage::Insert(place, bytes)),
        any::<Index>().prop_map(Damage::Remove),
    ]
}

fn damaged(mut bytes: Vec<u8>, all: &[Damage]) -> Vec<u8> {
    for one in all {
        if bytes.is_empty() {
            break;
        }
        match one {
            Damage::Cut(place) => bytes.truncate(place.index(bytes.len())),
            Damage::Flip(place, bits) => {
                let place = place.index(bytes.len());
                bytes[place] ^= bits;
            }
            Damage::Insert(place, new) => {
                let place = place.index(bytes.len());
                bytes.splice(place..place, new.iter().copied());
            }
            Damage::Remove(place) => {
                bytes.remove(place.index(bytes.len()));
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..600)) {
        bounded("random bytes", bytes.len(), || read_all(&bytes));
    }

    #[test]
    fn a_pod_that_was_damaged(pod in strategies::whole_pod(), damage in vec(damage(), 1..4)) {
        let bytes = postcard::to_allocvec(&pod).expect("encodes");
        let bytes = damaged(bytes, &damage);
        bounded("a damaged pod", bytes.len(), || drop(Pod::decode(1, &bytes)));
    }

    #[test]
    fn an_object_that_was_damaged(object in strategies::object(), damage in vec(damage(), 1..4)) {
        let bytes = damaged(frame::encode(&object).expect("encodes"), &damage);
        bounded("a damaged object", bytes.len(), || drop(frame::decode::<Object>(&bytes)));
    }

    #[test]
    fn a_status_that_was_damaged(status in strategies::pod_status(), damage in vec(damage(), 1..4)) {
        let bytes = damaged(frame::encode(&status).expect("encodes"), &damage);
        bounded("a damaged status", bytes.len(), || drop(frame::decode::<PodStatus>(&bytes)));
    }

    #[test]
    fn a_birth_that_was_damaged(birth in strategies::birth(), damage in vec(damage(), 1..4)) {
        let bytes = damaged(frame::encode(&birth).expect("encodes"), &damage);
        bounded("a damaged birth", bytes.len(), || drop(frame::decode::<Birth>(&bytes)));
    }

    #[test]
    fn a_reply_that_was_damaged(reply in strategies::reply(), damage in vec(damage(), 1..4)) {
        let bytes = damaged(frame::encode(&reply).expect("encodes"), &damage);
        bounded("a damaged reply", bytes.len(), || drop(frame::decode::<Reply>(&bytes)));
    }
}

/// postcard's notation of a length.
fn varint(number: usize) -> Vec<u8> {
    postcard::to_allocvec(&number).expect("a number")
}

/// A pod's body up to the list at some depth, which then claims `claimed` items and is filled up
/// with zeros: the densest items there are.
fn dense(head: &[u8], claimed: usize) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.extend(varint(claimed));
    bytes.resize(max_body(Kind::Pod), 0);
    bytes
}

#[test]
fn lists_as_dense_and_as_long_as_they_can_be() {
    let meta = [0; 4];
    let containers = |rest: &[u8]| [&meta[..], rest].concat();
    // One container: name, image, no pull policy; then its command.
    let command = containers(&[1, 0, 0, 0]);
    let owners = [0; 3];
    for (what, head) in [
        ("containers", containers(&[])),
        ("commands", command),
        ("owners", owners.to_vec()),
        ("volumes", containers(&[0, 0])),
        ("labels", Vec::new()),
    ] {
        for claimed in [1000, 100_000, 10_000_000, usize::MAX] {
            let bytes = dense(&head, claimed);
            let peak = bounded(what, bytes.len(), || drop(Pod::decode(1, &bytes)));
            println!("{what}, {claimed} claimed in {} KiB: {} KiB", bytes.len() >> 10, peak >> 10);
        }
    }
}

#[test]
fn a_short_frame_cannot_claim_a_long_body() {
    // Revision, no uid, apply, schema 1, and a body of as many bytes as there are addresses.
    let head = [frame::VERSION << 4, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let bytes = [&head[..], &varint(usize::MAX)].concat();
    let peak = bounded("an object", bytes.len(), || {
        assert!(frame::decode::<Object>(&bytes).is_err());
    });
    println!("{} bytes of object: {} KiB", bytes.len(), peak >> 10);
}
