//! One pod's sandbox as this agent holds it: the conversation with its `mote-pause`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mote_pause::wire::{Exit as Ended, Key, Name, Role};
use mote_protocol::name::Uid;
use tokio::sync::oneshot;

use super::cgroup::Tree;
use super::layout::Layout;
use super::message;
use super::news::News;
use super::sandbox::{Sandbox, SandboxEvent};
use crate::runtime::{BootTime, ContainerId, Exit, RuntimeEvent};

/// A pod whose sandbox answers, or did.
pub(super) struct Pod {
    pub(super) sandbox: Sandbox,
    ears: Arc<Ears>,
}

impl Pod {
    pub(super) fn new(sandbox: Sandbox, ears: Arc<Ears>) -> Self {
        Self { sandbox, ears }
    }

    /// The conversation is over.
    pub(super) fn is_over(&self) -> bool {
        self.ears.over.load(Ordering::Relaxed)
    }

    /// From now on the sandbox's end is what was asked for.
    pub(super) fn expect_end(&self) {
        self.ears.expected.store(true, Ordering::Relaxed);
    }

    /// The exit of an exec; to be asked for before the sandbox is told to watch it.
    pub(super) fn exit_of(&self, pid: u32) -> oneshot::Receiver<Ended> {
        let (tell, told) = oneshot::channel();
        self.ears.execs().insert(pid, tell);
        told
    }

    /// Nobody waits for that exec any more.
    pub(super) fn forget(&self, pid: u32) {
        self.ears.execs().remove(&pid);
    }
}

/// Hears what a sandbox tells, in its session's task, and passes it on.
pub(super) struct Ears {
    uid: Uid,
    tree: Tree,
    layout: Layout,
    news: News,
    execs: Mutex<BTreeMap<u32, oneshot::Sender<Ended>>>,
    over: AtomicBool,
    expected: AtomicBool,
}

impl Ears {
    pub(super) fn new(uid: Uid, tree: &Tree, layout: &Layout, news: &News) -> Arc<Self> {
        Arc::new(Self {
            uid,
            tree: tree.clone(),
            layout: layout.clone(),
            news: news.clone(),
            execs: Mutex::default(),
            over: AtomicBool::new(false),
            expected: AtomicBool::new(false),
        })
    }

    /// The listener to give to a session.
    pub(super) fn listener(self: &Arc<Self>) -> impl FnMut(SandboxEvent) + Send + 'static {
        let ears = Arc::clone(self);
        move |event| ears.hear(event)
    }

    fn hear(&self, event: SandboxEvent) {
        match event {
            SandboxEvent::Exited(ended) => self.ended(&ended),
            SandboxEvent::LogEnded(_) => {}
            SandboxEvent::Lost => {
                self.end();
                // Whoever lists talks to it again, and hears what happened meanwhile.
                self.news.tell(RuntimeEvent::Missed);
            }
            SandboxEvent::Died => {
                self.end();
                if !self.expected.load(Ordering::Relaxed) {
                    self.news.tell(RuntimeEvent::SandboxDied { uid: self.uid });
                }
            }
        }
    }

    fn ended(&self, ended: &Ended) {
        match (ended.role, &ended.key) {
            (Role::Container, Some(key)) => {
                let id = container(self.uid, key);
                let exit = exit(&self.tree, &self.layout, &id, ended);
                // Without a namespace of process ids of its own, what it started would live on.
                // Where that cannot be killed now, it is when the attempt is removed.
                let _ = self.tree.container(&id).kill();
                self.news.tell(RuntimeEvent::Exited { id, exit });
            }
            (Role::Exec, _) => {
                if let Some(tell) = self.execs().remove(&ended.pid) {
                    // Whoever asked may have stopped waiting.
                    let _ = tell.send(*ended);
                }
            }
            _ => {}
        }
    }

    /// Whoever waits for an exec learns that nobody will tell.
    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.execs().clear();
    }

    fn execs(&self) -> MutexGuard<'_, BTreeMap<u32, oneshot::Sender<Ended>>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `mote-pause`'s name of an attempt; none if no container can have that name.
pub(super) fn key(id: &ContainerId) -> Option<Key> {
    Some(Key { name: Name::new(&id.name)?, attempt: id.attempt })
}

/// The attempt that `mote-pause` calls so.
pub(super) fn container(pod: Uid, key: &Key) -> ContainerId {
    ContainerId { pod, name: key.name.as_str().to_owned(), attempt: key.attempt }
}

/// What `mote-pause` says of an end, what the cgroup knows, and what the container itself said.
pub(super) fn exit(tree: &Tree, layout: &Layout, id: &ContainerId, ended: &Ended) -> Exit {
    let code = code(ended);
    Exit {
        code,
        oom_killed: tree.container(id).oom_kills() > 0,
        at: BootTime(Duration::from_nanos(ended.boot_ns)),
        message: message::of(layout, id, code),
    }
}

/// Exit status, or 128 + signal.
pub(super) fn code(ended: &Ended) -> i32 {
    match (ended.code(), ended.signal()) {
        (Some(code), _) => i32::from(code),
        (None, Some(signal)) => 128 + i32::from(signal),
        (None, None) => 255,
    }
}
