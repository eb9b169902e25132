//! An agent that dies leaves its pods to the next one.

use std::fs;

use mote_agent::runtime::oci::sandbox::Sandbox;
use mote_agent::runtime::{
    HostNamespaces, ObservedSandbox, ObservedState, Runtime, RuntimeEvent, SandboxRequest,
    StartRequest,
};
use mote_protocol::name::Uid;

use crate::node::Node;

#[tokio::test]
async fn the_next_agent_finds_what_runs_and_hears_of_its_end() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let request = node.request("main", &["sleep", "1000"]);
    let since = node.runtime.start(&request).await.expect("start");
    let before = node.state().await;
    node.reborn();
    assert_eq!(node.state().await, before, "the same process");
    assert!(matches!(before, ObservedState::Running { since: at, .. } if at == since));
    assert_eq!(node.pods().await[0].containers[0].tag, "tag of main");
    assert_eq!(node.pods().await[0].sandbox, ObservedSandbox::Ready);
    let again = node.runtime.start(&request).await.expect("it runs already");
    assert_eq!((again, node.state().await), (since, before), "nothing starts twice");
    node.exec("main", "exit 0").await;
    node.runtime.kill(&request.id).await.expect("kill");
    assert_eq!(node.exit(&request.id).await.code, 137);
    node.finish().await;
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_reported_with_its_code() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let request = node.script("main", "while ! test -e /dev/shm/end; do sleep 0.01; done; exit 9");
    let since = node.runtime.start(&request).await.expect("start");
    let ObservedState::Running { process, .. } = node.state().await else { panic!("it runs") };
    let pidfd = rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(process.pid).unwrap(),
        rustix::process::PidfdFlags::empty(),
    )
    .unwrap();
    node.reborn();
    // The old agent is gone, the new one has not looked yet.
    fs::write(node.pod_dir().join("shm/end"), "").unwrap();
    let mut polled = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut polled, None).unwrap();
    let ObservedState::Exited { since: at, exit } = node.state().await else { panic!("ended") };
    assert_eq!((at, exit.code), (Some(since), 9));
    node.finish().await;
}

#[tokio::test]
async fn an_attempt_whose_agent_died_before_it_was_claimed_is_found() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let request = node.request("main", &["sleep", "1000"]);
    die_while_starting(&mut node, &request, "started").await;
    let ObservedState::Running { .. } = node.state().await else { panic!("it runs") };
    node.runtime.kill(&request.id).await.expect("kill");
    assert_eq!(node.exit(&request.id).await.code, 137, "the new agent hears of it");
    node.finish().await;
}

/// The agent dies as soon as a file of an attempt is there: nobody reads its helper's report.
async fn die_while_starting(node: &mut Node, request: &StartRequest, file: &str) {
    let file = node.pod_dir().join("containers/main.0").join(file);
    let seen = async {
        while !file.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = seen => {}
        _ = node.runtime.start(request) => {}
    }
    node.reborn();
}

#[tokio::test]
async fn a_start_that_an_agent_left_half_done_is_not_done_twice() {
    for file in ["attempt", "config.json", "process", "started"] {
        let mut node = Node::new();
        node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
        let request = node.script("main", "echo ran >> /dev/shm/runs; exit 4");
        die_while_starting(&mut node, &request, file).await;
        // As the next agent does: it looks, and starts what has not ended.
        let state = node.pods().await[0].containers.first().map(|one| one.state.clone());
        let code = if let Some(ObservedState::Exited { exit, .. }) = state {
            exit.code
        } else {
            node.runtime.start(&request).await.expect("it is started, or was");
            node.exit(&request.id).await.code
        };
        let runs = fs::read_to_string(node.pod_dir().join("shm/runs")).expect("it ran");
        assert_eq!((code, runs.as_str()), (4, "ran\n"), "after `{file}`");
        node.finish().await;
    }
}

#[tokio::test]
async fn a_sandbox_without_its_namespaces_is_never_used() {
    let mut node = Node::new();
    let wanted = node.sandbox();
    // One that has no namespaces, as an agent leaves it that dies before it asked for them ...
    let host = HostNamespaces { network: true, ipc: true, ..HostNamespaces::default() };
    let bare = SandboxRequest { host, ..wanted.clone() };
    node.runtime.create_sandbox(&bare).await.expect("sandbox");
    // ... and the record of what it should have.
    let other = SandboxRequest { uid: Uid::from_random([99; 16]), ..wanted.clone() };
    node.runtime.create_sandbox(&other).await.expect("another");
    let record = |uid: &Uid| node.config.run.join(format!("pods/{uid}/sandbox"));
    fs::copy(record(&other.uid), record(&node.uid)).unwrap();
    node.runtime.remove_sandbox(&other.uid).await.expect("remove the other");
    node.reborn();
    assert_eq!(node.pods().await[0].sandbox, ObservedSandbox::Died);
    node.runtime.create_sandbox(&wanted).await.expect("a new one");
    assert_eq!(node.pods().await[0].sandbox, ObservedSandbox::Ready);
    let request = node.script("main", "ip link | grep -c '^[0-9]*: '; hostname");
    let (exit, log) = node.run(&request).await;
    assert_eq!((exit.code, log.as_str()), (0, "1\npod-name\n"), "nothing of the host's");
    node.finish().await;
}

#[tokio::test]
async fn a_sandbox_that_hung_up_is_missed_and_not_taken_for_dead() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let request = node.request("main", &["sleep", "1000"]);
    node.runtime.start(&request).await.expect("start");
    // It hangs up on whom it has not heard for longest.
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(Sandbox::adopt(&node.pod_dir(), drop).await.expect("somebody else"));
    }
    assert_eq!(node.event().await, RuntimeEvent::Missed);
    assert_eq!(node.pods().await[0].sandbox, ObservedSandbox::Ready);
    assert!(matches!(node.state().await, ObservedState::Running { .. }));
    drop(others);
    node.runtime.kill(&request.id).await.expect("kill");
    assert_eq!(node.exit(&request.id).await.code, 137, "its end is heard again");
    node.finish().await;
}

#[tokio::test]
async fn what_a_power_cut_left_of_a_pod_is_found_and_removed() {
    let node = Node::new();
    let written = node.config.state.join(format!("pods/{}/layers/main.0/upper/log", node.uid));
    fs::create_dir_all(written.parent().unwrap()).unwrap();
    fs::write(&written, "gone with its pod").unwrap();
    let pods = node.pods().await;
    assert_eq!((pods[0].uid, pods[0].sandbox), (node.uid, ObservedSandbox::Stopped));
    assert!(!pods[0].begun, "not since the machine was booted");
    node.finish().await;
}
