//! Containers from start to end, and what is left of them: nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use mote_agent::runtime::oci::cgroup::Controller;
use mote_agent::runtime::{Limits, ObservedSandbox, ObservedState, Runtime, RuntimeEvent};

use crate::node::Node;

#[tokio::test]
async fn a_container_that_ends_well_reports_zero() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    node.runtime.create_sandbox(&node.sandbox()).await.expect("the same sandbox again");
    let request = node.request("once", &["true"]);
    let since = node.runtime.start(&request).await.expect("start");
    // What a container has mounted is not seen here, what its pod writes in memory is.
    let mounts = node.mounts();
    let [shm, messages] = &mounts[..] else { panic!("two: {mounts:?}") };
    assert!(shm.contains("/shm rw,nosuid,nodev,noexec"), "{shm}");
    assert!(messages.contains("/messages rw,nosuid,nodev,noexec"), "{messages}");
    let exit = node.exit(&request.id).await;
    assert_eq!((exit.code, exit.oom_killed), (0, false));
    assert!(exit.at > since);
    let ended = node.state().await;
    assert_eq!(ended, ObservedState::Exited { since: Some(since), exit });
    node.finish().await;
}

#[tokio::test]
async fn codes_and_signals_come_back() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let (exit, log) = node.run(&node.script("three", "echo out; echo err >&2; exit 3")).await;
    assert_eq!((exit.code, &log[..]), (3, "out\nerr\n"));
    let (exit, _) = node.run(&node.script("self", "kill -9 $$")).await;
    assert_eq!(exit.code, 0, "process 1 of a namespace is immune to its own signals");
    let request = node.request("sleeper", &["sleep", "1000"]);
    node.runtime.start(&request).await.expect("start");
    node.runtime.signal(&request.id, 15).await.expect("ignored by process 1");
    node.runtime.signal(&request.id, 9).await.expect("signal");
    assert_eq!(node.exit(&request.id).await.code, 137);
    node.runtime.signal(&request.id, 9).await.expect("it has ended, which is no error");
    node.finish().await;
}

#[tokio::test]
async fn killing_reaches_everything_a_container_forked() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let script = "sleep 1000 & (sleep 1000 & sleep 1000) & echo forked; wait";
    let request = node.script("forking", script);
    node.runtime.start(&request).await.expect("start");
    node.log_line(&request.id, "forked").await;
    let group = node.tree().container(&request.id);
    assert!(group.processes().unwrap().len() >= 3);
    node.runtime.kill(&request.id).await.expect("kill");
    assert_eq!(node.exit(&request.id).await.code, 137);
    node.runtime.remove_container(&request.id).await.expect("remove");
    node.runtime.remove_container(&request.id).await.expect("remove again");
    assert_eq!(group.processes().unwrap(), [0; 0]);
    node.finish().await;
}

#[tokio::test]
async fn all_pods_together_have_a_bound() {
    let mut node = Node::new();
    let memory_bytes = Some(512 << 20);
    node.config.all_pods = Limits { memory_bytes, cpu_shares: Some(512), ..Limits::default() };
    node.reborn();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    if node.runtime.facts().missing_controllers.contains(&Controller::Memory) {
        return node.finish().await;
    }
    let v2 = node.runtime.facts().cgroup_v2;
    let file = if v2 { "memory.max" } else { "memory.limit_in_bytes" };
    let root = node.tree().root();
    let told = root.directories().find_map(|(_, path)| fs::read_to_string(path.join(file)).ok());
    assert_eq!(told.expect("a memory controller").trim(), (512 << 20).to_string());
    node.finish().await;
}

#[tokio::test]
async fn exceeding_the_memory_limit_is_told_apart() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let mut request = node.script("greedy", "head -c 200000000 /dev/zero | tr '\\0' x | sort");
    request.args = ["sh", "-c", "x=x; while :; do x=$x$x; done"].map(str::to_owned).into();
    request.limits = Limits { memory_bytes: Some(32 << 20), ..Limits::default() };
    node.runtime.start(&request).await.expect("start");
    let exit = node.exit(&request.id).await;
    assert!(exit.oom_killed, "{exit:?}");
    assert_eq!(exit.code, 137);
    assert!(matches!(node.state().await, ObservedState::Exited { exit, .. } if exit.oom_killed));
    node.finish().await;
}

#[tokio::test]
async fn containers_of_a_pod_share_the_network_and_its_loopback() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let server = node.script("server", "exec httpd -f -p 127.0.0.1:8080 -h /etc");
    node.runtime.start(&server).await.expect("start");
    let client = "until wget -qO- http://127.0.0.1:8080/passwd 2>/dev/null; do :; done; \
                  hostname; touch /dev/shm/mine";
    let (exit, log) = node.run(&node.script("client", client)).await;
    assert_eq!(exit.code, 0, "{log}");
    assert!(log.contains("web:x:33") && log.contains("pod-name"), "{log}");
    let (_, log) = node.run(&node.script("neighbour", "ls /dev/shm; ip -o link | wc -l")).await;
    assert_eq!(log, "mine\n1\n", "shared memory, and no interface but lo");
    node.finish().await;
}

