//! Spoiled bytes for everything that reads foreign ones.
//!
//! | test | reads | must hold beside not panicking |
//! |---|---|---|
//! | `frames` | every kind of frame | what decodes encodes to a frame that decodes to the same |
//! | `objects`, `config_maps`, `secrets` | bodies of objects | the same |
//! | `topics` | MQTT topics | what parses is written back as it was |
//! | `configuration` | the agent's TOML | what is refused is refused with at least one problem |
//! | `boot_texts` | `mote.txt` of a boot partition | what is made of it the agent takes |
//! | `pause_requests`, `pause_replies`, `pause_records` | the wire between agent and pause | as frames |
//! | `references`, `digests` | image references | nothing leads out |
//! | `manifests` | indexes, manifests, configurations | |
//! | `challenges`, `tokens`, `refusals`, `redirects` | answers of registries | what is shown is short and plain |
//! | `credentials` | docker's `config.json` and `.dockercfg` | |
//! | `image_archives` | OCI layouts and docker archives, as tar | |
//! | `image_indexes`, `docker_archives` | `index.json`, `manifest.json`, configurations | |
//! | `layers` | tar archives, unpacked to disk | nothing appears beside the layer's directory |
//! | `tar_headers`, `pax_headers` | tar archives, read alone | |
//! | `packed_layers` | gzip and zstd | |
//! | `layer_lists`, `image_records` | what the store of images wrote down | |
//! | `pull_frames`, `helper_reports` | what child processes say | |
//! | `pod_files`, `settings_files`, `other_files` | flash | what is read is written again |
//! | `ctl_questions`, `ctl_answers` | the local socket | as frames |
//! | `grpc_answers`, `header_lists`, `probe_redirects` | answers to probes | |
//! | `seccomp_profiles` | profiles, compiled | no program is longer than the kernel takes |
//! | `logs`, `messages` | what containers wrote | no more is shown than was asked for |
//! | `accounts` | `/etc/passwd` and `/etc/group` of images | |
//! | `mounts`, `processes`, `profiles` | what the kernel says of foreign names | |
//! | `name_questions`, `name_answers` | what pods ask the resolver, and what others answer it | what is passed on fits, and bears the asker's number |
//! | `manifests_of_operators` | YAML and JSON given to `mote` | what is read can be sent and read again |
//!
//! Stable Rust has no coverage-guided fuzzer, so this one only mutates what is under `corpus/`, from a
//! fixed seed; where bytes have lengths and sums, these are made right again most of the time. Each
//! input of the corpus is also tried as it is. A failure prints the input; put it into
//! `corpus/TARGET/` and it is tried first for ever. The rest of the corpus is what the targets make
//! themselves, with the encoders of the code and by hand: `MOTE_CORPUS=write` writes it again.
//! `MOTE_FUZZ_SEED` repeats or varies a run, `MOTE_LONG` makes it fifty times as long.
//!
//! Memory and processor time are bounded per input: what a decoder holds at any time must stay within
//! a multiple of what it was given, and what takes long for some kilobytes grows too fast.

mod drive;
mod images;
mod mutate;
mod node;
mod operators;
mod pause;
mod processes;
mod protocol;
mod registry;
mod resolver;
mod samples;
mod store;
mod unpacking;

use mote_tests::allocations::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A file system in memory, where the machine has one: some inputs are files.
fn memory() -> &'static std::path::Path {
    let shared = std::path::Path::new("/dev/shm");
    if shared.is_dir() { shared } else { std::path::Path::new("/tmp") }
}

/// A directory that is gone with the test.
fn place() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("mote-fuzz-").tempdir_in(memory()).expect("a directory")
}
