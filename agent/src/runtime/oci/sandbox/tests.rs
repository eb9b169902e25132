//! The agent's side against the real program; as root, like the agent.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;

use mote_pause::wire::{Failure, Name, UserRange};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;

/// A pod's directory, the program, and what its sandbox tells.
struct Pod {
    dir: TempDir,
    program: Program,
    events: mpsc::UnboundedReceiver<SandboxEvent>,
    to: mpsc::UnboundedSender<SandboxEvent>,
}

impl Pod {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = Program::extract(dir.path()).unwrap();
        let (to, events) = mpsc::unbounded_channel();
        Self { dir, program, events, to }
    }

    fn on_event(&self) -> impl FnMut(SandboxEvent) + Send + use<> {
        let to = self.to.clone();
        move |event| {
            let _ = to.send(event);
        }
    }

    async fn start(&self) -> Sandbox {
        Sandbox::start(&self.program, self.dir.path(), &[], self.on_event()).await.unwrap()
    }

    async fn adopt(&self) -> Sandbox {
        Sandbox::adopt(self.dir.path(), self.on_event()).await.unwrap()
    }

    async fn exit_of(&mut self, pid: u32) -> Exit {
        loop {
            match self.events.recv().await.unwrap() {
                SandboxEvent::Exited(exit) if exit.pid == pid => return exit,
                SandboxEvent::Died | SandboxEvent::Lost => panic!("the sandbox went away"),
                _ => {}
            }
        }
    }
}

