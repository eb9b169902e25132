//! Whose children they are, how they ended, and who hears of it when.

mod support;

use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;

use mote_pause::wire::{EXIT_EXECUTE, EXITS, Exit, Failure, Reply, Request, Role, Run, Strings};

use support::{Container, Pause, key, kill, pipe};

#[test]
fn a_helper_runs_with_what_it_was_given() {
    let mut pause = Pause::start();
    let script = r#"cd /proc/self/fd; echo "$0 $TOKEN" * $(cat /proc/self/oom_score_adj) >&7
        grep SigBlk /proc/self/status >&7; readlink /proc/self/fd/0 >&7; exit 3"#;
    let strings = format!("/bin/sh\0-c\0{script}\0name\0TOKEN=x y\0PATH=/bin:/usr/bin\0");
    let strings = Strings::new(4, strings.as_bytes()).expect("closed strings");
    let (mut result, to) = pipe();
    let run = Run { key: key("web", 0), log: None, cgroups: 0, targets: &[7], strings };
    let shell = fs::File::open("/bin/sh").expect("a shell");
    let reply = pause.agent.ask(&Request::Run(run), &[shell.as_fd(), to.as_fd()]);
    drop(to);
    let Reply::Started { pid } = reply else { panic!("not started: {reply:?}") };
    let mut said = String::new();
    result.read_to_string(&mut said).expect("the helper writes");
    // 3 is the directory that the shell reads.
    assert_eq!(said, "name x y 0 1 2 3 7 0\nSigBlk:\t0000000000000000\n/dev/null\n");
    let exit = pause.agent.exit_of(pid);
    assert_eq!((exit.code(), exit.role, exit.key), (Some(3), Role::Helper, Some(key("web", 0))));
}

#[test]
fn what_cannot_be_executed_says_so_by_its_status() {
    let mut pause = Pause::start();
    let text = fs::File::open("/etc/hostname").expect("a file that is no program");
    let strings = Strings::new(1, b"x\0").expect("closed strings");
    let run = Run { key: key("web", 0), log: None, cgroups: 0, targets: &[], strings };
    let reply = pause.agent.ask(&Request::Run(run), &[text.as_fd()]);
    let Reply::Started { pid } = reply else { panic!("not started: {reply:?}") };
    assert_eq!(pause.agent.exit_of(pid).code().map(i32::from), Some(EXIT_EXECUTE));
}

#[test]
fn orphans_become_children_and_their_ends_are_told() {
    let mut pause = Pause::start();
    let pid = pause.agent.container(key("web", 1), "exec sleep 1000", None).pid;
    let parent = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    assert_eq!(parent.split(' ').nth(3), Some(&*pause.pid().to_string()), "subreaper");
    assert_eq!(pause.agent.watch(key("web", 1), Role::Container, pid), Reply::Done);
    let alive = Reply::Alive { key: key("web", 1), role: Role::Container, pid };
    assert!(pause.agent.list().contains(&alive));
    kill(pid);
    let exit = pause.agent.exit_of(pid);
    assert_eq!((exit.signal(), exit.code(), exit.role), (Some(9), None, Role::Container));
    assert!(exit.boot_ns > 0 && exit.real_ns > exit.boot_ns);
    assert!(!pause.agent.list().contains(&alive));
}

#[test]
fn an_exit_before_its_claim_is_matched() {
    let mut pause = Pause::start();
    let Container { pid, gate } = pause.agent.container(key("web", 0), "read x <&4; exit 42", None);
    drop(gate);
    // Ends seen by pause are in the list; there is no news of what nobody has claimed.
    while !pause.agent.list().iter().any(|r| matches!(r, Reply::Exited(e) if e.pid == pid)) {}
    assert_eq!(pause.agent.watch(key("web", 0), Role::Container, pid), Reply::Done);
    let exit = pause.agent.exit_of(pid);
    assert_eq!((exit.code(), exit.key), (Some(42), Some(key("web", 0))));
    let unknown = pause.agent.watch(key("web", 0), Role::Container, 1);
    assert_eq!(unknown, Reply::Failed { failure: Failure::NoChild, errno: 0 });
}

#[test]
fn an_agent_that_was_not_there_reads_what_happened() {
    let mut pause = Pause::start();
    let pid = pause.agent.container(key("db", 4), "exec sleep 1000", None).pid;
    assert_eq!(pause.agent.watch(key("db", 4), Role::Container, pid), Reply::Done);
    let exec = pause.agent.container(key("db", 4), "exec sleep 1000", None).pid;
    assert_eq!(pause.agent.watch(key("db", 4), Role::Exec, exec), Reply::Done);

    // The agent is gone; nobody is there when the container ends.
    let pid_of_pause = pause.agent.hello().pid;
    assert_eq!(pid_of_pause, pause.pid());
    pause.agent.leave();
    kill(exec);
    kill(pid);

    let mut agent = pause.connect();
    let told = loop {
        let found = agent.list().into_iter().find_map(|reply| match reply {
            Reply::Exited(exit) if exit.pid == pid => Some(exit),
            _ => None,
        });
        if let Some(exit) = found {
            break exit;
        }
    };
    assert_eq!((told.key, told.signal()), (Some(key("db", 4)), Some(9)));
    let file = fs::read(pause.dir.path().join(EXITS)).expect("a file of exits");
    let kept: Vec<_> = file.chunks(Exit::SIZE).filter_map(Exit::read).collect();
    assert_eq!(kept, [told], "containers only, and only claimed ones");
}

#[test]
fn all_zombies_are_reaped_and_no_descriptor_stays() {
    let mut pause = Pause::start();
    let before = pause.fds();
    for round in 0..20 {
        let script = "i=0; while [ $i -lt 20 ]; do (exec true) & i=$((i+1)); done";
        let (pid, _) = pause.agent.helper(key("web", round), script, None);
        pause.agent.exit_of(pid);
    }
    // The last orphans may outlive their helper by a moment; their ends are seen in the list.
    let children = format!("/proc/{0}/task/{0}/children", pause.pid());
    while !fs::read_to_string(&children).expect("it lives").is_empty() {
        pause.agent.list();
    }
    assert_eq!(pause.fds(), before);
}

#[test]
fn it_ends_only_when_nothing_is_left_and_only_when_told() {
    let mut pause = Pause::start();
    let pid = pause.agent.container(key("web", 0), "exec sleep 1000", None).pid;
    assert_eq!(pause.agent.watch(key("web", 0), Role::Container, pid), Reply::Done);
    let refused = pause.agent.ask(&Request::Shutdown, &[]);
    assert_eq!(refused, Reply::Failed { failure: Failure::Alive, errno: 0 });

    let this = rustix::process::Pid::from_child(&pause.child);
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::HUP] {
        rustix::process::kill_process(this, signal).expect("it lives");
    }
    kill(pid);
    pause.agent.exit_of(pid);
    assert_eq!(pause.agent.ask(&Request::Shutdown, &[]), Reply::Done);
    assert!(pause.child.wait().expect("it ends").success());
    assert!(!pause.dir.path().join("pause.sock").exists());
}

#[test]
fn a_start_that_fails_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut pause = Pause::start_in(dir, &["/nonexistent/cgroup.procs"]);
    let (id, reply) = pause.agent.receive().expect("a last word");
    assert_eq!((id, reply), (0, Reply::Failed { failure: Failure::Cgroup, errno: 2 }));
    assert_eq!(pause.child.wait().expect("it ends").code(), Some(1));
}
