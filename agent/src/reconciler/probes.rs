//! The probes of one pod: a task for each that is to be made, for as long as it is.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};

use super::{Report, plan};
use crate::handler::Target;
use crate::pod::Moment;
use crate::pod::handler::ProbeKind;
use crate::pod::machine::{Event, Machine};
use crate::ports::Random;
use crate::probes;
use crate::world::{SharedEdges, World};

/// Tasks that probe, by container, attempt and probe.
#[derive(Debug, Default)]
pub(super) struct Probes(BTreeMap<(usize, u32, ProbeKind), JoinHandle<()>>);

impl Probes {
    /// Begins the probes that a machine wants, and ends those that it does not want any more.
    pub(super) fn settle<W: World>(
        &mut self,
        edges: &SharedEdges<W>,
        reports: &mpsc::UnboundedSender<Report>,
        machine: &Machine,
        agent_started: Moment,
    ) {
        let wanted = plan::probes(machine);
        self.0.retain(|probe, task| {
            let keep = wanted.contains(probe);
            if !keep {
                task.abort();
            }
            keep
        });
        for key in wanted {
            if !self.0.contains_key(&key) {
                let task = begin(edges, reports, machine, agent_started, key);
                self.0.extend(task.map(|task| (key, task)));
            }
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        for task in self.0.values() {
            task.abort();
        }
    }
}

fn begin<W: World>(
    edges: &SharedEdges<W>,
    reports: &mpsc::UnboundedSender<Report>,
    machine: &Machine,
    agent_started: Moment,
    (place, attempt, kind): (usize, u32, ProbeKind),
) -> Option<JoinHandle<()>> {
    let pod = machine.pod();
    let probe = pod.containers.get(place)?.checks.as_ref()?.probe(kind)?.clone();
    let since = machine.slots().get(place)?.running()?.since;
    let target = Target {
        id: plan::container_id(machine, place, attempt)?,
        host_network: pod.host.network,
        address: machine.addresses().first().copied(),
    };
    let elapsed = edges.now().since(since);
    // Whoever was adopted with all the others is not probed at the same instant as they are.
    let adopted = since < agent_started;
    let jitter = adopted.then(|| part_of(probe.period, edges.random.next()));
    let (edges, reports, uid) = (Rc::clone(edges), reports.clone(), pod.name.uid);
    Some(spawn_local(async move {
        let tell = |probed| {
            let event = Event::Probed { place, attempt, kind, probed };
            let _ = reports.send(Report::Pod { uid, freed: None, event });
        };
        probes::run(&edges.handlers, &target, kind, &probe, elapsed, jitter, tell).await;
    }))
}

/// A random part of a period.
fn part_of(period: Duration, random: u64) -> Duration {
    let millis = u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(random % millis)
}
