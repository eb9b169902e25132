//! The namespaces pause makes and holds, seen by somebody who joins them.

mod support;

use std::fs;
use std::process::Command;

use mote_pause::wire::{Failure, Hello, Namespace, Namespaces, Reply, Request, Unshare, UserRange};

use support::{Pause, await_end, pidfd};

fn set(kinds: &[Namespace]) -> Namespaces {
    kinds.iter().fold(Namespaces::NONE, |set, kind| set.with(*kind))
}

fn unshare(pause: &mut Pause, unshare: Unshare<'_>) -> Hello {
    match pause.agent.ask(&Request::Unshare(unshare), &[]) {
        Reply::Hello(hello) => hello,
        other => panic!("not unshared: {other:?}"),
    }
}

/// What a command says inside the namespaces named by options of `nsenter`.
fn inside(hello: Hello, options: &[(&str, Namespace)], command: &str) -> String {
    let join = |(option, kind): &(&str, Namespace)| {
        format!("--{option}=/proc/{}/fd/{}", hello.pid, kind.fd())
    };
    let output = Command::new("nsenter")
        .args(options.iter().map(join))
        .args(["sh", "-c", command])
        .output()
        .expect("nsenter runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn identity(path: &str) -> String {
    fs::read_link(path).expect("a namespace").into_os_string().into_string().expect("text")
}

#[test]
fn net_ipc_and_uts_are_held_and_can_be_joined() {
    let mut pause = Pause::start();
    let kinds = [Namespace::Net, Namespace::Ipc, Namespace::Uts];
    let wanted = Unshare { namespaces: set(&kinds), users: None, hostname: b"web-0" };
    let hello = unshare(&mut pause, wanted);
    assert_eq!(hello.namespaces, set(&kinds));
    let uts = [("uts", Namespace::Uts)];
    assert_eq!(inside(hello, &uts, "uname -n").trim(), "web-0");
    let net = [("net", Namespace::Net)];
    let lo = inside(hello, &net, "ip -o addr show; cat /proc/net/if_inet6 2>/dev/null || true");
    assert!(lo.contains("127.0.0.1/8"), "{lo}");
    inside(hello, &net, "ping -c1 -W5 127.0.0.1 >/dev/null || ip link show lo | grep -q LOWER_UP");
    for (name, kind) in [("net", kinds[0]), ("ipc", kinds[1]), ("uts", kinds[2])] {
        let held = identity(&format!("/proc/{}/fd/{}", hello.pid, kind.fd()));
        assert!(held.starts_with(name), "{held}");
        assert_ne!(held, identity(&format!("/proc/self/ns/{name}")), "a new one");
        let own = identity(&format!("/proc/{}/ns/{name}", hello.pid));
        assert_eq!(own, identity(&format!("/proc/self/ns/{name}")), "pause stays outside");
    }
    assert_eq!(pause.agent.list(), [], "the child that made them has been reaped");

    let again = pause.agent.ask(&Request::Unshare(wanted), &[]);
    assert_eq!(again, Reply::Failed { failure: Failure::Unshared, errno: 0 });
    let mut next = pause.connect();
    assert_eq!(next.hello(), hello, "the next agent finds them");
}

#[test]
fn a_user_namespace_owns_the_others() {
    let mut pause = Pause::start();
    let kinds = [Namespace::User, Namespace::Net, Namespace::Uts, Namespace::Ipc];
    let users = Some(UserRange { first: 1_000_000, count: 65_536 });
    let hello =
        unshare(&mut pause, Unshare { namespaces: set(&kinds), users, hostname: b"rootless" });
    let all = [("user", kinds[0]), ("net", kinds[1]), ("uts", kinds[2]), ("ipc", kinds[3])];
    let maps = inside(hello, &all, "cat /proc/self/uid_map /proc/self/gid_map; id -u");
    let words: Vec<_> = maps.split_whitespace().collect();
    assert_eq!(words, ["0", "1000000", "65536", "0", "1000000", "65536", "0"]);
    // Only the owner of a network namespace may change it.
    inside(hello, &all, "ip addr add 10.0.0.1/8 dev lo && hostname changed");
    let who = "touch /tmp/mote-owner.$$ && stat -c %u /tmp/mote-owner.$$; rm -f /tmp/mote-owner.$$";
    assert_eq!(inside(hello, &all, who).trim(), "0");
}

#[test]
fn a_shared_process_namespace_lives_as_long_as_its_first_process() {
    let mut pause = Pause::start();
    let kinds = [Namespace::Pid, Namespace::Uts];
    let hello =
        unshare(&mut pause, Unshare { namespaces: set(&kinds), users: None, hostname: b"" });
    assert_ne!(hello.init, 0);
    let pid = [("pid", Namespace::Pid)];
    let seen = inside(hello, &pid, "echo $$; (sleep 0 &) ; kill -TERM 1; kill -0 1 && echo alive");
    let words: Vec<_> = seen.split_whitespace().collect();
    assert!(words[0].parse::<u32>().expect("a pid") < 100, "{seen}");
    assert_eq!(words[1], "alive");

    let fds = fs::read_dir(format!("/proc/{}/fd", hello.init)).expect("it lives").count();
    assert_eq!(fds, 0, "process 1 holds nothing");
    let parent = fs::read_to_string(format!("/proc/{}/stat", hello.init)).expect("it lives");
    assert_eq!(parent.split(' ').nth(3), Some(&*hello.pid.to_string()));

    let init = pidfd(hello.init);
    assert_eq!(pause.agent.ask(&Request::Shutdown, &[]), Reply::Done);
    pause.child.wait().expect("it ends");
    await_end(&init);
}

#[test]
fn the_host_is_kept_where_nothing_is_asked_for() {
    let mut pause = Pause::start();
    let hello = pause.agent.hello();
    assert_eq!((hello.namespaces, hello.init), (Namespaces::NONE, 0));
    for kind in Namespace::ALL {
        let held = identity(&format!("/proc/{}/fd/{}", hello.pid, kind.fd()));
        assert_eq!(held, "/dev/null", "the number is reserved");
    }
}

#[test]
fn a_failure_says_where_and_leaves_nothing() {
    let mut pause = Pause::start();
    let before = pause.fds();
    // A range that the kernel refuses: the id -1 means "none".
    let users = Some(UserRange { first: u32::MAX - 1, count: 2 });
    let wanted = Unshare { namespaces: set(&[Namespace::User]), users, hostname: b"" };
    let reply = pause.agent.ask(&Request::Unshare(wanted), &[]);
    assert!(matches!(reply, Reply::Failed { failure: Failure::MapUsers, errno: 1.. }), "{reply:?}");
    assert_eq!(pause.fds(), before);
    let children = format!("/proc/{0}/task/{0}/children", pause.pid());
    assert_eq!(fs::read_to_string(children).expect("it lives"), "");
    let users = Some(UserRange { first: 0, count: 10 });
    unshare(&mut pause, Unshare { users, ..wanted });
}
