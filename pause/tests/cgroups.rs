//! Who pays: pause and its helpers are in the cgroups they were given before they do anything.

mod support;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use mote_pause::wire::{EXIT_JOIN_CGROUP, Reply, Request, Run, Strings};

use support::{Pause, key};

/// A cgroup of our own, in whichever hierarchy this machine lets us have one.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let roots = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (path, kind, options) = (words.next()?, words.next()?, words.next()?);
            let simple = kind == "cgroup2" || (kind == "cgroup" && options.ends_with(",pids"));
            simple.then(|| PathBuf::from(path))
        });
        let name = format!("mote-pause-{name}-{}", std::process::id());
        let made = roots.map(|root| root.join(&name)).find(|path| fs::create_dir(path).is_ok());
        Self(made.expect("a hierarchy that takes a cgroup"))
    }

    fn procs(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    fn holds(&self, pid: u32) -> bool {
        let procs = fs::read_to_string(self.procs()).expect("our cgroup");
        procs.lines().any(|line| line == pid.to_string())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).expect("nothing is left in it");
    }
}

/// Asks for a helper in a cgroup that writes to what is returned, then waits until it is closed.
fn helper(pause: &mut Pause, procs: &File) -> (u32, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let strings = Strings::new(3, b"sh\0-c\0echo here >&3; read x <&3; exit 0\0");
    let strings = strings.expect("closed strings");
    let run = Run { key: key("web", 0), log: None, cgroups: 1, targets: &[3], strings };
    let shell = File::open("/bin/sh").expect("a shell");
    let fds = [shell.as_fd(), procs.as_fd(), theirs.as_fd()];
    match pause.agent.ask(&Request::Run(run), &fds) {
        Reply::Started { pid } => (pid, ours),
        other => panic!("not started: {other:?}"),
    }
}

#[test]
fn pause_and_helper_enter_theirs() {
    let (pods, helpers) = (Cgroup::new("pod"), Cgroup::new("helper"));
    let dir = tempfile::tempdir().expect("a directory");
    let mut pause = Pause::start_in(dir, &[pods.procs().to_str().expect("text")]);
    pause.agent.hello();
    assert!(pods.holds(pause.pid()));

    let procs = File::options().write(true).open(helpers.procs()).expect("our cgroup");
    let (pid, mut link) = helper(&mut pause, &procs);
    link.read_exact(&mut [0]).expect("the helper runs");
    assert!(helpers.holds(pid) && !pods.holds(pid));
    drop(link);
    assert_eq!(pause.agent.exit_of(pid).code(), Some(0));
    drop(pause);
}

#[test]
fn a_helper_without_its_cgroup_is_not_run() {
    let cgroup = Cgroup::new("refused");
    let mut pause = Pause::start();
    let read_only = File::open(cgroup.procs()).expect("our cgroup");
    let (pid, _link) = helper(&mut pause, &read_only);
    assert_eq!(pause.agent.exit_of(pid).code().map(i32::from), Some(EXIT_JOIN_CGROUP));
}
