//! Kills a program at its system calls, one after the other, and shows that it was killed there.
//!
//! strace counts the occurrences of each call by itself, whatever set they are in. So one run is
//! watched to learn which calls there are and how often, and then each call is killed at on its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use anyhow::{Result, ensure};
use rustix::process::Signal;

/// What strace saw of one run: the names of calls, in their order.
struct Seen(Vec<String>);

impl Seen {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)?;
        let name = |line: &str| line.split_once('(').map(|(name, _)| name.to_owned());
        let is_call =
            |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        Ok(Self(text.lines().filter_map(name).filter(is_call).collect()))
    }

    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for name in &self.0 {
            *counts.entry(name.clone()).or_default() += 1;
        }
        counts
    }
}

/// Which of `count` occurrences are chosen: the first, the last, and others evenly in between.
fn sample(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (1..=count).collect();
    }
    (0..most).map(|nth| 1 + nth * (count - 1) / (most - 1)).collect()
}

/// Lets something run once whole, and then be killed at the first, the last and others of each of
/// these calls, `most` of each. `run` runs it as the last words of a command line, in one thread;
/// `check` looks at what is left, and hears whether it was killed. Gives how often each call was made.
pub(crate) fn kill_at_each(
    calls: &str,
    most: usize,
    directory: &Path,
    run: impl Fn(&[&str]) -> Result<ExitStatus>,
    mut check: impl FnMut(bool) -> Result<()>,
) -> Result<BTreeMap<String, usize>> {
    let output = directory.join("calls.strace");
    let (path, trace) = (output.display().to_string(), format!("trace={calls}"));
    let words = ["strace", "-q", "-o", &path, "-e", &trace];
    let ended = run(&words)?;
    ensure!(ended.success(), "where nobody kills it, it ends with {ended}");
    check(false)?;
    let counts = Seen::read(&output)?.counts();
    for (call, count) in &counts {
        for mut nth in sample(*count, most) {
            // Runs differ by a report or two: where this one has fewer, its last is the last.
            loop {
                let inject = format!("inject={call}:signal=SIGKILL:when={nth}");
                let ended = run(&[&words[..], &["-e", &inject]].concat())?;
                let seen = Seen::read(&output)?;
                let made = seen.counts().get(call).copied().unwrap_or(0);
                if ended.signal() == Some(Signal::KILL.as_raw()) {
                    let last = seen.0.last();
                    ensure!(last == Some(call) && made == nth, "{call} {nth}: {last:?} {made}");
                    check(true)?;
                    break;
                }
                let fewer = ended.success() && made > 0 && made < nth;
                ensure!(fewer, "{call} {nth} of {made}: it was not killed, but ended with {ended}");
                check(false)?;
                nth = made;
            }
        }
    }
    Ok(counts)
}

#[test]
fn first_and_last_are_chosen_and_the_others_evenly() {
    assert_eq!(sample(3, 8), [1, 2, 3]);
    assert_eq!(sample(8, 8), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(sample(100, 4), [1, 34, 67, 100]);
    assert_eq!(sample(9, 8), [1, 2, 3, 4, 5, 6, 7, 9]);
}
