//! Both ends of the socket, with a steward that always says the same.

use std::os::unix::fs::PermissionsExt;

use mote_protocol::name::{Kind, Namespace, ObjectKey, ObjectName, Uid};
use mote_protocol::status::{
    ConditionCause, ContainerRole, ContainerState, ContainerStatus, Phase, Terminated,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use super::server::Server;
use super::*;
use crate::image::{Amount, Imported, Swept, Verified};
use crate::steward::{ImageOrder, LocalRequest, PodDetail, PodView};

fn container(name: &str, role: ContainerRole, state: ContainerState) -> ContainerStatus {
    let flags = ContainerStatus::pack(role, matches!(state, ContainerState::Running { .. }), true);
    ContainerStatus { name: name.into(), flags, restarts: 2, state, ..ContainerStatus::default() }
}

fn status(phase: Phase, states: Vec<(ContainerRole, ContainerState)>) -> PodStatus {
    let containers = states
        .into_iter()
        .enumerate()
        .map(|(n, (role, state))| container(&format!("c{n}"), role, state));
    PodStatus {
        uid: Some(Uid([0xab; 16])),
        phase,
        started: 1000,
        containers: containers.collect(),
        ..PodStatus::default()
    }
}

fn running() -> ContainerState {
    ContainerState::Running { since: 5 }
}

fn waiting(reason: &str) -> ContainerState {
    ContainerState::Waiting { reason: reason.into(), message: "no \u{1b}[2J way".into() }
}

fn view() -> PodView {
    let key = ObjectKey {
        kind: Kind::Pod,
        namespace: Namespace::new("default").expect("valid"),
        name: ObjectName::new("web").expect("valid"),
    };
    let app = ContainerRole::App;
    PodView {
        key,
        status: status(Phase::Running, vec![(app, running()), (app, waiting("CrashLoopBackOff"))]),
    }
}

/// Every pull hangs for ever, everything else is done at once.
fn obey(order: ImageOrder) {
    match order {
        ImageOrder::Pull { mut answer, .. } => {
            spawn_local(async move { answer.closed().await });
        }
        ImageOrder::Export { answer, .. } => drop(answer.send(Ok(0))),
        ImageOrder::Verify { answer } => drop(answer.send(Ok(Verified::default()))),
        ImageOrder::Import { answer, .. } => drop(answer.send(Ok(Imported::default()))),
        ImageOrder::Remove { answer, .. } | ImageOrder::Prune { answer } => {
            let freed = Amount { bytes: 7, inodes: 1 };
            drop(answer.send(Ok(Swept { freed, ..Swept::default() })));
        }
    }
}

async fn steward(mut requests: mpsc::UnboundedReceiver<LocalRequest>) {
    while let Some(request) = requests.recv().await {
        match request {
            LocalRequest::Pods(answer) => drop(answer.send(vec![view()])),
            LocalRequest::Pod { name, answer, .. } => {
                let found = (name.as_str() == "web").then(|| PodDetail {
                    view: view(),
                    pod: None,
                    events: vec![Event { reason: "Pulled".into(), ..Event::default() }],
                });
                drop(answer.send(found));
            }
            LocalRequest::ImageNews(_)
            | LocalRequest::Devices(_)
            | LocalRequest::StaticPods(_)
            | LocalRequest::LocksChanged => unreachable!("nobody asks for it by the socket"),
            LocalRequest::Images(answer) => drop(answer.send(Ok(Vec::new()))),
            LocalRequest::Order(order) => obey(order),
            LocalRequest::KeepEvents(answer) => drop(answer.send(())),
            LocalRequest::Events { answer, .. } => drop(answer.send(Vec::new())),
            LocalRequest::Usage(answer) => drop(answer),
            LocalRequest::Metrics(answer) => drop(answer),
            LocalRequest::Standing(answer) => drop(answer.send(Standing::default())),
            LocalRequest::Exec { answer, .. } => {
                let why = "no such container".to_owned();
                drop(answer.send(Err(crate::logs::Refused::not_found(why))));
            }
            LocalRequest::Log { answer, .. } => {
                let why = "no such container".to_owned();
                drop(answer.send(Err(crate::logs::Refused::bad_request(why))));
            }
        }
    }
}

/// Runs a test against a server with a socket of its own.
fn with_server<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F) {
    let directory: TempDir = tempfile::tempdir().expect("temporary directory");
    let path = socket(directory.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("one");
    LocalSet::new().block_on(&runtime, async {
        let (sender, receiver) = mpsc::unbounded_channel();
        let server = Server::bind(&path, sender).expect("bound");
        spawn_local(steward(receiver));
        spawn_local(server.run());
        test(path.clone()).await;
    });
}

async fn ask(path: &Path, bytes: &[u8]) -> Option<Answer> {
    let mut stream = UnixStream::connect(path).await.expect("the server listens");
    stream.write_all(bytes).await.expect("taken");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    postcard::from_bytes(answer.get(4..)?).ok()
}

#[test]
fn every_question_has_its_answer() {
    with_server(|path| async move {
        let pod =
            |name: &str| Question::Pod { namespace: "default".to_owned(), name: name.to_owned() };
        let facts = PodFacts::from(view());
        let asked = encode(&Question::Pods).expect("encodes");
        assert_eq!(ask(&path, &asked).await, Some(Answer::Pods(vec![facts])));
        let asked = encode(&pod("web")).expect("encodes");
        assert!(matches!(ask(&path, &asked).await, Some(Answer::Pod(Some(_)))));
        for name in ["other", "../web", ""] {
            let asked = encode(&pod(name)).expect("encodes");
            assert_eq!(ask(&path, &asked).await, Some(Answer::Pod(None)), "{name:?}");
        }
        let asked = encode(&Question::Images).expect("encodes");
        assert_eq!(ask(&path, &asked).await, Some(Answer::Images(Vec::new())));
        let asked = encode(&Question::Events).expect("encodes");
        assert_eq!(ask(&path, &asked).await, Some(Answer::Events(Vec::new())));
        let asked = encode(&Question::Standing).expect("encodes");
        let standing = Answer::Standing(VERSION.to_owned(), Standing::default());
        assert_eq!(ask(&path, &asked).await, Some(standing));
        let log = |container: &str| Question::Log {
            namespace: "default".to_owned(),
            pod: "web".to_owned(),
            container: container.to_owned(),
            selection: LogSelection::default(),
        };
        let asked = encode(&log("main")).expect("encodes");
        let refused = Answer::Failed("no such container".to_owned());
        assert_eq!(ask(&path, &asked).await, Some(refused));
        let asked = encode(&log("../main")).expect("encodes");
        assert!(matches!(ask(&path, &asked).await, Some(Answer::Failed(_))));
    });
}

#[test]
fn orders_are_bounded_and_hold_up_no_question() {
    use mote_protocol::image::ImageWork;

    use super::images::{Done, Order};
    with_server(|path| async move {
        let order = |order: Order| encode(&Question::Order(order)).expect("encodes");
        let removed = ImageWork::Removed { images: Vec::new(), names: Vec::new(), freed: 7 };
        let done = Done::Work(removed);
        assert_eq!(ask(&path, &order(Order::Prune)).await, Some(Answer::Done(done)));
        let mut hanging = Vec::new();
        for _ in 0..4 {
            let mut stream = UnixStream::connect(&path).await.expect("the server listens");
            stream.write_all(&order(Order::Pull("a:1".to_owned()))).await.expect("taken");
            hanging.push(stream);
        }
        let refused = ask(&path, &order(Order::Prune)).await;
        assert_eq!(refused, Some(Answer::Failed("4 others wait for images already".to_owned())));
        let asked = encode(&Question::Images).expect("encodes");
        assert_eq!(ask(&path, &asked).await, Some(Answer::Images(Vec::new())));
        // Whoever leaves gives its place free, and nobody works for it any more.
        drop(hanging);
        while matches!(ask(&path, &order(Order::Prune)).await, Some(Answer::Failed(_))) {}
    });
}

#[test]
fn bad_questions_end_with_their_connection() {
    with_server(|path| async move {
        let failed = |answer: Option<Answer>| matches!(answer, Some(Answer::Failed(_)));
        assert!(failed(ask(&path, &[1, 0, 0, 0, 99]).await), "an unknown question");
        assert!(failed(ask(&path, &[0, 0, 0, 0]).await), "no question");
        assert_eq!(ask(&path, &[0xff; 4]).await, None, "a question of 4 GiB");
        // More connections than are served at a time, which say nothing and leave.
        for _ in 0..20 {
            drop(UnixStream::connect(&path).await.expect("the server listens"));
        }
        let asked = encode(&Question::Events).expect("encodes");
        assert_eq!(ask(&path, &asked).await, Some(Answer::Events(Vec::new())));
    });
}

#[test]
fn the_socket_is_roots_alone_and_replaces_an_old_one() {
    with_server(|path| async move {
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (sender, _receiver) = mpsc::unbounded_channel();
        Server::bind(&path, sender).expect("an old socket is in nobody's way");
    });
}

#[test]
fn pods_are_told_in_the_columns_of_kubectl() {
    let mut pods = vec![PodFacts::from(view())];
    pods.push(PodFacts {
        namespace: "kube-system".to_owned(),
        name: "x".to_owned(),
        status: status(Phase::Succeeded, Vec::new()),
    });
    assert_eq!(
        pods::render(&pods, false, 1200),
        "NAMESPACE     NAME   READY   STATUS             RESTARTS   AGE\n\
         default       web    1/2     CrashLoopBackOff   4          3m20s\n\
         kube-system   x      0/0     Succeeded          0          3m20s\n"
    );
    let wide = pods::render(&pods, true, 1200);
    assert!(wide.contains("<none>   abababab-abab-abab-abab-abababababab\n"), "{wide}");
}

#[test]
fn the_last_restart_is_told_by_its_age() {
    let mut facts = PodFacts::from(view());
    for (container, finished) in facts.status.containers.iter_mut().zip([30, 140]) {
        container.last = Some(Terminated { finished, ..Terminated::default() });
    }
    let table = pods::render(&[facts], false, 1200);
    assert!(table.contains("   4 (60s ago)   3m20s\n"), "{table}");
}

#[test]
fn one_word_tells_what_keeps_a_pod_from_running() {
    use ContainerRole::{App, Init, Sidecar};
    let ended = |code, reason: &str| {
        let (exit_code, reason) = (code, reason.into());
        ContainerState::Terminated(Terminated { exit_code, reason, ..Default::default() })
    };
    let table = [
        (Phase::Pending, vec![(App, waiting("ContainerCreating"))], "ContainerCreating"),
        (Phase::Pending, vec![(Init, running()), (App, waiting("PodInitializing"))], "Init:0/1"),
        (Phase::Pending, vec![(Init, ended(0, "Completed")), (Init, running())], "Init:1/2"),
        (Phase::Pending, vec![(Sidecar, running()), (Init, running())], "Init:1/2"),
        (Phase::Pending, vec![(Init, waiting("ErrImagePull"))], "Init:ErrImagePull"),
        (Phase::Running, vec![(App, running())], "Running"),
        (Phase::Running, vec![(App, running()), (App, ended(0, "Completed"))], "NotReady"),
        (
            Phase::Running,
            vec![(App, waiting("CrashLoopBackOff")), (App, ended(0, "Completed"))],
            "CrashLoopBackOff",
        ),
        (
            Phase::Failed,
            vec![(Init, ended(2, "Error")), (App, waiting("PodInitializing"))],
            "Init:Error",
        ),
        (Phase::Succeeded, vec![(App, ended(0, "Completed"))], "Completed"),
        (Phase::Failed, vec![(App, ended(3, "Error"))], "Error"),
        (Phase::Failed, vec![(App, ended(137, "OOMKilled"))], "OOMKilled"),
        (Phase::Failed, vec![(App, ended(3, ""))], "ExitCode:3"),
    ];
    for (phase, states, expected) in table {
        assert_eq!(pods::word(&status(phase, states)), expected);
    }
    let deleting = PodStatus { deleting: Some(30), ..status(Phase::Running, Vec::new()) };
    assert_eq!(pods::word(&deleting), "Terminating");
}

#[test]
fn a_description_has_everything_and_no_control_characters() {
    let events = vec![Event {
        reason: "Failed".into(),
        message: "bad\u{7} bell\nand more\n".into(),
        count: 3,
        first: 1000,
        last: 1190,
        ..Event::default()
    }];
    let mut facts = PodFacts::from(view());
    let last = Terminated {
        reason: "Error".into(),
        exit_code: 3,
        started: 4,
        finished: 5,
        message: "one\ntwo\n".into(),
    };
    facts.status.containers.iter_mut().for_each(|container| container.last = Some(last.clone()));
    let cause = |condition: &str| ConditionCause {
        condition: condition.into(),
        reason: "Why".into(),
        message: "as is".into(),
    };
    facts.status.causes = [cause("Ready"), cause("ImageMayBeStale")].into_iter().collect();
    let description = PodDescription { facts, pod: None, events };
    let text = describe::pod(&description, 1200);
    for part in [
        "Name:        web\n",
        "UID:         abababab",
        "Status:      CrashLoopBackOff\n",
        "  PodScheduled                False\n",
        "  Ready                       False    Why as is\n",
        "  ImageMayBeStale             True     Why as is\n",
        "    State:      Running for 3m15s\n",
        "    State:      Waiting CrashLoopBackOff no \\u{1b}[2J way\n",
        "  10s (x3 over 3m20s)   Normal   Failed   node     bad\\u{7} bell and more\n",
        "    Last state: Terminated Error, exit code 3, after 1s one\n                two\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(text.chars().all(|character| character == '\n' || !character.is_control()));
}

#[test]
fn a_refused_pod_has_no_age() {
    let refusal = mote_protocol::status::Refusal {
        seen: mote_protocol::object::Revision::default(),
        reason: "Unsupported".into(),
        field: "spec.a".into(),
        message: "no".into(),
    };
    let status = PodStatus { refusal: Some(refusal), ..PodStatus::default() };
    let facts = PodFacts { namespace: "default".into(), name: "web".into(), status };
    let table = pods::render(&[facts], false, 2_000_000);
    let row = table.lines().last().expect("a row");
    assert!(row.contains("Refused:Unsupported") && row.ends_with("<unknown>"), "{table}");
}
