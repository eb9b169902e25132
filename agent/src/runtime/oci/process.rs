//! Telling a process from a later one of the same number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::time::Duration;

use crate::runtime::{BootTime, ProcessId};

/// Ticks per second in `/proc`: the same on every architecture mote runs on.
const TICKS_PER_SECOND: u64 = 100;

/// When the process that has this number now was started, in clock ticks since boot.
pub fn start_ticks(pid: i32) -> io::Result<u64> {
    parse(&stat(pid)?)
        .map(|(_, ticks)| ticks)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "process without a start time"))
}

/// Whether this very process still runs: a zombie does not.
pub fn is_running(process: ProcessId) -> bool {
    let stat = stat(process.pid).unwrap_or_default();
    parse(&stat).is_some_and(|(state, ticks)| {
        ticks == process.start_ticks && !matches!(state, "Z" | "X" | "x")
    })
}

/// When a process was started, to a hundredth of a second.
pub fn started_at(process: ProcessId) -> BootTime {
    BootTime(Duration::from_millis(process.start_ticks * 1000 / TICKS_PER_SECOND))
}

/// Those of `among` that are in the session of `leader` or descend from a process that is.
///
/// A daemon of two forks with a session of its own has left the family.
pub fn family(leader: i32, among: &[i32]) -> Vec<i32> {
    let kin =
        |pid: i32| parse_kin(&stat(pid).ok()?).map(|(parent, session)| (pid, parent, session));
    let all: Vec<_> = among.iter().copied().filter_map(kin).collect();
    let family = related(leader, &all);
    among.iter().copied().filter(|pid| family.contains(pid)).collect()
}

/// The family of a leader, itself included, out of processes with their parents and sessions. A
/// container decides how many there are, and in which order: each is looked at once.
fn related(leader: i32, all: &[(i32, i32, i32)]) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, parent, _) in all {
        children.entry(*parent).or_default().push(*pid);
    }
    let session = all.iter().filter(|(_, _, session)| *session == leader).map(|(pid, ..)| *pid);
    let mut found: Vec<i32> = session.chain([leader]).collect();
    let mut family = BTreeSet::new();
    while let Some(pid) = found.pop() {
        if family.insert(pid) {
            found.extend(children.get(&pid).into_iter().flatten());
        }
    }
    family
}

/// What the kernel says of a process. Its name may have any bytes: a program gives it to itself, and
/// the kernel cuts that of its file within a letter.
fn stat(pid: i32) -> io::Result<String> {
    let stat = fs::read(format!("/proc/{pid}/stat"))?;
    Ok(String::from_utf8_lossy(&stat).into_owned())
}

/// Parent and session, fields 4 and 6 of proc(5).
pub fn parse_kin(stat: &str) -> Option<(i32, i32)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some((parent, session))
}

/// State and start time out of `/proc/PID/stat`. The name in parentheses is the process's own and
/// may hold anything, parentheses too: the fields begin after the last one.
pub fn parse(stat: &str) -> Option<(&str, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    // Field 22 of proc(5); the state is field 3.
    let ticks = fields.nth(18)?.parse().ok()?;
    Some((state, ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_runs_and_another_of_its_number_does_not() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let process = ProcessId { pid, start_ticks: start_ticks(pid).unwrap() };
        assert!(is_running(process));
        assert!(!is_running(ProcessId { start_ticks: process.start_ticks + 1, ..process }));
    }

    #[test]
    fn a_process_may_have_any_name() {
        // The kernel takes whatever a thread calls itself.
        let name = c"caf\xc3";
        let told = std::thread::spawn(move || {
            rustix::thread::set_name(name).unwrap();
            let pid = rustix::thread::gettid().as_raw_nonzero().get();
            let process = ProcessId { pid, start_ticks: start_ticks(pid).unwrap() };
            is_running(process) && family(pid, &[pid]) == [pid]
        });
        assert!(told.join().unwrap());
    }

    #[test]
    fn the_kin_of_a_process_is_found_in_whatever_order_it_comes() {
        let chain: Vec<_> = (2..40_000).rev().map(|pid| (pid, pid - 1, 7)).collect();
        assert_eq!(related(10, &chain).len(), 39_990);
        let all = [(5, 1, 10), (6, 5, 6), (8, 1, 8), (9, 9, 9)];
        assert_eq!(related(10, &all).into_iter().collect::<Vec<_>>(), [5, 6, 10]);
        assert_eq!(related(9, &all).into_iter().collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn a_name_cannot_forge_the_fields() {
        let stat = "7 (a) R 0 0) S 1 7 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2 3\n";
        assert_eq!(parse(stat), Some(("S", 4711)));
        assert_eq!(parse_kin(stat), Some((1, 9)));
        assert_eq!(parse("7 (x"), None);
        assert_eq!(parse_kin("7 (x) S 1"), None);
    }
}
