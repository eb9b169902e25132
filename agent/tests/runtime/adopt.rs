//! An agent that dies leaves its pods to the next one.

use std::fs;

use mote_agent::runtime::{ObservedSandbox, ObservedState, Runtime};

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
    {
        // Dropped as soon as the helper was sent for: nobody reads its report.
        let start = node.runtime.start(&request);
        let process = node.pod_dir().join("containers/main.0/started");
        let seen = async {
            while !process.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = seen => {}
            _ = start => {}
        }
    }
    node.reborn();
    let ObservedState::Running { .. } = node.state().await else { panic!("it runs") };
    node.runtime.kill(&request.id).await.expect("kill");
    assert_eq!(node.exit(&request.id).await.code, 137, "the new agent hears of it");
    node.finish().await;
}
