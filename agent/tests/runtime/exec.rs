//! Commands beside a container's first process.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use mote_agent::runtime::{ExecOutcome, Runtime, RuntimeError, SandboxRequest, StartRequest};

use crate::node::Node;

async fn started(change: impl FnOnce(&mut StartRequest)) -> Node {
    let node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let mut request = node.request("main", &["sleep", "1000"]);
    change(&mut request);
    node.runtime.start(&request).await.expect("start");
    node
}

#[tokio::test]
async fn output_and_code_come_back() {
    let node = started(|_| {}).await;
    let outcome = node.exec("main", "echo out; echo err >&2; exit 7").await;
    assert_eq!(outcome, ExecOutcome { code: Some(7), output: b"out\nerr\n".into() });
    let mut request = node.exec_request("main", &["head", "-c", "100000", "/dev/zero"]);
    request.output_limit = 1000;
    let outcome = node.runtime.exec(&request).await.expect("exec");
    assert_eq!((outcome.code, outcome.output.len()), (Some(0), 1000));
    let outcome = node.exec("main", "kill -9 $$").await;
    assert_eq!(outcome.code, Some(137));
    let attempt = node.pod_dir().join("containers/main.0");
    let names = |directory: &Path| -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    let left = [names(&attempt), names(&attempt.join("state"))].concat();
    let litter = left.iter().filter(|name| name.contains("tenant-") || name.contains("exec"));
    assert_eq!(litter.count(), 0, "files of commands are left: {left:?}");
    node.finish().await;
}

