//! What cannot run says why, in words a person can act on, and leaves nothing behind.

use mote_agent::runtime::{Retry, Runtime, RuntimeError};

use crate::node::{Node, refused};

async fn cause_of(node: &Node, change: impl FnOnce(&mut Vec<String>)) -> (String, Retry, bool) {
    let mut request = node.request("bad", &["true"]);
    change(&mut request.args);
    let error = refused(node, &request).await;
    assert!(node.pods().await[0].containers.is_empty(), "nothing is left of it");
    let started = matches!(error, RuntimeError::Start { .. });
    (error.to_string(), error.retry(), started)
}

#[tokio::test]
async fn a_missing_or_broken_program_is_named() {
    let node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let program = |name: &'static str| move |args: &mut Vec<String>| args[0] = name.into();
    for (name, text) in [
        ("nonesuch", "start container `bad`: executable `nonesuch` is not in the image's PATH"),
        ("/no/such", "start container `bad`: executable `/no/such` is not in the image"),
        ("/plain", "start container `bad`: executable `/plain`: may not be executed by its user"),
        ("/etc", "start container `bad`: executable `/etc`: is not a file"),
    ] {
        let expected = (text.to_owned(), Retry::Never, true);
        assert_eq!(cause_of(&node, program(name)).await, expected);
    }
    let text =
        "start container `bad`: execute `/orphan`: its interpreter or loader is not in the image";
    let expected = (text.to_owned(), Retry::Never, true);
    assert_eq!(cause_of(&node, program("/orphan")).await, expected);
    node.finish().await;
}

#[tokio::test]
async fn what_the_image_or_the_machine_lacks_is_named() {
    let node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let mut request = node.request("bad", &["true"]);
    request.image_user = "nobody".into();
    let error = refused(&node, &request).await;
    let text = "create container `bad`: user `nobody` is not in the image's /etc/passwd";
    assert_eq!((error.to_string().as_str(), error.retry()), (text, Retry::Never));

    let mut request = node.request("bad", &["true"]);
    request.rights.add_capabilities = vec!["FLY".into()];
    let error = refused(&node, &request).await.to_string();
    assert_eq!(error, "create container `bad`: capability `FLY` does not exist");

    let mut request = node.request("bad", &["true"]);
    request.cwd = "/plain/directory".into();
    let error = refused(&node, &request).await.to_string();
    assert!(error.contains("create the working directory `/plain/directory`: Not"), "{error}");

    let mut request = node.request("bad", &["true"]);
    request.layers = vec![node.path().join("layers/none")];
    let error = refused(&node, &request).await.to_string();
    assert!(error.contains("mount the root file system"), "{error}");

    let mut request = node.request("bad", &["true"]);
    request.tty = true;
    assert_eq!(refused(&node, &request).await.retry(), Retry::Never);
    node.finish().await;
}

#[tokio::test]
async fn without_a_sandbox_nothing_starts() {
    let node = Node::new();
    let request = node.request("early", &["true"]);
    assert!(matches!(refused(&node, &request).await, RuntimeError::NoSandbox { .. }));
    node.runtime.remove_container(&request.id).await.expect("nothing to remove");
    node.finish().await;
}
