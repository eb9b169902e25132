//! Feeds one decoder: its corpus as it is, then spoiled, watching for panics, memory and time.

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mote_tests::allocations::count;
use mote_tests::random::Random;
use rustix::time::{ClockId, clock_gettime};

use crate::mutate::spoil;

/// What all runs start from unless told otherwise.
const SEED: u64 = 0x6d6f_7465;

/// Processor time for one decoder: some forty of them, on two cores, in half a minute.
const TIME: Duration = Duration::from_secs(1);

/// Processor time for one input, in a build for tests, with room for a busy machine. What takes longer
/// than this for some kilobytes takes minutes for what a small board may be sent.
const SLOW: Duration = Duration::from_millis(500);

/// `postcard` makes room for a list before it has read an entry: for as many as were claimed, where
/// there are as many bytes, up to so many bytes.
const ROOM_OF_LIST: u64 = 1024 * 1024;

/// How one decoder is fed.
pub(crate) struct Target {
    /// Its folder below `corpus/`.
    pub(crate) name: &'static str,
    /// Inputs that are right, and others that are wrong in a way of their own, by what they are: these
    /// become the corpus.
    pub(crate) made: Vec<(&'static str, Vec<u8>)>,
    /// Others that are too long to be kept. They are tried, and not spoiled.
    pub(crate) large: Vec<(&'static str, Vec<u8>)>,
    /// How many inputs are tried.
    pub(crate) inputs: u64,
    /// Longest of them.
    pub(crate) longest: usize,
    /// Bytes that the decoder may hold for each byte it is given.
    pub(crate) factor: u64,
    /// Bytes that it may hold whatever it is given.
    pub(crate) free: u64,
    /// Lists of `postcard` that may be open at one time, one within the other.
    pub(crate) lists: u64,
    /// Bytes of an entry of such a list in memory, at most: a container, where nobody says more.
    pub(crate) widest: u64,
    /// Makes lengths and sums right again after spoiling, so that what stands behind them is looked at.
    pub(crate) mend: fn(&mut Vec<u8>),
}

impl Default for Target {
    fn default() -> Self {
        Self {
            name: "",
            made: Vec::new(),
            large: Vec::new(),
            inputs: 50_000,
            longest: 4_000,
            factor: 16,
            free: 4096,
            lists: 0,
            widest: 2048,
            mend: |_| {},
        }
    }
}

impl Target {
    /// Feeds the decoder until its inputs, or the time, are used up. It says what it took for what it
    /// should be: one that takes nothing of its corpus is not fed at all.
    pub(crate) fn run(self, decode: impl Fn(&[u8]) -> bool) {
        assert!(is_listed(self.name), "{} is not in the table of main.rs", self.name);
        let directory = corpora().join(self.name);
        if env::var_os("MOTE_CORPUS").is_some() {
            write(&directory, &self.made);
        }
        let mut corpus = read(&directory);
        assert!(!corpus.is_empty(), "{} has no corpus; `MOTE_CORPUS=write` makes one", self.name);
        // What is made by the code of today may differ from what was written down once.
        for (name, bytes) in &self.made {
            if !corpus.iter().any(|(_, known)| known == bytes) {
                corpus.push((format!("{name}, made now"), bytes.clone()));
            }
        }
        if let Err(problem) = self.feed(&corpus, decode) {
            panic!("{}: {problem}", self.name);
        }
    }

    /// The same with a corpus that was read.
    pub(crate) fn feed(
        &self,
        corpus: &[(String, Vec<u8>)],
        decode: impl Fn(&[u8]) -> bool,
    ) -> Result<(), String> {
        let mut sum = Sum::default();
        for (name, bytes) in corpus {
            sum.add(self.feed_one(bytes, &decode, name)?);
        }
        if sum.taken == 0 {
            return Err("nothing of its corpus is taken".to_owned());
        }
        for (name, bytes) in &self.large {
            sum.add(self.feed_one(bytes, &decode, name)?);
        }
        let seeds: Vec<_> = corpus.iter().map(|(_, bytes)| bytes.clone()).collect();
        let long = if env::var_os("MOTE_LONG").is_some() { 50 } else { 1 };
        let seed = env::var("MOTE_FUZZ_SEED").ok().and_then(|text| text.parse().ok());
        let mut random = Random::new(seed.unwrap_or(SEED));
        let (end, whole) = (processor_time() + TIME * long, self.inputs * u64::from(long));
        for _ in 0..whole {
            if processor_time() > end {
                break;
            }
            let mut bytes = spoil(&seeds, &mut random, self.longest);
            if random.below(4) > 0 {
                (self.mend)(&mut bytes);
            }
            sum.add(self.feed_one(&bytes, &decode, "a spoiled input")?);
        }
        let (Sum { tried, taken, beyond, slowest }, factor) = (sum, self.factor);
        println!(
            "{}: {taken} of {tried} inputs taken; at most {beyond} bytes beyond {factor} times the \
             length, {slowest:?}",
            self.name
        );
        Ok(())
    }

    /// Feeds one input.
    fn feed_one(
        &self,
        bytes: &[u8],
        decode: &impl Fn(&[u8]) -> bool,
        origin: &str,
    ) -> Result<Fed, String> {
        let begun = processor_time();
        let (outcome, used) = count(|| catch_unwind(AssertUnwindSafe(|| decode(bytes))));
        let took = processor_time().saturating_sub(begun);
        let allowed = self.allowed(bytes.len() as u64);
        let problem = match outcome {
            Err(_) => "it panics".to_owned(),
            Ok(_) if used.peak > allowed => {
                format!("it held {} bytes, {allowed} allowed", used.peak)
            }
            Ok(_) if took > SLOW => format!("it took {took:?}, {SLOW:?} allowed"),
            Ok(taken) => {
                let beyond = used.peak.saturating_sub(bytes.len() as u64 * self.factor);
                return Ok(Fed { taken, beyond, took });
            }
        };
        let shown = bytes.get(..2 * self.longest).unwrap_or(bytes).escape_ascii();
        Err(format!("{problem}; {origin}, {} bytes: {shown}", bytes.len()))
    }

    fn allowed(&self, len: u64) -> u64 {
        let lists = self.lists * ROOM_OF_LIST.min(len * self.widest);
        len * self.factor + self.free + lists
    }
}

/// What became of an input.
#[derive(Clone, Copy)]
struct Fed {
    taken: bool,
    /// Bytes that were held beyond a multiple of its length.
    beyond: u64,
    took: Duration,
}

/// What became of all.
#[derive(Default)]
struct Sum {
    tried: u64,
    taken: u64,
    beyond: u64,
    slowest: Duration,
}

impl Sum {
    fn add(&mut self, fed: Fed) {
        self.tried += 1;
        self.taken += u64::from(fed.taken);
        self.beyond = self.beyond.max(fed.beyond);
        self.slowest = self.slowest.max(fed.took);
    }
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// Where all corpora are.
fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

/// Whether a target is in the table of all.
fn is_listed(name: &str) -> bool {
    include_str!("main.rs").contains(&format!("`{name}`"))
}

/// The inputs in a directory, by name.
fn read(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    let input = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, fs::read(path).expect("corpus files are readable"))
    };
    paths.iter().map(input).collect()
}

fn write(directory: &Path, inputs: &[(&str, Vec<u8>)]) {
    fs::create_dir_all(directory).expect("created");
    for (name, bytes) in inputs {
        fs::write(directory.join(name), bytes).expect("written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(decode: impl Fn(&[u8]) -> bool) -> Result<(), String> {
        let target = Target { name: "driver", inputs: 2_000, ..Target::default() };
        target.feed(&[("good".to_owned(), b"good input".to_vec())], decode)
    }

    fn problem(decode: impl Fn(&[u8]) -> bool) -> String {
        fed(decode).expect_err("it is noticed")
    }

    #[test]
    fn a_decoder_that_keeps_its_promises_passes() {
        assert_eq!(fed(|bytes| bytes.to_vec().starts_with(b"good")), Ok(()));
    }

    #[test]
    fn a_panic_is_noticed_and_its_input_shown() {
        let problem = problem(|bytes| {
            assert!(bytes.starts_with(b"good"), "as a decoder would");
            true
        });
        assert!(problem.starts_with("it panics; a spoiled input"), "{problem}");
        let whole = fed(|_| panic!("always")).expect_err("it is noticed");
        assert!(whole.ends_with("good, 10 bytes: good input"), "{whole}");
    }

    #[test]
    fn memory_beyond_the_bound_is_noticed_also_where_it_is_given_back() {
        let problem = problem(|bytes| {
            let claimed = bytes.first().map_or(0, |first| usize::from(*first) * 64);
            drop(std::hint::black_box(Vec::<u8>::with_capacity(claimed)));
            true
        });
        assert!(problem.contains("bytes, 4"), "{problem}");
    }

    #[test]
    fn memory_for_lists_grows_with_the_input() {
        let target = Target { lists: 2, factor: 0, free: 0, ..Target::default() };
        assert_eq!(target.allowed(10), 40_960);
        assert_eq!(target.allowed(100_000), 2 * ROOM_OF_LIST);
    }

    #[test]
    fn what_takes_long_is_noticed() {
        let problem = problem(|_| {
            let begun = processor_time();
            while processor_time() < begun + SLOW + Duration::from_millis(100) {}
            true
        });
        assert!(problem.starts_with("it took "), "{problem}");
    }

    #[test]
    fn every_corpus_is_that_of_a_target() {
        let directories = fs::read_dir(corpora()).into_iter().flatten().filter_map(Result::ok);
        let names = directories.map(|entry| entry.file_name().to_string_lossy().into_owned());
        for name in names {
            assert!(is_listed(&name), "nobody reads corpus/{name}");
        }
    }

    #[test]
    fn a_decoder_that_takes_nothing_is_not_tested() {
        assert!(problem(|_| false).starts_with("nothing of its corpus"));
        let target = Target::default();
        assert!(target.feed(&[], |_| true).is_err());
    }
}
