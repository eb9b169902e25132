//! Filters of system calls that the node has in files.

use std::fs;

use mote_agent::runtime::{Retry, Runtime, RuntimeError, Seccomp, StartRequest};

use crate::node::{Node, refused};

/// What is left of a filter that denies these with an error of its own.
fn denying(names: &str) -> String {
    let rule = format!(r#"{{"names": [{names}], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}}"#);
    format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#)
}

fn write(node: &Node, name: &str, text: &str) {
    let path = node.config.seccomp_profiles.join(name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("make the directory");
    fs::write(path, text).expect("write the profile");
}

fn with(mut request: StartRequest, profile: &str) -> StartRequest {
    request.rights.seccomp = Seccomp::Localhost(profile.into());
    request
}

async fn node() -> Node {
    let node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    node
}

#[tokio::test]
async fn a_file_of_the_node_is_the_filter_of_a_container_and_of_its_commands() {
    let mut node = node().await;
    write(&node, "profiles/deny.json", &denying("\"mkdir\", \"mkdirat\", \"uname\""));
    // One stream: two of them have no order between each other.
    let script = "exec 2>&1; grep Seccomp: /proc/self/status | tr -d '\\t'; mkdir /made; hostname; echo done";
    let (exit, log) = node.run(&with(node.script("once", script), "profiles/deny.json")).await;
    assert!(log.starts_with("Seccomp:2\nmkdir: can't create directory '/made'"), "{log}");
    assert!(log.contains("not supported") && exit.code == 0, "{log}");

    let request = with(node.request("main", &["sleep", "1000"]), "profiles/deny.json");
    node.runtime.start(&request).await.expect("start");
    // It was read when the container started: who changes it then opens nothing.
    write(&node, "profiles/deny.json", &denying(""));
    let outcome = node.exec("main", script).await;
    let output = String::from_utf8_lossy(&outcome.output).into_owned();
    assert!(output.starts_with("Seccomp:2\n") && output.contains("not supported"), "{output}");
    // The same after the agent was another one.
    node.reborn();
    let outcome = node.exec("main", "mkdir /made || sh -c 'mkdir /made'").await;
    assert_eq!(outcome.code, Some(1), "{}", String::from_utf8_lossy(&outcome.output));
    node.finish().await;
}

#[tokio::test]
async fn a_command_runs_under_a_filter_that_denies_what_starts_commands() {
    let node = node().await;
    // All that the helper does after it has forked, and a fork itself.
    let names =
        "\"clone\", \"clone3\", \"fork\", \"vfork\", \"setsid\", \"read\", \"pipe2\", \"readv\"";
    write(&node, "strict.json", &denying(names));
    let request = with(node.request("main", &["sleep", "1000"]), "strict.json");
    node.runtime.start(&request).await.expect("start");
    let outcome =
        node.runtime.exec(&node.exec_request("main", &["echo", "hello"])).await.expect("exec");
    assert_eq!((outcome.code, &outcome.output[..]), (Some(0), &b"hello\n"[..]));
    let outcome = node
        .runtime
        .exec(&node.exec_request("main", &["head", "-n", "1", "/etc/group"]))
        .await
        .expect("exec");
    assert_eq!(outcome.code, Some(1), "{}", String::from_utf8_lossy(&outcome.output));
    node.finish().await;
}

#[tokio::test]
async fn a_filter_that_denies_everything_ends_who_is_under_it() {
    let mut node = node().await;
    write(&node, "violation.json", r#"{"defaultAction": "SCMP_ACT_ERRNO"}"#);
    let (exit, log) = node.run(&with(node.request("main", &["true"]), "violation.json")).await;
    assert_eq!((exit.code, &log[..]), (128 + 4, ""));
    // A command that cannot begin is not taken for one that has.
    write(&node, "no-exec.json", &denying("\"execve\", \"execveat\""));
    let error = refused(&node, &with(node.request("other", &["true"]), "no-exec.json")).await;
    let text = error.to_string();
    assert!(text.contains("execute `/bin/true`: ") && text.ends_with("(os error 95)"), "{text}");
    node.finish().await;
}

#[tokio::test]
async fn a_profile_that_cannot_be_used_is_waited_for() {
    let mut node = node().await;
    let request = with(node.request("main", &["true"]), "late.json");
    let path = node.config.seccomp_profiles.join("late.json");
    for (text, expected) in [
        (None, "cannot load seccomp profile"),
        (Some("{"), "decoding seccomp profile failed"),
        (Some(r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#), "decoding seccomp profile failed"),
    ] {
        if let Some(text) = text {
            write(&node, "late.json", text);
        }
        let error = refused(&node, &request).await;
        let RuntimeError::Create { cause, retry, .. } = &error else { panic!("{error:?}") };
        assert!(cause.starts_with(&format!("{expected} {path:?}: ")), "{cause}");
        assert_eq!(*retry, Retry::Soon);
    }
    write(&node, "late.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    assert_eq!(node.run(&request).await.0.code, 0);
    node.finish().await;
}

#[tokio::test]
async fn a_profile_is_nowhere_but_below_its_directory() {
    let node = node().await;
    write(&node, "a.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    let outside = node.path().join("outside.json");
    fs::copy(node.config.seccomp_profiles.join("a.json"), &outside).expect("copy");
    let link = node.config.seccomp_profiles.join("link.json");
    std::os::unix::fs::symlink(&outside, link).expect("link");
    for name in ["../outside.json", "link.json", &outside.display().to_string()] {
        let error = refused(&node, &with(node.request("main", &["true"]), name)).await;
        let error = error.to_string();
        assert!(error.contains("cannot load seccomp profile"), "{error}");
        assert!(error.ends_with("it leads out of the directory of profiles"), "{error}");
    }
    node.finish().await;
}
