//! Why a container ended, in its own words.

use std::fs;
use std::io::ErrorKind;

use mote_agent::runtime::{ObservedState, Runtime, StartRequest, TerminationMessage};

use crate::node::Node;

async fn node() -> Node {
    let node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    node
}

fn says(mut request: StartRequest, path: &str, falls_back_to_log: bool) -> StartRequest {
    request.termination_message = TerminationMessage { path: path.into(), falls_back_to_log };
    request
}

#[tokio::test]
async fn what_a_container_wrote_comes_with_its_exit_whoever_it_was() {
    let mut node = node().await;
    let script = "echo disk full > /dev/termination-log; exit 3";
    let mut request = says(node.script("main", script), "/dev/termination-log", true);
    request.image_user = "web".into();
    node.runtime.start(&request).await.expect("start");
    let exit = node.exit(&request.id).await;
    assert_eq!((exit.code, &exit.message[..]), (3, "disk full\n"));
    let ended = node.state().await;
    assert!(matches!(&ended, ObservedState::Exited { exit: seen, .. } if *seen == exit));
    node.reborn();
    assert_eq!(node.state().await, ended, "the next agent reads the same");
    node.finish().await;
}

#[tokio::test]
async fn the_log_stands_in_only_where_the_policy_says_so() {
    let mut node = node().await;
    let script = "echo begun; echo broken >&2; exit 4";
    let path = "/var/tmp/why";
    let (exit, _) = node.run(&says(node.script("file", script), path, false)).await;
    assert_eq!((exit.code, &exit.message[..]), (4, ""));
    let (exit, _) = node.run(&says(node.script("log", script), path, true)).await;
    assert_eq!(exit.code, 4);
    let mut lines: Vec<_> = exit.message.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["begun", "broken"]);
    let (exit, _) = node.run(&says(node.script("well", "echo fine"), path, true)).await;
    assert_eq!((exit.code, &exit.message[..]), (0, ""));
    // All that was written before the end is there, also of a container that never paused.
    let script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done; exit 1";
    let (exit, _) = node.run(&says(node.script("many", script), path, true)).await;
    assert!(exit.message.starts_with("2921\n") && exit.message.ends_with("\n3000\n"));
    node.finish().await;
}

#[tokio::test]
async fn a_hostile_container_gains_nothing_by_its_message() {
    let mut node = node().await;
    let secret = node.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let script = format!(
        "m=/dev/termination-log; exec 2>&1; rm -f $m; mv /etc/passwd $m; ln -sf {} $m; \
         ln $m /dev/other; dd if=/dev/zero bs=65536 count=8 of=$m; printf end >> $m; exit 1",
        secret.display()
    );
    let request = says(node.script("main", &script), "/dev/termination-log", false);
    node.runtime.start(&request).await.expect("start");
    let exit = node.exit(&request.id).await;
    assert_eq!(exit.message.len(), 4096);
    assert!(exit.message.ends_with("\0end"), "its end: {:?}", exit.message.get(4080..));
    let kept = fs::metadata(node.pod_dir().join("messages/main.0")).expect("a file");
    assert_eq!(kept.len(), 4096, "what is never read is not kept in memory");
    node.finish().await;
}

#[tokio::test]
async fn a_message_comes_also_where_no_memory_is_left_for_it() {
    let mut node = node().await;
    let messages = node.pod_dir().join("messages");
    // Its end is written, its beginning is a hole.
    let script = "(dd if=/dev/zero bs=4096 seek=100 count=1 && printf end) > /why; \
                  while ! test -e /dev/shm/end; do sleep 0.01; done; exit 5";
    let request = says(node.script("main", script), "/why", false);
    node.runtime.start(&request).await.expect("start");
    let message = messages.join("main.0");
    while fs::metadata(&message).unwrap().len() < 101 * 4096 + 3 {
        tokio::task::yield_now().await;
    }
    let full = fs::write(messages.join("fill"), vec![0; 2 << 20]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    fs::write(node.pod_dir().join("shm/end"), "").unwrap();
    let exit = node.exit(&request.id).await;
    assert_eq!((exit.code, exit.message.len()), (5, 4096));
    assert!(exit.message.ends_with("\0end"), "{:?}", exit.message.get(4080..));
    assert_eq!(fs::metadata(&message).unwrap().len(), 4096);
    node.finish().await;
}

#[tokio::test]
async fn what_a_container_writes_into_its_message_takes_nothing_from_the_node() {
    let mut node = node().await;
    let script = "dd if=/dev/zero bs=65536 count=64 of=/why; exit 6";
    let (exit, log) = node.run(&says(node.script("main", script), "/why", false)).await;
    assert_eq!((exit.code, exit.message.len()), (6, 4096));
    assert!(log.contains("No space left on device"), "{log}");
    // What is never read is not kept: the next one has its room.
    let (exit, _) = node.run(&says(node.script("next", "echo well > /why"), "/why", false)).await;
    assert_eq!(exit.message, "well\n");
    node.finish().await;
}
