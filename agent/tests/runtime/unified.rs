//! The same tests once more, on a machine that has only cgroup v2.
//!
//! A mount namespace is enough to pretend that: the unified hierarchy of a hybrid machine has no
//! controllers, but directories, membership, `cgroup.kill`, namespaces and the rights that depend
//! on the version are what they are on a real one. Limits are tested on virtual boards.

use std::env;
use std::process::Command;

#[test]
fn everything_but_limits_works_on_cgroup_v2_alone() {
    let script = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
    let tests = env::current_exe().expect("this program");
    let mut alone = Command::new("unshare");
    alone.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(tests);
    // Without controllers there is no limit to exceed; and once is enough.
    alone.args(["--skip", "exceeding", "--skip", "unified"]);
    let output = alone.output().expect("unshare, of util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("test result: ok"), "{text}");
}
