//! What a container sees of itself, and what it may do.

use std::fs;
use std::path::Path;

use mote_agent::runtime::Runtime;

use crate::node::Node;

async fn node() -> Node {
    let node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    node
}

#[tokio::test]
async fn user_groups_directory_and_environment_are_those_asked_for() {
    let mut node = node().await;
    let mut request = node.script("who", "id -u; id -g; id -G; pwd; echo $HOME $HOSTNAME $A");
    request.image_user = "web".into();
    request.cwd = "/etc".into();
    request.env.push("A=with spaces".into());
    let (_, log) = node.run(&request).await;
    assert_eq!(log, "33\n34\n34 40\n/etc\n/srv pod-name with spaces\n");

    let mut request = node.script("numbers", "id -u; id -g; id -G");
    request.rights.user = Some(1234);
    request.rights.group = Some(5678);
    request.rights.supplemental_groups = vec![9, 7];
    let (_, log) = node.run(&request).await;
    assert_eq!(log, "1234\n5678\n5678 7 9\n");
    node.finish().await;
}

#[tokio::test]
async fn whoever_a_container_is_it_can_open_its_output() {
    let mut node = node().await;
    let script = "echo hello > /dev/stdout; echo oops > /dev/stderr";
    let mut request = node.script("first", script);
    request.rights.user = Some(1000);
    let (exit, log) = node.run(&request).await;
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!((exit.code, &lines[..]), (0, &["hello", "oops"][..]));

    let mut request = node.request("main", &["sleep", "1000"]);
    request.rights.user = Some(1000);
    node.runtime.start(&request).await.expect("start");
    let outcome = node.exec("main", script).await;
    assert_eq!((outcome.code, &outcome.output[..]), (Some(0), &b"hello\noops\n"[..]));
    node.finish().await;
}

#[tokio::test]
async fn a_working_directory_that_is_not_in_the_image_is_made() {
    let mut node = node().await;
    let mut request = node.script("main", "pwd; stat -c '%a %u' . ..");
    request.cwd = "/srv/app/data".into();
    request.rights.user = Some(1000);
    request.rights.read_only_root = true;
    let (_, log) = node.run(&request).await;
    assert_eq!(log, "/srv/app/data\n755 0\n755 0\n");
    node.finish().await;
}

const STATUS: &str = "grep -e CapBnd -e CapEff -e NoNewPrivs -e Seccomp: /proc/self/status \
                      | tr -d '\\t'; cat /proc/self/oom_score_adj";

#[tokio::test]
async fn an_ordinary_container_is_confined() {
    let mut node = node().await;
    // With CAP_MKNOD, which the devices' filter makes harmless on either version of cgroups.
    let default = "00000000a80425fb";
    let (_, log) = node.run(&node.script("plain", STATUS)).await;
    let expected = format!("CapEff:{default}\nCapBnd:{default}\nNoNewPrivs:0\nSeccomp:2\n100\n");
    assert_eq!(log, expected);
    let probe = "mount -t tmpfs x /tmp; echo $?; touch /sys/x; echo $?; \
                 echo 1 > /proc/sys/kernel/panic; echo $?; wc -c < /proc/timer_list";
    let (_, log) = node.run(&node.script("probe", probe)).await;
    assert!(log.contains("permission denied"), "{log}");
    assert_eq!(log.lines().filter(|line| *line == "0").count(), 1, "only the masked file: {log}");
    node.finish().await;
}

#[tokio::test]
async fn a_container_reads_its_limits_and_cannot_change_them() {
    let mut node = node().await;
    // Where a hybrid machine shows its v2 half alone, that half has no controllers.
    let (file, limit) = if node.runtime.facts().cgroup_v2 {
        ("/sys/fs/cgroup/cgroup.max.depth", "max\n")
    } else {
        ("/sys/fs/cgroup/pids/pids.max", "77\n")
    };
    let probe = format!("cat {file}; (echo 9 > {file}) 2> /dev/null; echo $?");
    let mut request = node.script("limits", &probe);
    request.limits.pids = Some(77);
    let (_, log) = node.run(&request).await;
    assert_eq!(log, format!("{limit}1\n"));
    node.finish().await;
}

