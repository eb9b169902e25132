//! What a pod costs: memory, disk, and nothing at rest.

mod support;

use std::fs;

use mote_pause::wire::{LogFile, Namespace, Namespaces, Request, Role, Unshare};

use support::{Pause, binary, key};

/// Largest binary. It is mapped once for all pods; its pages count in each.
const MAX_BINARY: u64 = 28 * 1024;

/// Most resident memory of a pod that has namespaces, a container and a log.
const MAX_RSS_KIB: u64 = 64;

fn busy_pod() -> Pause {
    let mut pause = Pause::start();
    let namespaces = Namespaces::NONE.with(Namespace::Net).with(Namespace::Uts);
    pause.agent.ask(&Request::Unshare(Unshare { namespaces, users: None, hostname: b"web" }), &[]);
    let log = LogFile { path: c"0.log", limit: 262_144, files: 2 };
    let script = "seq 20000; exec sleep 1000 <&4";
    let web = pause.agent.container(key("web", 0), script, Some(log)).pid;
    pause.agent.watch(key("web", 0), Role::Container, web);
    pause
}

#[test]
fn memory_stays_within_sixteen_pages() {
    let pause = busy_pod();
    // Not `VmRSS`: that is rounded by more than pause has.
    let rss = pause.proc("smaps_rollup", "Rss");
    let size = fs::metadata(binary()).expect("the binary").len();
    println!("pause_binary_bytes = {size}");
    println!("pause_rss_kib = {rss}");
    println!("pause_anonymous_kib = {}", pause.proc("smaps_rollup", "Anonymous"));
    println!("pause_pss_kib = {}", pause.proc("smaps_rollup", "Pss"));
    println!("pause_fds = {}", pause.fds());
    print!("{}", mappings(&pause));
    assert!(size <= MAX_BINARY, "the binary has {size} bytes");
    assert!(rss <= MAX_RSS_KIB, "{rss} KiB are resident");
}

/// Each mapping with what is resident and what is private of it.
fn mappings(pause: &Pause) -> String {
    let smaps = fs::read_to_string(format!("/proc/{}/smaps", pause.pid())).expect("it lives");
    let mut told = String::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some(range), Some(rights)) if range.contains('-') => {
                told += &["\n", rights, " ", words.nth(3).unwrap_or("(bss)")].concat();
            }
            (Some("Rss:"), Some(kib)) => told += &[": ", kib, " KiB"].concat(),
            (Some("Private_Dirty:"), Some(kib)) => told += &[", ", kib, " KiB its own"].concat(),
            _ => {}
        }
    }
    told + "\n"
}

/// At rest it waits in one call, without a time limit: nothing can wake it but an event.
#[test]
fn it_sleeps_until_something_happens() {
    let pause = busy_pod();
    let call = format!("/proc/{}/syscall", pause.pid());
    let ppoll = if cfg!(target_arch = "x86_64") {
        "271"
    } else if cfg!(target_arch = "arm") {
        "414"
    } else {
        "73"
    };
    // What the container has said may still be on its way to the log.
    let waiting = loop {
        let call = fs::read_to_string(&call).expect("it lives");
        if call.split(' ').next() == Some(ppoll) {
            break call;
        }
    };
    // Number, then the arguments: the list, its length, the time limit.
    assert_eq!(waiting.split(' ').nth(3), Some("0x0"), "a time limit: {waiting}");
}

#[test]
fn it_is_protected_and_alone() {
    let pause = busy_pod();
    let read =
        |file: &str| fs::read_to_string(format!("/proc/{}/{file}", pause.pid())).expect("it lives");
    // Some virtual machines keep the right to say so from their root.
    let expected = if may_lower_oom_score() { "-998" } else { "0" };
    assert_eq!(read("oom_score_adj").trim(), expected);
    assert_eq!(read("comm").trim(), "mote-pause");
    let stat = read("stat");
    let words: Vec<_> = stat.split(' ').collect();
    assert_eq!((words[4], words[5]), (words[0], words[0]), "leader of its group and session");
    for number in 0..3 {
        let to = fs::read_link(format!("/proc/{}/fd/{number}", pause.pid())).expect("stdio");
        assert_eq!(to.to_str(), Some("/dev/null"));
    }
}

/// Whether this process, and so pause, has `CAP_SYS_RESOURCE`.
fn may_lower_oom_score() -> bool {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status").expect("we live");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = u64::from_str_radix(effective.expect("a field").trim(), 16);
    effective.expect("hexadecimal") & SYS_RESOURCE != 0
}
