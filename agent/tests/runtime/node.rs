//! A node of a test's own: directories, cgroups, one image, and the events it hears.
#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test, in several files")]

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mote_agent::runtime::oci::cgroup::{Group, Tree};
use mote_agent::runtime::oci::{OciConfig, OciRuntime};
use mote_agent::runtime::{
    ContainerId, ExecOutcome, ExecRequest, Exit, HostNamespaces, Limits, ObservedPod,
    ObservedState, Origin, Rights, Runtime, RuntimeError, RuntimeEvent, SandboxRequest,
    StartRequest, TerminationMessage,
};
use mote_protocol::name::{Namespace, ObjectName, Uid};
use rustix::fs::inotify;
use tempfile::TempDir;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Nothing takes this long, however loaded the machine is.
const PATIENCE: Duration = Duration::from_mins(1);

/// A static busybox: all an image needs.
const BUSYBOX: &str = "/usr/bin/busybox";

const APPLETS: [&str; 30] = [
    "sh", "true", "false", "sleep", "cat", "echo", "id", "env", "pwd", "ls", "mount", "hostname",
    "kill", "wget", "httpd", "grep", "dd", "touch", "ps", "tr", "head", "wc", "mknod", "ip",
    "stat", "rm", "mv", "ln", "printf", "setsid",
];

pub struct Node {
    pub runtime: Rc<OciRuntime>,
    pub config: OciConfig,
    pub uid: Uid,
    /// Its pod has users of its own.
    pub own_users: bool,
    events: mpsc::Receiver<RuntimeEvent>,
    dir: TempDir,
}

impl Node {
    pub fn new() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::tempdir().expect("a directory");
        let config = OciConfig {
            run: dir.path().join("run"),
            state: dir.path().join("state"),
            cgroup_root: format!("mote-test-{}-{number}", std::process::id()),
            executable: executable(),
            seccomp_profiles: dir.path().join("seccomp"),
            ..OciConfig::default()
        };
        make_layer(&dir.path().join("layers/base"));
        let (events, runtime) = runtime(&config);
        let uid = Uid::from_random([number; 16]);
        Self { runtime, config, uid, own_users: false, events, dir }
    }

    /// Forgets everything, as an agent that was killed does, and begins anew.
    pub fn reborn(&mut self) {
        (self.events, self.runtime) = runtime(&self.config);
    }

    pub fn sandbox(&self) -> SandboxRequest {
        SandboxRequest {
            uid: self.uid,
            origin: Origin {
                namespace: Namespace::new("default").unwrap(),
                name: ObjectName::new("pod-name").unwrap(),
                containers: Vec::new(),
            },
            hostname: "pod-name".into(),
            host: HostNamespaces::default(),
            share_process_namespace: false,
            own_users: self.own_users,
            ports: Vec::new(),
            limits: Limits::default(),
        }
    }

    pub fn id(&self, name: &str) -> ContainerId {
        ContainerId { pod: self.uid, name: name.into(), attempt: 0 }
    }

    pub fn request(&self, name: &str, args: &[&str]) -> StartRequest {
        StartRequest {
            mounts: Vec::new(),
            files: Vec::new(),
            devices: Vec::new(),
            sysctls: Vec::new(),
            id: self.id(name),
            tag: format!("tag of {name}"),
            layers: vec![self.dir.path().join("layers/base")],
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            image_user: String::new(),
            rights: Rights::default(),
            own_users: self.own_users,
            limits: Limits::default(),
            oom_score_adj: 100,
            tty: false,
            termination_message: TerminationMessage::default(),
        }
    }

    pub fn script(&self, name: &str, script: &str) -> StartRequest {
        self.request(name, &["sh", "-c", script])
    }

    pub async fn exec(&self, name: &str, script: &str) -> ExecOutcome {
        let request = self.exec_request(name, &["sh", "-c", script]);
        self.runtime.exec(&request).await.expect("exec")
    }

    pub fn exec_request(&self, name: &str, args: &[&str]) -> ExecRequest {
        ExecRequest {
            id: self.id(name),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            timeout: None,
            output_limit: 65_536,
        }
    }

    /// Runs a container to its end; returns how it ended and what it printed.
    pub async fn run(&mut self, request: &StartRequest) -> (Exit, String) {
        self.runtime.start(request).await.expect("start");
        let exit = self.exit(&request.id).await;
        self.runtime.remove_container(&request.id).await.expect("remove the container");
        (exit, self.log(&request.id))
    }

    /// Waits for the exit of an attempt.
    pub async fn exit(&mut self, id: &ContainerId) -> Exit {
        loop {
            match self.event().await {
                RuntimeEvent::Exited { id: other, exit } if other == *id => return exit,
                RuntimeEvent::Exited { .. } | RuntimeEvent::Missed => {}
                RuntimeEvent::SandboxDied { .. } => panic!("the sandbox died"),
            }
        }
    }

    pub async fn event(&mut self) -> RuntimeEvent {
        let event = timeout(PATIENCE, self.events.recv()).await.expect("an event in time");
        event.expect("the runtime lives")
    }

    /// Waits until a line is in an attempt's log; the container must write it sooner or later.
    pub async fn log_line(&self, id: &ContainerId, wanted: &str) {
        let path = self.log_path(id);
        // The folder is there since the attempt was started; its file may not be.
        let changes = changes(path.parent().expect("a folder"));
        let seen = async {
            while !fs::read_to_string(&path).unwrap_or_default().contains(wanted) {
                // What was written between the look and this is waiting in the queue.
                changes.readable().await.expect("the folder is watched").clear_ready();
                forget(changes.get_ref());
            }
        };
        timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("no `{wanted}` in the log"));
    }

    /// The messages in an attempt's log, complete once its container was removed.
    pub fn log(&self, id: &ContainerId) -> String {
        let text = fs::read_to_string(self.log_path(id)).unwrap_or_default();
        let message = |line: &str| line.splitn(4, ' ').nth(3).map(|text| format!("{text}\n"));
        text.lines().filter_map(message).collect()
    }

    fn log_path(&self, id: &ContainerId) -> PathBuf {
        self.pod_dir().join(format!("logs/{}/{}.log", id.name, id.attempt))
    }

    pub fn pod_dir(&self) -> PathBuf {
        self.config.run.join(format!("pods/{}", self.uid))
    }

    pub fn tree(&self) -> Tree {
        Tree::detect(&self.config.cgroup_root).expect("cgroups")
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub async fn pods(&self) -> Vec<ObservedPod> {
        let observed = self.runtime.list().await.expect("list");
        assert_eq!(observed.silent, [].into(), "all answer");
        observed.pods
    }

    /// The state of the only container.
    pub async fn state(&self) -> ObservedState {
        let pods = self.pods().await;
        let [pod] = &pods[..] else { panic!("one pod: {pods:?}") };
        let [container] = &pod.containers[..] else { panic!("one container: {pod:?}") };
        container.state.clone()
    }

    /// Mounts of the machine that have to do with this node. Others come and go meanwhile.
    pub fn mounts(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let own = [self.dir.path().display().to_string(), self.config.cgroup_root.clone()];
        let lines = mounts.lines().filter(|line| own.iter().any(|name| line.contains(name)));
        lines.map(str::to_owned).collect()
    }

    /// Removes the pod, twice, and looks for anything left.
    pub async fn finish(self) {
        for _ in 0..2 {
            self.runtime.remove_sandbox(&self.uid).await.expect("remove the sandbox");
        }
        assert!(self.pods().await.is_empty(), "a pod is left");
        let root = self.tree().root();
        assert_eq!(root.processes().unwrap(), [0; 0], "processes are left");
        assert_eq!(root.children(), [""; 0], "cgroups are left");
        assert_eq!(self.mounts(), [""; 0], "mounts are left");
        for directory in ["run/pods", "state/pods"] {
            let left = fs::read_dir(self.dir.path().join(directory)).expect("a directory");
            let left: Vec<_> = left.flatten().map(|entry| entry.path()).collect();
            assert!(left.is_empty(), "files are left: {left:?}");
        }
    }
}