#[tokio::test]
async fn rights_are_added_and_taken() {
    let mut node = node().await;
    let mut request = node.script("strict", STATUS);
    request.rights.drop_capabilities = vec!["ALL".into()];
    request.rights.add_capabilities = vec!["NET_BIND_SERVICE".into()];
    request.rights.no_new_privileges = true;
    request.rights.user = Some(1000);
    let (_, log) = node.run(&request).await;
    let expected =
        "CapEff:0000000000000000\nCapBnd:0000000000000400\nNoNewPrivs:1\nSeccomp:2\n100\n";
    assert_eq!(log, expected);

    let mut request =
        node.script("readonly", "exec 2>&1; touch /x; echo $?; touch /dev/shm/x; echo $?");
    request.rights.read_only_root = true;
    let (_, log) = node.run(&request).await;
    assert_eq!(log, "touch: /x: Read-only file system\n1\n0\n");

    let mut request = node.script("open", STATUS);
    request.rights.privileged = true;
    let (_, log) = node.run(&request).await;
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapPrm:\t")).unwrap();
    assert!(log.contains(&format!("CapEff:{own}\n")) && log.contains("Seccomp:0\n"), "{log}");
    let mut request =
        node.script("devices", "ls /dev/kmsg && mount -t tmpfs x /tmp && echo mounted");
    request.rights.privileged = true;
    let (_, log) = node.run(&request).await;
    assert_eq!(log, "/dev/kmsg\nmounted\n");
    node.finish().await;
}

#[tokio::test]
async fn devices_cannot_be_opened_by_making_a_node() {
    let mut node = node().await;
    let script = "exec 2>&1; mknod /dev/mine c 1 11 && head -c 1 /dev/mine; echo $?; head -c 1 /dev/zero | wc -c";
    let (_, log) = node.run(&node.script("maker", script)).await;
    assert!(log.contains("Operation not permitted"), "{log}");
    assert!(log.ends_with("1\n1\n"), "{log}");
    node.finish().await;
}

#[tokio::test]
async fn the_agents_binary_cannot_be_overwritten_from_inside() {
    let mut node = node().await;
    let binary = Path::new(env!("CARGO_BIN_EXE_mote-agent"));
    let before = fs::read(binary).expect("the agent");
    // The entrypoint is the helper itself, which prints its help; its file is reached through it.
    let mut request = node.request("self", &["/proc/self/exe", "--help"]);
    let started = node.runtime.start(&request).await;
    if started.is_ok() {
        node.exit(&request.id).await;
        node.runtime.remove_container(&request.id).await.expect("remove");
        assert!(node.log(&request.id).contains("mote-agent"), "it was the agent's program");
    }
    // As the worst case: with every right, through every process it can see.
    request = node.script(
        "every",
        "for exe in /proc/[0-9]*/exe; do echo evil > $exe; done 2>&1 | head -n 3; \
         exec 9</proc/self/exe; echo evil > /proc/self/fd/9",
    );
    node.run(&request).await;
    // A helper that runs while a container looks for it.
    let mut looker = node.script(
        "looker",
        "echo ready; while :; do for exe in /proc/[0-9]*/exe; do \
         case $(ls -l $exe 2>/dev/null) in *mote-agent*) echo seen; echo evil > $exe;; esac; done; done",
    );
    looker.rights.add_capabilities = vec!["SYS_PTRACE".into(), "DAC_READ_SEARCH".into()];
    node.runtime.start(&looker).await.expect("start");
    node.log_line(&looker.id, "ready").await;
    for _ in 0..5 {
        node.exec("looker", "true").await;
    }
    node.runtime.kill(&looker.id).await.expect("kill");
    node.exit(&looker.id).await;
    assert!(fs::read(binary).expect("the agent") == before, "the binary was changed");
    node.finish().await;
}