#[tokio::test]
async fn a_pod_may_share_its_processes_or_the_hosts_namespaces() {
    let mut node = Node::new();
    let mut sandbox = node.sandbox();
    sandbox.share_process_namespace = true;
    node.runtime.create_sandbox(&sandbox).await.expect("sandbox");
    let sleeper = node.request("sleeper", &["sleep", "4711"]);
    node.runtime.start(&sleeper).await.expect("start");
    let (_, log) = node.run(&node.script("viewer", "ps -o args | grep -c '[4]711'; echo $$")).await;
    assert!(log.starts_with("1\n") && !log.ends_with("\n1\n"), "{log}");
    node.finish().await;

    let mut node = Node::new();
    let mut sandbox = node.sandbox();
    sandbox.host.network = true;
    sandbox.host.ipc = true;
    sandbox.host.pid = true;
    node.runtime.create_sandbox(&sandbox).await.expect("sandbox");
    let kinds = ["net", "uts", "ipc", "pid"];
    let inode = |kind| fs::metadata(format!("/proc/self/ns/{kind}")).unwrap().ino();
    let expected = kinds.map(|kind| inode(kind).to_string());
    let script = kinds.map(|kind| format!("stat -Lc %i /proc/self/ns/{kind}")).join(";");
    let (_, log) = node.run(&node.script("guest", &script)).await;
    assert_eq!(log.lines().collect::<Vec<_>>(), expected);
    node.finish().await;
}

#[tokio::test]
async fn a_sandbox_that_dies_is_told_and_can_be_removed() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let request = node.request("sleeper", &["sleep", "1000"]);
    node.runtime.start(&request).await.expect("start");
    node.tree().pause(&node.uid).kill().expect("kill mote-pause");
    assert_eq!(node.event().await, RuntimeEvent::SandboxDied { uid: node.uid });
    let pods = node.pods().await;
    assert_eq!(pods[0].sandbox, ObservedSandbox::Died);
    assert!(matches!(pods[0].containers[0].state, ObservedState::Running { .. }));
    node.finish().await;
}

#[tokio::test]
async fn a_stopped_sandbox_leaves_logs_and_another_can_follow() {
    let mut node = Node::new();
    for before in [ObservedSandbox::Ready, ObservedSandbox::Died] {
        node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
        let ended = node.script("job", "echo done >> /dev/shm/told; cat /dev/shm/told");
        node.runtime.start(&ended).await.expect("start");
        node.exit(&ended.id).await;
        let request = node.request("sleeper", &["sleep", "1000"]);
        node.runtime.start(&request).await.expect("start");
        if before == ObservedSandbox::Died {
            node.tree().pause(&node.uid).kill().expect("kill mote-pause");
            assert_eq!(node.event().await, RuntimeEvent::SandboxDied { uid: node.uid });
        }
        assert_eq!(node.pods().await[0].sandbox, before);
        for _ in 0..2 {
            node.runtime.stop_sandbox(&node.uid).await.expect("stop");
            let pods = node.pods().await;
            assert_eq!(
                (pods[0].sandbox, &pods[0].containers[..]),
                (ObservedSandbox::Stopped, &[][..])
            );
        }
        assert_eq!(node.tree().root().children(), [""; 0], "cgroups are left");
        assert_eq!(node.mounts(), [""; 0], "mounts are left");
        let left: Vec<_> = fs::read_dir(node.pod_dir()).expect("the pod's directory").collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(node.log(&ended.id), "done\n", "the log, and of this sandbox only");
        fs::remove_file(node.pod_dir().join("logs/job/0.log")).expect("remove the log");
        node.reborn();
        assert_eq!(node.pods().await[0].sandbox, ObservedSandbox::Stopped);
    }
    node.finish().await;
}

#[tokio::test]
async fn a_run_directory_that_forbids_execution_is_no_obstacle() {
    let mut node = Node::new();
    let before = node.config.run.clone();
    node.config.run = node.path().join("noexec");
    fs::create_dir(&node.config.run).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "noexec", "tmpfs"]).arg(&node.config.run);
    assert!(mount.status().expect("mount").success());
    node.reborn();
    let created = node.runtime.create_sandbox(&node.sandbox()).await;
    let request = node.request("once", &["true"]);
    let started = node.runtime.start(&request).await;
    node.runtime.remove_sandbox(&node.uid).await.expect("remove the sandbox");
    let unmounted = Command::new("umount").arg(&node.config.run).status().expect("umount");
    created.expect("sandbox");
    started.expect("start");
    assert!(unmounted.success());
    node.config.run = before;
    node.reborn();
    node.finish().await;
}

#[tokio::test]
async fn shared_memory_is_the_pods_own_to_run_out_of_and_goes_with_its_sandbox() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let fill =
        "exec 2> /dev/null; dd if=/dev/zero of=/dev/shm/x bs=1M count=80; stat -c %s /dev/shm/x";
    let (_, log) = node.run(&node.script("main", fill)).await;
    assert_eq!(log, "67108864\n");
    assert_eq!(node.mounts().len(), 2);
    // Also that of an agent that is gone.
    node.reborn();
    node.runtime.stop_sandbox(&node.uid).await.expect("stop");
    assert_eq!(node.mounts(), [""; 0]);
    node.finish().await;
}