#[tokio::test]
async fn a_command_has_the_containers_own_rights() {
    let node = started(|request| {
        request.image_user = "web".into();
        request.cwd = "/etc".into();
        request.env.push("A=1".into());
        request.rights.drop_capabilities = vec!["CHOWN".into()];
    })
    .await;
    let own = "id -u; id -g; id -G; pwd; echo $A; cat /proc/self/oom_score_adj; cat /proc/1/comm; \
               [ \"$(cat /proc/self/cgroup)\" = \"$(cat /proc/1/cgroup)\" ] && echo same; \
               grep -e CapBnd -e NoNewPrivs -e Seccomp: /proc/self/status | tr -d '\\t'";
    let outcome = node.exec("main", own).await;
    let text = String::from_utf8(outcome.output).unwrap();
    let expected = "33\n34\n34 40\n/etc\n1\n100\nsleep\nsame\n\
                    CapBnd:00000000a80425fa\nNoNewPrivs:0\nSeccomp:2\n";
    assert_eq!(text, expected);
    node.finish().await;
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed() {
    let node = started(|_| {}).await;
    let mut request = node.exec_request("main", &["sh", "-c", "echo begun; sleep 1000; true"]);
    request.timeout = Some(Duration::from_millis(500));
    let outcome = node.runtime.exec(&request).await.expect("exec");
    assert_eq!(outcome, ExecOutcome { code: None, output: b"begun\n".into() });
    let mut node = node;
    node.runtime.kill(&node.id("main")).await.expect("kill");
    let id = node.id("main");
    node.exit(&id).await;
    node.finish().await;
}

#[tokio::test]
async fn a_command_that_takes_too_long_takes_all_it_started_with_it_and_nothing_else() {
    let node = started(|request| {
        request.args = ["sh", "-c", "sleep 4713 & sleep 4713"].map(str::to_owned).into();
    })
    .await;
    let script = "(sleep 4714 & sleep 4714) & setsid sleep 4714 & sleep 4714 & echo begun; wait";
    let mut request = node.exec_request("main", &["sh", "-c", script]);
    request.timeout = Some(Duration::from_millis(700));
    let outcome = node.runtime.exec(&request).await.expect("exec");
    assert_eq!(outcome, ExecOutcome { code: None, output: b"begun\n".into() });
    let script = "while ps -o args | grep -q '[4]714'; do :; done; \
                  [ $(ps -o args | grep -c '[4]713') -ge 2 ] && echo alive";
    assert_eq!(node.exec("main", script).await.output, b"alive\n");
    node.finish().await;
}

/// Nothing takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until of a container's processes only so many are left.
async fn left(node: &Node, name: &str, number: usize) {
    let group = node.tree().container(&node.id(name));
    let few = async {
        while group.processes().unwrap().len() > number {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, few).await.expect("processes are left");
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_any_more_is_killed() {
    let node = started(|_| {}).await;
    let request = node.exec_request("main", &["sh", "-c", "setsid sleep 4716 & sleep 4716"]);
    // At any moment of its life.
    for wanted in [1, 2, 3] {
        let group = node.tree().container(&node.id("main"));
        let seen = async {
            while group.processes().unwrap().len() < wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = node.runtime.exec(&request) => panic!("it does not end by itself"),
            () = seen => {}
        }
        left(&node, "main", 1).await;
    }
    node.finish().await;
}

#[tokio::test]
async fn a_command_whose_agent_died_goes_on_and_ends_with_its_container() {
    let mut node = started(|_| {}).await;
    let before = Rc::clone(&node.runtime);
    let request = node.exec_request("main", &["sh", "-c", "echo begun > /dev/shm/a; sleep 4717"]);
    let begun = node.pod_dir().join("shm/a");
    let mut executed = Box::pin(before.exec(&request));
    let claimed = async {
        while !begun.exists() {
            tokio::task::yield_now().await;
        }
        // Meanwhile the agent has told `mote-pause` whose process that is.
        node.exec("main", "true").await;
        node.exec("main", "true").await;
    };
    tokio::select! {
        _ = &mut executed => panic!("it does not end by itself"),
        () = claimed => {}
    }
    // Until the next one has looked, the first does nothing any more, as if it were dead.
    node.reborn();
    node.pods().await;
    // What executed `true` may be there for another moment.
    left(&node, "main", 2).await;
    let group = node.tree().container(&node.id("main"));
    assert_eq!(
        group.processes().unwrap().len(),
        2,
        "the container's first process and the command"
    );
    node.runtime.kill(&node.id("main")).await.expect("kill");
    left(&node, "main", 0).await;
    drop(executed);
    node.finish().await;
}

#[tokio::test]
async fn what_a_container_leaves_in_shared_processes_ends_with_it() {
    let mut node = Node::new();
    let sandbox = SandboxRequest { share_process_namespace: true, ..node.sandbox() };
    node.runtime.create_sandbox(&sandbox).await.expect("sandbox");
    let script = "setsid sleep 4718 & while ! test -e /dev/shm/end; do sleep 0.01; done";
    let request = node.script("main", script);
    node.runtime.start(&request).await.expect("start");
    let command = node.exec_request("main", &["sh", "-c", "touch /dev/shm/end; sleep 4718"]);
    let runtime = Rc::clone(&node.runtime);
    let both = async { tokio::join!(runtime.exec(&command), node.exit(&request.id)) };
    let both = tokio::time::timeout(PATIENCE, both).await;
    let (outcome, exit) = both.expect("the command lives on");
    drop(runtime);
    assert_eq!((outcome.expect("exec").code, exit.code), (Some(137), 0));
    left(&node, "main", 0).await;
    node.finish().await;
}

#[tokio::test]
async fn many_commands_leave_nothing_behind() {
    let node = started(|_| {}).await;
    node.exec("main", "true").await;
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let attempt = node.pod_dir().join("containers/main.0");
    let files = || fs::read_dir(&attempt).unwrap().count();
    let (fds, names) = (open(), files());
    // More than mote-pause remembers.
    for _ in 0..100 {
        assert_eq!(node.exec("main", "exit 1").await.code, Some(1));
    }
    // Other tests of this program open and close files meanwhile.
    assert!(open() < fds + 100, "open files are left");
    assert_eq!(files(), names, "files are left");
    let group = node.tree().container(&node.id("main"));
    // The last helper may still be on its way out.
    while group.processes().unwrap().len() > 1 {
        tokio::task::yield_now().await;
    }
    node.finish().await;
}

#[tokio::test]
async fn what_nobody_keeps_does_not_hold_a_command_up() {
    let node = started(|_| {}).await;
    let script = "head -c 3000000 /dev/zero; echo end >&2; exit 5";
    let mut request = node.exec_request("main", &["sh", "-c", script]);
    request.output_limit = 10;
    let outcome = node.runtime.exec(&request).await.expect("exec");
    assert_eq!(outcome, ExecOutcome { code: Some(5), output: vec![0; 10] });
    // A pipe that nobody reads ends whoever writes to it.
    let outcome = node.exec("main", "(sleep 0; while echo x; do :; done) | true; echo done").await;
    assert_eq!(outcome.output, b"done\n");
    node.finish().await;
}

#[tokio::test]
async fn commands_do_not_disturb_each_other() {
    let node = started(|_| {}).await;
    let scripts = ["echo 1", "echo 2", "echo 3", "echo 4"];
    let [one, two, three, four] = scripts.map(|script| node.exec("main", script));
    let outcomes = tokio::join!(one, two, three, four);
    for (number, outcome) in [outcomes.0, outcomes.1, outcomes.2, outcomes.3].iter().enumerate() {
        let text = format!("{}\n", number + 1);
        assert_eq!((outcome.code, &outcome.output[..]), (Some(0), text.as_bytes()));
    }
    node.finish().await;
}

#[tokio::test]
async fn a_command_whose_time_was_over_before_it_began_is_ended() {
    let node = started(|_| {}).await;
    let mut request = node.exec_request("main", &["sleep", "4712"]);
    request.timeout = Some(Duration::ZERO);
    let outcome = node.runtime.exec(&request).await.expect("exec");
    assert_eq!(outcome.code, None);
    // The container's own process is 1; a command that still ran would be another `sleep`.
    let script = "while ps -o args | grep -q '[4]712'; do :; done; echo gone";
    assert_eq!(node.exec("main", script).await.output, b"gone\n");
    node.finish().await;
}

#[tokio::test]
async fn what_a_command_left_behind_prints_does_not_hold_up_its_end() {
    let node = started(|_| {}).await;
    for script in ["while :; do echo; done & exit 4", "while :; do echo; sleep 0.05; done & exit 4"]
    {
        assert_eq!(node.exec("main", script).await.code, Some(4), "{script}");
    }
    node.finish().await;
}

#[tokio::test]
async fn what_cannot_be_executed_says_why() {
    let mut node = started(|_| {}).await;
    let request = node.exec_request("main", &["nonesuch"]);
    let error = node.runtime.exec(&request).await.expect_err("no such program").to_string();
    assert!(error.ends_with("executable `nonesuch` is not in the image's PATH"), "{error}");
    let request = node.exec_request("main", &["/orphan"]);
    let error = node.runtime.exec(&request).await.expect_err("no interpreter").to_string();
    assert!(error.ends_with("its interpreter or loader is not in the image"), "{error}");
    let id = node.id("main");
    node.runtime.kill(&id).await.expect("kill");
    node.exit(&id).await;
    let request = node.exec_request("main", &["true"]);
    let error = node.runtime.exec(&request).await.expect_err("it has ended");
    assert!(matches!(error, RuntimeError::NotRunning { .. }), "{error}");
    node.finish().await;
}