impl Drop for Node {
    /// Also where a test fails.
    fn drop(&mut self) {
        let root: Group = self.tree().root();
        let _ = root.kill();
        while root.remove().is_err_and(|error| error.source.kind() == ErrorKind::ResourceBusy) {
            std::thread::yield_now();
        }
    }
}

/// The program that helpers are.
fn executable() -> PathBuf {
    let chosen = std::env::var_os("MOTE_TEST_AGENT").map(PathBuf::from);
    chosen.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_mote-agent")))
}

fn runtime(config: &OciConfig) -> (mpsc::Receiver<RuntimeEvent>, Rc<OciRuntime>) {
    let (tell, events) = mpsc::channel(64);
    (events, Rc::new(OciRuntime::new(config, tell).expect("a runtime")))
}

/// Becomes readable when a file in a folder appears or grows.
fn changes(folder: &Path) -> AsyncFd<OwnedFd> {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let queue = inotify::init(flags).expect("inotify");
    let wanted = inotify::WatchFlags::CREATE | inotify::WatchFlags::MODIFY;
    inotify::add_watch(&queue, folder, wanted).expect("watch the folder");
    mote_agent::sys::event::register(queue, Interest::READABLE).expect("a runtime")
}

/// Empties a queue of changes: whoever looks after that sees what they were about.
fn forget(queue: &OwnedFd) {
    let mut buffer = [0; 4096];
    while rustix::io::read(queue, &mut buffer).is_ok_and(|len| len > 0) {}
}

fn make_layer(layer: &Path) {
    fs::create_dir_all(layer.join("bin")).unwrap();
    fs::create_dir_all(layer.join("etc")).unwrap();
    fs::create_dir_all(layer.join("tmp")).unwrap();
    fs::set_permissions(layer.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy(BUSYBOX, layer.join("bin/busybox")).expect("busybox-static is installed");
    for applet in APPLETS {
        symlink("busybox", layer.join("bin").join(applet)).unwrap();
    }
    let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n";
    fs::write(layer.join("etc/passwd"), passwd).unwrap();
    fs::write(layer.join("etc/group"), "root:x:0:\nwww:x:34:\nlogs:x:40:web\n").unwrap();
    fs::write(layer.join("plain"), "no program").unwrap();
    fs::write(layer.join("orphan"), "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(layer.join("orphan"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// The cause of a start that must fail, and whether trying again can help.
pub async fn refused(node: &Node, request: &StartRequest) -> RuntimeError {
    node.runtime.start(request).await.expect_err("must not start")
}
