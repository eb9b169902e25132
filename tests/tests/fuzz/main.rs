//! Spoiled bytes for everything that reads foreign ones.
//!
//! | test | reads | must hold beside not panicking |
//! |---|---|---|
//! | `frames` | every kind of frame | what decodes encodes to a frame that decodes to the same |
//! | `objects` | the body of a pod | the same |
//! | `topics` | MQTT topics | what parses is written back as it was |
//! | `configuration` | the agent's TOML | what is refused is refused with at least one problem |
//! | `pause_requests`, `pause_replies` | the wire between agent and pause | |
//! | `references` | image references | |
//! | `manifests` | indexes, manifests, configurations | |
//! | `manifests_of_operators` | YAML and JSON given to `mote` | what is read can be sent and read again |
//! | `layers` | tar archives, unpacked to disk | nothing appears beside the layer's directory |
//!
//! Stable Rust has no coverage-guided fuzzer, so this one only mutates: seeds of its own making and
//! those under `corpus/`, from a fixed seed. A failure prints the input; put it into
//! `corpus/TARGET/` and it is tried first for ever. `MOTE_FUZZ_SEED` repeats or varies a run,
//! `MOTE_LONG` makes it fifty times as long. Memory is bounded per input: what a decoder holds at
//! any time must stay within a multiple of what it was given.

mod drive;
mod mutate;
mod operators;
mod targets;

use mote_tests::allocations::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
