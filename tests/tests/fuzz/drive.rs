//! Feeds one decoder: its corpus as it is, then spoiled seeds, watching for panics and memory.

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mote_tests::allocations::count;

use crate::mutate::{Random, spoil};

/// What all runs start from unless told otherwise.
const SEED: u64 = 0x6d6f_7465;

/// How one decoder is fed.
pub(crate) struct Target {
    /// Its folder below `corpus/`.
    pub(crate) name: &'static str,
    /// Inputs that are right, or nearly.
    pub(crate) seeds: Vec<Vec<u8>>,
    /// How many inputs are tried.
    pub(crate) inputs: u64,
    /// Longest of them.
    pub(crate) longest: usize,
    /// Bytes that the decoder may hold for each byte it is given.
    pub(crate) factor: u64,
    /// Bytes that it may hold whatever it is given.
    pub(crate) free: u64,
}

/// Time for one decoder: nine of them, on two cores, within the three minutes of their group.
const TIME: Duration = Duration::from_secs(20);

impl Target {
    /// Feeds the decoder until its inputs, or the time, are used up.
    pub(crate) fn run(mut self, decode: impl Fn(&[u8])) {
        let corpus = corpus(self.name);
        for bytes in &corpus {
            self.try_one(bytes, &decode, "corpus");
        }
        self.seeds.extend(corpus);
        let long = if env::var_os("MOTE_LONG").is_some() { 50 } else { 1 };
        let seed = env::var("MOTE_FUZZ_SEED").ok().and_then(|text| text.parse().ok());
        let mut random = Random::new(seed.unwrap_or(SEED));
        let end = Instant::now() + TIME * long;
        let mut tried = 0;
        while tried < self.inputs * u64::from(long) && Instant::now() < end {
            let bytes = spoil(&self.seeds, &mut random, self.longest);
            self.try_one(&bytes, &decode, "spoiled");
            tried += 1;
        }
        println!("{}: {tried} spoiled inputs", self.name);
    }

    fn try_one(&self, bytes: &[u8], decode: &impl Fn(&[u8]), origin: &str) {
        let (outcome, used) = count(|| catch_unwind(AssertUnwindSafe(|| decode(bytes))));
        let allowed = bytes.len() as u64 * self.factor + self.free;
        assert!(
            outcome.is_ok() && used.peak <= allowed,
            "{} fails on a {origin} input of {} bytes (held {} bytes, {allowed} allowed): {}",
            self.name,
            bytes.len(),
            used.peak,
            bytes.escape_ascii()
        );
    }
}

/// Inputs that failed once.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("corpus files are readable")).collect()
}
