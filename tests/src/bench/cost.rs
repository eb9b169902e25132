//! Memory and wakeups.

use std::time::Duration;

use anyhow::Result;
use mote_protocol::status::Phase;

use super::Subject;
use super::figures::Figures;
use crate::host::{memory, voluntary_switches};
use crate::manifest::pod;
use crate::wait::let_pass;

/// After the last change, until what was needed for it has been given back.
const SETTLE: Duration = Duration::from_secs(3);

/// How long a node at rest is watched.
const REST: Duration = Duration::from_secs(30);

pub(super) fn measure(subject: &Subject, pods: u32, figures: &mut Figures) -> Result<()> {
    let Subject { world, node, image, .. } = subject;
    let agent = node.pid()?;
    let_pass(SETTLE);
    let empty = memory(agent)?;
    figures.add("agent_pss_kib", empty.pss_kib as f64);
    figures.add("agent_private_kib", empty.private_kib as f64);
    figures.add("agent_rss_kib", empty.rss_kib as f64);
    figures.add("agent_wakeups_per_minute", wakeups(subject)?);

    for number in 0..pods {
        let name = format!("m{number}");
        let rests = pod(&name).container("main", image, &["/workload", "rest"]);
        world.operator.apply(&rests, node)?;
        world.wait_for_phase(node, &name, Phase::Running)?;
    }
    let_pass(SETTLE);
    let pauses = node.pauses()?;
    let held: Result<Vec<u64>> = pauses.iter().map(|pid| Ok(memory(*pid)?.pss_kib)).collect();
    let pause_kib: u64 = held?.iter().sum();
    let full = memory(agent)?;
    let growth = (full.pss_kib + pause_kib).saturating_sub(empty.pss_kib);
    let each = f64::from(pods.max(1));
    figures.add("pods_running", f64::from(pods));
    figures.add("agent_pss_with_pods_kib", full.pss_kib as f64);
    figures.add("pause_pss_kib", pause_kib as f64 / each);
    figures.add("pod_user_memory_kib", growth as f64 / each);
    figures.add("wakeups_with_pods_per_minute", wakeups(subject)?);

    for number in 0..pods {
        world.operator.delete(&format!("m{number}"), node)?;
    }
    Ok(())
}

/// Wakeups of agent and pauses per minute, at rest.
fn wakeups(subject: &Subject) -> Result<f64> {
    let before = switches(subject)?;
    let_pass(REST);
    let during = switches(subject)? - before;
    Ok(during as f64 * 60.0 / REST.as_secs_f64())
}

fn switches(subject: &Subject) -> Result<u64> {
    let mut sum = voluntary_switches(subject.node.pid()?)?;
    for pause in subject.node.pauses()? {
        sum += voluntary_switches(pause)?;
    }
    Ok(sum)
}
