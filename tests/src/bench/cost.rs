//! Memory and wakeups.

use std::time::Duration;

use anyhow::Result;
use mote_protocol::status::Phase;

use super::Subject;
use super::figures::Figures;
use crate::host::{Memory, memory, voluntary_switches};
use crate::manifest::pod;
use crate::wait::let_pass;

/// After the last change, until what was needed for it has been given back: the agent does that
/// once a minute.
const SETTLE: Duration = Duration::from_secs(70);

/// How long a node at rest is watched: longer than anything that it does by itself takes to come
/// again, but for the heartbeat.
const REST: Duration = Duration::from_mins(2);

/// How often its memory is looked at meanwhile.
const LOOK: Duration = Duration::from_secs(5);

pub(super) fn measure(subject: &Subject, pods: u32, figures: &mut Figures) -> Result<()> {
    let Subject { world, node, image, .. } = subject;
    // The pull and the first pod are just over: the most that the agent ever has.
    figures.add("agent_pss_busy_kib", memory(node.pid()?)?.pss_kib as f64);
    let_pass(SETTLE);
    let (empty, awoke) = rest(subject)?;
    figures.add("agent_pss_kib", median(&empty, |memory| memory.pss_kib));
    figures.add("agent_pss_max_kib", greatest(&empty, |memory| memory.pss_kib));
    figures.add("agent_private_kib", median(&empty, |memory| memory.private_kib));
    figures.add("agent_rss_kib", median(&empty, |memory| memory.rss_kib));
    figures.add("agent_wakeups_per_minute", awoke);

    for number in 0..pods {
        let name = format!("m{number}");
        let rests = pod(&name).container("main", image, &["/workload", "rest"]);
        world.operator.apply(&rests, node)?;
        world.wait_for_phase(node, &name, Phase::Running)?;
    }
    let_pass(SETTLE);
    let (full, awoke) = rest(subject)?;
    let held: Result<Vec<u64>> =
        node.pauses()?.iter().map(|pid| Ok(memory(*pid)?.pss_kib)).collect();
    let pause_kib = held?.iter().sum::<u64>() as f64;
    let full_kib = median(&full, |memory| memory.pss_kib);
    let growth = (full_kib + pause_kib - median(&empty, |memory| memory.pss_kib)).max(0.0);
    let each = f64::from(pods.max(1));
    figures.add("pods_running", f64::from(pods));
    figures.add("agent_pss_with_pods_kib", full_kib);
    figures.add("pause_pss_kib", pause_kib / each);
    figures.add("pod_user_memory_kib", growth / each);
    figures.add("wakeups_with_pods_per_minute", awoke);

    for number in 0..pods {
        world.operator.delete(&format!("m{number}"), node)?;
    }
    Ok(())
}

/// What the agent has in memory while nothing happens, from time to time, and how often it and the
/// pauses wake up per minute.
fn rest(subject: &Subject) -> Result<(Vec<Memory>, f64)> {
    let agent = subject.node.pid()?;
    let before = switches(subject)?;
    let mut seen = Vec::new();
    for _ in 0..REST.as_secs() / LOOK.as_secs() {
        let_pass(LOOK);
        seen.push(memory(agent)?);
    }
    let during = switches(subject)? - before;
    Ok((seen, during as f64 * 60.0 / REST.as_secs_f64()))
}

fn median(seen: &[Memory], part: impl Fn(&Memory) -> u64) -> f64 {
    let mut parts: Vec<_> = seen.iter().map(part).collect();
    parts.sort_unstable();
    parts.get(parts.len() / 2).copied().unwrap_or_default() as f64
}

fn greatest(seen: &[Memory], part: impl Fn(&Memory) -> u64) -> f64 {
    seen.iter().map(part).max().unwrap_or_default() as f64
}

pub(super) fn switches(subject: &Subject) -> Result<u64> {
    let mut sum = voluntary_switches(subject.node.pid()?)?;
    for pause in subject.node.pauses()? {
        sum += voluntary_switches(pause)?;
    }
    Ok(sum)
}
