//! Probes and hooks against real containers: in their namespaces, with their programs.

use std::rc::Rc;
use std::time::Duration;

use mote_agent::handler::{Handlers, HookDone, HookError, NodeHandlers, Outcome, Target};
use mote_agent::pod::handler::{Handler, HttpGet, Port};
use mote_agent::runtime::Runtime;

use super::node::Node;

/// Nothing takes this long, however loaded the machine is.
const LIMIT: Duration = Duration::from_mins(1);

/// A container that serves one file on port 80 of its pod.
const SERVER: &str = "echo well > /tmp/health && httpd -p 127.0.0.1:80 -h /tmp && \
                      echo serving && sleep 1000";

fn exec(script: &str) -> Handler {
    Handler::Exec(["sh", "-c", script].map(str::to_owned).into())
}

fn get(path: &str) -> Handler {
    let (host, path) = (String::new(), path.to_owned());
    Handler::Http(HttpGet { host, port: Port::Number(80), path, https: false, headers: vec![] })
}

fn tcp(port: Port) -> Handler {
    Handler::Tcp { host: String::new(), port }
}

fn target(node: &Node) -> Target {
    Target { id: node.id("main"), host_network: false, address: None }
}

#[tokio::test]
async fn probes_reach_into_the_container() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("a sandbox");
    node.runtime.start(&node.script("main", SERVER)).await.expect("start");
    let (id, target) = (node.id("main"), target(&node));
    node.log_line(&id, "serving").await;
    let handlers = NodeHandlers::new(Rc::clone(&node.runtime));
    let probe = async |handler: &Handler, limit| handlers.probe(&target, handler, limit).await;
    let failure = |text: &str| Outcome::Failure(text.to_owned());
    // The pod's loopback, on which the test itself hears nobody.
    assert_eq!(probe(&get("/health"), LIMIT).await, Outcome::Success);
    let missing = failure("HTTP probe failed with statuscode: 404");
    assert_eq!(probe(&get("/nonesuch"), LIMIT).await, missing);
    assert_eq!(probe(&tcp(Port::Number(80)), LIMIT).await, Outcome::Success);
    let refused = failure("dial tcp 127.0.0.1:81: connect: connection refused");
    assert_eq!(probe(&tcp(Port::Number(81)), LIMIT).await, refused);
    let unknown = Outcome::Errored("port web not found".into());
    assert_eq!(probe(&tcp(Port::Unknown("web".into())), LIMIT).await, unknown);
    // The container's files.
    let script = "grep -q well /tmp/health";
    assert_eq!(probe(&exec(script), LIMIT).await, Outcome::Success);
    assert_eq!(probe(&exec("while :; do echo; done & exit 0"), LIMIT).await, Outcome::Success);
    let sick = probe(&exec("echo sick; echo very >&2; exit 3"), LIMIT).await;
    assert_eq!(sick, failure("sick\nvery\n"));
    let Outcome::Failure(long) =
        probe(&exec("head -c 100000 /dev/zero | tr '\\0' x; false"), LIMIT).await
    else {
        panic!("no failure");
    };
    assert_eq!(long.len(), 10 * 1024);
    let late = probe(&exec("echo begun; sleep 1000"), Duration::from_millis(500)).await;
    assert_eq!(late, failure("command timed out"));
    let absent = probe(&Handler::Exec(vec!["nonesuch".into()]), LIMIT).await;
    assert!(matches!(&absent, Outcome::Errored(text) if text.contains("PATH")), "{absent:?}");
    node.runtime.kill(&id).await.expect("kill");
    node.exit(&id).await;
    let ended = probe(&exec("true"), LIMIT).await;
    assert_eq!(ended, Outcome::Errored("container `main` is not running".into()));
    drop(handlers);
    node.finish().await;
}

#[tokio::test]
async fn hooks_run_in_the_container() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("a sandbox");
    node.runtime.start(&node.script("main", SERVER)).await.expect("start");
    let (id, target) = (node.id("main"), target(&node));
    node.log_line(&id, "serving").await;
    let handlers = NodeHandlers::new(Rc::clone(&node.runtime));
    let hook = async |handler: &Handler| handlers.hook(&target, handler).await;
    assert_eq!(hook(&exec("echo done > /tmp/hooked")).await, Ok(HookDone::AsAsked));
    assert_eq!(hook(&get("/hooked")).await, Ok(HookDone::AsAsked));
    assert_eq!(
        hook(&get("/nonesuch")).await,
        Ok(HookDone::AsAsked),
        "hooks do not care for the status"
    );
    assert_eq!(hook(&Handler::Sleep(Duration::from_millis(1))).await, Ok(HookDone::AsAsked));
    let failed = hook(&exec("echo no; exit 7")).await.expect_err("exit 7");
    assert_eq!(failed.to_string(), "command 'sh -c echo no; exit 7' exited with 7");
    assert_eq!(failed.output(), "no\n");
    let invalid = HookError::Invalid { handler: "tcpSocket" };
    assert_eq!(hook(&tcp(Port::Number(80))).await, Err(invalid));
    node.runtime.kill(&id).await.expect("kill");
    node.exit(&id).await;
    drop(handlers);
    node.finish().await;
}
