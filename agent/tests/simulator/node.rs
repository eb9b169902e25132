//! One life of the agent: everything in memory, from start to crash.

use std::collections::BTreeMap;
use std::rc::Rc;

use mote_agent::steward::{Channels, Edges, FromPresence, Identity, Steward, ToPresence};
use mote_agent::store;
use mote_protocol::name::{FleetName, GroupName, NodeName};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::Instant;

use crate::broker::SimLink;
use crate::handlers::SimHandlers;
use crate::kernel::SimRuntime;
use crate::ports::{SimClock, SimDisk, SimImages, SimWorld};
use crate::universe::Shared;

/// An agent that runs; a crash is to drop everything that it has in memory.
pub(crate) struct Agent {
    task: JoinHandle<()>,
}

impl Agent {
    pub(crate) fn start(shared: &Shared) -> Self {
        let shared = shared.clone();
        // A set of its own, so that all of its tasks end with it, wherever they are.
        let task = spawn_local(async move { LocalSet::new().run_until(agent(shared)).await });
        Self { task }
    }

    pub(crate) async fn crash(self, shared: &Shared) {
        self.task.abort();
        match self.task.await {
            Err(error) if error.is_panic() => {
                shared.get().judge.violation("the agent panicked".into());
            }
            _ => {}
        }
        let mut universe = shared.get();
        universe.note(|| "agent: dies".into());
        universe.kernel.listener(None);
        universe.agent_disconnects();
        universe.judge.agent_died();
    }

    /// Whether it ended by itself, which it must not.
    pub(crate) fn ended(&self) -> bool {
        self.task.is_finished()
    }
}

async fn agent(shared: Shared) {
    let edges = Rc::new(Edges::<SimWorld> {
        runtime: SimRuntime(shared.clone()),
        images: SimImages(shared.clone()),
        handlers: SimHandlers(shared.clone()),
        disk: SimDisk(shared.clone()),
        clock: SimClock(shared.clone()),
        wall: SimClock(shared.clone()),
        random: SimClock(shared.clone()),
    });
    let opened = store::open(Rc::clone(&edges), BTreeMap::new()).await;
    shared.get().note(|| format!("agent: start {} {:?}", opened.start, opened.reports));
    let (events, runtime) = mpsc::unbounded_channel();
    shared.get().kernel.listener(Some(events));
    let (to_presence, heard) = mpsc::unbounded_channel();
    let (say, from_presence) = mpsc::unbounded_channel();
    spawn_local(presence(shared.clone(), heard, say));
    let (_ask, local) = mpsc::unbounded_channel();
    let channels = Channels { runtime, from_presence, to_presence, local };
    let link = SimLink { shared: shared.clone(), start: opened.start, next: Instant::now() };
    Steward::new(identity(&shared), edges, link, opened, channels).run().await;
}

fn identity(shared: &Shared) -> Identity {
    let mut boot_id = [0; 16];
    boot_id[..4].copy_from_slice(&shared.get().kernel.boot.to_le_bytes());
    Identity {
        fleet: FleetName::new("f").expect("a name"),
        node: NodeName::new("n").expect("a name"),
        groups: vec![GroupName::new("blue").expect("a name")],
        labels: BTreeMap::new(),
        boot_id,
        memory_bytes: 1 << 30,
    }
}

/// What of presence concerns the rest of the node: it finds out that the broker has forgotten.
async fn presence(
    shared: Shared,
    mut heard: mpsc::UnboundedReceiver<ToPresence>,
    say: mpsc::UnboundedSender<FromPresence>,
) {
    while let Some(told) = heard.recv().await {
        let connected = matches!(told, ToPresence::Connected { .. });
        if connected && std::mem::take(&mut shared.get().broker.forgot) {
            let _ = say.send(FromPresence::BrokerForgot);
        }
    }
}
