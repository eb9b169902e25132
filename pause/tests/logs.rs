//! What containers write becomes log files, all of it.

mod support;

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;

use mote_pause::log::PREFIX_LEN;
use mote_pause::wire::{Failure, LogFile, Reply, Request, Role};

use support::{Container, Pause, key, kill, pipe};

fn log(path: &CStr) -> LogFile<'_> {
    LogFile { path, limit: 262_144, files: 2 }
}

/// The records of a file: stream, tag, content.
fn records(path: &Path) -> Vec<(String, String, String)> {
    let text = fs::read_to_string(path).expect("a log");
    assert!(text.is_empty() || text.ends_with('\n'), "a torn record at the end");
    let record = |line: &str| {
        let (prefix, content) = line.split_at(PREFIX_LEN);
        let words: Vec<_> = prefix.split(' ').collect();
        let [time, stream, tag, ""] = words[..] else { panic!("a torn record: {line:?}") };
        assert!(time.len() == 30 && time.ends_with('Z'), "{line:?}");
        (stream.to_owned(), tag.to_owned(), content.to_owned())
    };
    text.lines().map(record).collect()
}

#[test]
fn both_streams_are_told_apart_and_a_prompt_is_closed() {
    let mut pause = Pause::start();
    let script = "echo one; echo two >&2; printf 'login: '";
    let (_, _) = pause.agent.helper(key("web", 0), script, Some(log(c"0.log")));
    let end = pause.agent.log_end(key("web", 0));
    assert_eq!(end.lost, 0);
    let mut records = records(&pause.dir.path().join("0.log"));
    let prompt =
        records.split_off(records.iter().position(|r| r.2 == "login: ").expect("a prompt"));
    records.extend(prompt.into_iter().filter(|record| !record.2.is_empty()));
    records.sort();
    let record = |stream: &str, tag: &str, content: &str| {
        (stream.to_owned(), tag.to_owned(), content.to_owned())
    };
    let wanted = [
        record("stderr", "F", "two"),
        record("stdout", "F", "one"),
        record("stdout", "P", "login: "),
    ];
    assert_eq!(records, wanted);
    assert!(pause.agent.list().contains(&Reply::LogEnded(end)));
}

/// Two writers at full speed, and many files: every line is there once, in
/// order, whole.
#[test]
fn rotation_under_load_loses_no_line() {
    const LINES: usize = 40_000;
    const FIRST: [usize; 2] = [10_000_001, 20_000_001];
    let mut pause = Pause::start();
    let [out, err] = FIRST.map(|first| format!("seq {first} {}", first + LINES - 1));
    let script = format!("{out} & {err} >&2; wait");
    // As many files as there may be, so that all of them can be read in the end.
    let wanted = LogFile { path: c"0.log", limit: 600_000, files: 10 };
    pause.agent.helper(key("web", 0), &script, Some(wanted));
    let end = pause.agent.log_end(key("web", 0));
    assert_eq!(end.lost, 0);

    let path = pause.dir.path().join("0.log");
    let rotated = (1..10).rev().map(|n| path.with_file_name(format!("0.log.{n}")));
    let files: Vec<_> = rotated.filter(|path| path.exists()).chain([path.clone()]).collect();
    assert!(files.len() > 5, "{} files", files.len());
    let mut next = FIRST;
    let mut begun = [String::new(), String::new()];
    for file in &files {
        assert!(fs::metadata(file).expect("a file").len() <= 600_000);
        for (stream, tag, content) in records(file) {
            let at = usize::from(stream == "stderr");
            begun[at] += &content;
            // `seq` writes by the block: a line is in two writes, and perhaps in two records.
            if tag == "F" {
                assert_eq!(begun[at], next[at].to_string());
                begun[at].clear();
                next[at] += 1;
            }
        }
    }
    assert_eq!(next, FIRST.map(|first| first + LINES));
}

#[test]
fn old_files_go_and_no_file_is_too_long() {
    let mut pause = Pause::start();
    let wanted = LogFile { path: c"0.log", limit: 16_384, files: 3 };
    pause.agent.helper(key("web", 0), "seq 20000", Some(wanted));
    pause.agent.log_end(key("web", 0));
    let mut names: Vec<_> = fs::read_dir(pause.dir.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .filter(|name| name.contains("log"))
        .collect();
    names.sort();
    assert_eq!(names, ["0.log", "0.log.1", "0.log.2"]);
    let last = names.iter().rev().flat_map(|name| records(&pause.dir.path().join(name)));
    let numbers: Vec<u32> = last.map(|record| record.2.parse().expect("a number")).collect();
    assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "no gap between files");
    assert_eq!(numbers.last(), Some(&20_000));
    for name in names {
        assert!(fs::metadata(pause.dir.path().join(name)).expect("a file").len() <= 16_384);
    }
}