fn key(name: &str) -> Key {
    Key { name: Name::new(name).unwrap(), attempt: 0 }
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// Runs a script whose output comes back through its file descriptor 3.
async fn shell(sandbox: &Sandbox, script: &str) -> (u32, File) {
    let (from, to) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let shell = File::open("/bin/sh").unwrap();
    let helper = Helper {
        key: key("web"),
        program: shell.as_fd(),
        args: &["sh", "-c", script],
        env: &["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        cgroups: &[],
        fds: &[(3, to.as_fd())],
        log: None,
    };
    (sandbox.run(&helper).await.unwrap(), from.into())
}

/// A process that stays when its helper ends.
async fn container(pod: &mut Pod, sandbox: &Sandbox) -> u32 {
    let (helper, mut said) = shell(sandbox, "sleep 1000 3>&- & echo $! >&3").await;
    let mut pid = String::new();
    said.read_to_string(&mut pid).unwrap();
    assert_eq!(pod.exit_of(helper).await.code(), Some(0));
    pid.trim().parse().unwrap()
}

#[tokio::test]
async fn a_pod_from_start_to_end() {
    let mut pod = Pod::new();
    let mut sandbox = pod.start().await;
    assert_eq!((sandbox.namespaces(), sandbox.namespace(Namespace::Net)), (Namespaces::NONE, None));
    let namespaces = Namespaces::NONE.with(Namespace::Net).with(Namespace::Uts);
    sandbox.unshare(&Unshare { namespaces, users: None, hostname: b"web-0" }).await.unwrap();
    let net = sandbox.namespace(Namespace::Net).unwrap();

    let script = format!("nsenter --net={} ip -o addr show lo >&3; exit 5", net.display());
    let (pid, mut said) = shell(&sandbox, &script).await;
    let mut addresses = String::new();
    said.read_to_string(&mut addresses).unwrap();
    assert!(addresses.contains("127.0.0.1/8"), "{addresses}");
    let exit = pod.exit_of(pid).await;
    assert_eq!((exit.code(), exit.role), (Some(5), Role::Helper));

    let web = container(&mut pod, &sandbox).await;
    sandbox.watch(key("web"), Role::Container, web).await.unwrap();
    assert_eq!(sandbox.list().await.unwrap().alive, [(key("web"), Role::Container, web)]);
    let refused = sandbox.shut_down().await.unwrap_err();
    assert!(matches!(refused, SandboxError::Refused { failure: Failure::Alive, source: None }));
    kill(web);
    assert_eq!(pod.exit_of(web).await.signal(), Some(9));
    sandbox.shut_down().await.unwrap();
    assert_eq!(pod.events.recv().await, Some(SandboxEvent::Died));
    assert!(matches!(sandbox.list().await, Err(SandboxError::Gone)));
}

#[tokio::test]
async fn the_next_agent_learns_what_happened_meanwhile() {
    let mut pod = Pod::new();
    let first = pod.start().await;
    let (web, db) = (container(&mut pod, &first).await, container(&mut pod, &first).await);
    first.watch(key("web"), Role::Container, web).await.unwrap();
    first.watch(key("db"), Role::Container, db).await.unwrap();
    let pid = first.pid();
    drop(first);

    kill(web);
    let second = pod.adopt().await;
    assert_eq!(second.pid(), pid);
    // Dead already or dying before our eyes: the list and the events together tell it once at
    // least.
    let listed = second.list().await.unwrap().exits.into_iter().find(|exit| exit.pid == web);
    let exit = match listed {
        Some(exit) => exit,
        None => pod.exit_of(web).await,
    };
    assert_eq!((exit.key, exit.signal()), (Some(key("web")), Some(9)));
    assert_eq!(kept_exits(pod.dir.path()).unwrap(), [exit]);
    assert_eq!(second.list().await.unwrap().alive, [(key("db"), Role::Container, db)]);
    kill(db);
    pod.exit_of(db).await;
    second.shut_down().await.unwrap();
}

#[tokio::test]
async fn the_death_of_a_sandbox_is_noticed_and_its_exits_are_kept() {
    let mut pod = Pod::new();
    let sandbox = pod.start().await;
    let web = container(&mut pod, &sandbox).await;
    sandbox.watch(key("web"), Role::Container, web).await.unwrap();
    kill(web);
    let exit = pod.exit_of(web).await;
    kill(sandbox.pid());
    assert_eq!(pod.events.recv().await, Some(SandboxEvent::Died));
    assert!(matches!(sandbox.list().await, Err(SandboxError::Gone)));
    assert_eq!(kept_exits(pod.dir.path()).unwrap(), [exit]);
    let error = Sandbox::adopt(pod.dir.path(), |_| {}).await.err().unwrap();
    assert!(error.to_string().starts_with("connect to mote-pause in `"), "{error}");
}

/// A sandbox lets the newest agent in and hangs up on the oldest. Time is paused: nobody waits to
/// see whether it dies.
#[tokio::test(start_paused = true)]
async fn a_sandbox_that_hung_up_is_adopted_again() {
    let mut pod = Pod::new();
    let first = pod.start().await;
    let others: Vec<_> = (0..4).map(|_| connect(&pod.dir.path().join(SOCKET)).unwrap()).collect();
    assert_eq!(pod.events.recv().await, Some(SandboxEvent::Lost));
    assert!(matches!(first.list().await, Err(SandboxError::Gone)));
    let again = pod.adopt().await;
    assert_eq!(again.pid(), first.pid());
    drop(others);
    again.shut_down().await.unwrap();
}

#[tokio::test]
async fn whoever_asks_a_dying_sandbox_is_answered() {
    let pod = Pod::new();
    let sandbox = pod.start().await;
    kill(sandbox.pid());
    assert!(matches!(sandbox.list().await, Err(SandboxError::Gone)));
}

#[tokio::test]
async fn many_may_ask_at_the_same_time() {
    let pod = Pod::new();
    let sandbox = pod.start().await;
    let asked = (1..=100).map(|pid| {
        let sandbox = &sandbox;
        async move {
            let refused = sandbox.watch(key("web"), Role::Exec, pid).await.unwrap_err();
            assert!(matches!(refused, SandboxError::Refused { failure: Failure::NoChild, .. }));
        }
    });
    let mut all = std::pin::pin!(join(asked.collect()));
    all.as_mut().await;
    sandbox.shut_down().await.unwrap();
}

/// Polls all of them until all are done.
async fn join<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn failures_name_their_cause() {
    let pod = Pod::new();
    let nowhere = [PathBuf::from("/nonexistent/cgroup.procs")];
    let error = Sandbox::start(&pod.program, pod.dir.path(), &nowhere, |_| {}).await.err().unwrap();
    assert_eq!(error.to_string(), "mote-pause could not enter its cgroup");
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.to_string().starts_with("No such file or directory"), "{cause}");

    let mut sandbox = pod.start().await;
    let users = Some(UserRange { first: u32::MAX - 10, count: 5 });
    let namespaces = Namespaces::NONE.with(Namespace::User);
    sandbox.unshare(&Unshare { namespaces, users, hostname: b"" }).await.unwrap();
    let again = sandbox.unshare(&Unshare { namespaces, users, hostname: b"" }).await.unwrap_err();
    assert_eq!(again.to_string(), "mote-pause could not create namespaces a second time");
    sandbox.shut_down().await.unwrap();
}

/// A pause that a newer agent started: whatever it is asked, it answers in its own version.
fn newer_pause(dir: &Path) -> std::thread::JoinHandle<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    net::bind(&socket, &SocketAddrUnix::new(dir.join(SOCKET)).unwrap()).unwrap();
    net::listen(&socket, 1).unwrap();
    std::thread::spawn(move || {
        let agent = net::accept(&socket).unwrap();
        let mut asked = [0; 64];
        let (len, _) = net::recv(&agent, &mut asked[..], net::RecvFlags::empty()).unwrap();
        assert_eq!(asked[..len], [1, 1, 1, 0], "it is asked who it is");
        let refused = [2, 4, 1, 0, Failure::Version as u8, 0, 0];
        net::send(&agent, &refused, net::SendFlags::empty()).unwrap();
        // Until the agent hangs up.
        let _ = net::recv(&agent, &mut asked[..], net::RecvFlags::empty());
    })
}

#[tokio::test]
async fn a_pause_of_a_newer_agent_is_left_alone_and_named() {
    let pod = Pod::new();
    let pause = newer_pause(pod.dir.path());
    let adopted = Sandbox::adopt(pod.dir.path(), pod.on_event()).await;
    let error = adopted.err().expect("nobody can work with it");
    assert!(matches!(error, SandboxError::Version { found: 2 }), "{error:?}");
    assert_eq!(error.to_string(), "mote-pause speaks version 2, this agent 1: it is left alone");
    assert!(error.is_passing(), "whoever takes it for dead kills its pod");
    pause.join().unwrap();
}