/// The directory is wiped under a container that goes on talking: it is neither stopped nor does
/// its log grow without bound, and pause comes to rest.
#[test]
fn a_log_whose_directory_is_gone_stays_bounded() {
    let mut pause = Pause::start();
    fs::create_dir(pause.dir.path().join("logs")).expect("a directory");
    let wanted = LogFile { path: c"logs/0.log", limit: 16_384, files: 2 };
    let script = "echo here; read x <&4; seq 20000; echo done";
    let Container { pid, gate } = pause.agent.container(key("web", 0), script, Some(wanted));
    assert_eq!(pause.agent.watch(key("web", 0), Role::Container, pid), Reply::Done);
    let fds = format!("/proc/{}/fd", pause.pid());
    let is_log = |path: &Path| fs::read_link(path).is_ok_and(|to| to.ends_with("logs/0.log"));
    let log = fs::read_dir(fds).expect("it lives").map(|fd| fd.expect("an entry").path());
    let log = log.into_iter().find(|fd| is_log(fd)).expect("an open log");
    let log = fs::File::open(log).expect("the open file");
    fs::remove_dir_all(pause.dir.path()).expect("wiped");
    drop(gate);
    assert_eq!(pause.agent.exit_of(pid).code(), Some(0));
    pause.agent.log_end(key("web", 0));
    let left = log.metadata().expect("an open file");
    assert!(left.nlink() == 0 && left.len() <= 16_384, "{} bytes", left.len());
    assert_eq!(pause.agent.hello().pid, pause.pid());
    fs::create_dir(pause.dir.path()).expect("for the end of the test");
}

#[test]
fn a_log_goes_on_where_it_was() {
    let mut pause = Pause::start();
    for word in ["first", "second"] {
        pause.agent.helper(key("web", 0), &format!("echo {word}"), Some(log(c"0.log")));
        pause.agent.log_end(key("web", 0));
    }
    let contents: Vec<_> =
        records(&pause.dir.path().join("0.log")).into_iter().map(|record| record.2).collect();
    assert_eq!(contents, ["first", "second"]);
}

#[test]
fn a_log_that_cannot_be_opened_starts_nothing() {
    let mut pause = Pause::start();
    let before = pause.fds();
    let reply = pause.agent.shell(key("web", 0), "exit 0", Some(log(c"no/such.log")), &[], &[]);
    assert_eq!(reply, Reply::Failed { failure: Failure::OpenLog, errno: 2 });
    assert_eq!(pause.fds(), before);
    assert_eq!(pause.agent.list(), []);
}

/// More logs than there are places: ended ones make room, open ones do not.
#[test]
fn places_of_ended_logs_are_used_again() {
    let mut pause = Pause::start();
    let mut open = Vec::new();
    for attempt in 0..32 {
        let (from, gate) = pipe();
        let reply = pause.agent.shell(
            key("web", attempt),
            "read x",
            Some(log(c"0.log")),
            &[0],
            &[std::os::fd::AsFd::as_fd(&from)],
        );
        let Reply::Started { pid } = reply else { panic!("not started: {reply:?}") };
        open.push((pid, gate));
    }
    let refused = pause.agent.shell(key("web", 32), "exit 0", Some(log(c"0.log")), &[], &[]);
    assert_eq!(refused, Reply::Failed { failure: Failure::Full, errno: 0 });
    let (pid, gate) = open.pop().expect("the last");
    drop(gate);
    pause.agent.exit_of(pid);
    pause.agent.log_end(key("web", 31));
    pause.agent.helper(key("web", 32), "exit 0", Some(log(c"0.log")));
    pause.agent.log_end(key("web", 32));
    drop(open);
}

#[test]
fn nothing_is_lost_at_the_end() {
    let mut pause = Pause::start();
    // A process nobody claimed still holds the pipes when the end is asked for.
    let script = "echo last words; exec sleep 1000";
    let stray = pause.agent.container(key("web", 0), script, Some(log(c"0.log"))).pid;
    let said = pause.dir.path().join("0.log");
    // It has spoken once it is another program.
    let comm = format!("/proc/{stray}/comm");
    while fs::read_to_string(&comm).expect("it lives") != "sleep\n" {
        thread::yield_now();
    }
    let Reply::Done = pause.agent.ask(&Request::Shutdown, &[]) else { panic!("not ended") };
    assert!(pause.child.wait().expect("it ends").success());
    assert!(records(&said).iter().any(|record| record.2 == "last words"));
    kill(stray);
}
