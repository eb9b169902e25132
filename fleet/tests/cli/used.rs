//! What a played node uses.

use mote_protocol::command::Answer;
use mote_protocol::name::{ContainerName, ObjectKey};
use mote_protocol::node::Usage;
use mote_protocol::usage::{ContainerMetrics, Metrics, PodMetrics, Used};

use crate::node::Behaviour;

/// What it uses: each of its pods in a part of its own. Who has a long name has much to do.
pub(crate) fn measured<'a>(
    pods: impl Iterator<Item = &'a ObjectKey>,
    behaviour: Behaviour,
) -> Vec<(u32, bool, Answer)> {
    let refused = |reason: &str, message: &str| {
        let (reason, message) = (reason.into(), message.into());
        vec![(0, true, Answer::Refused { reason, message })]
    };
    match behaviour {
        Behaviour::Ignores => return Vec::new(),
        Behaviour::IsOld => return refused("MalformedBody", "body cannot be decoded"),
        Behaviour::Refuses => return refused("Busy", "others ask what is used already"),
        _ => {}
    }
    let part = |pods| {
        let mut usage = Usage { memory_kib: 512 * 1024, ..Usage::default() };
        let (window_ms, cpu_milli) = (1000, Some(413));
        usage.set_metrics(&Metrics { window_ms, cpu_milli, pods, omitted: 0 });
        Answer::Usage(usage)
    };
    let used = |cpu, memory| Used { cpu_milli: cpu, memory_kib: memory, pids: Some(3) };
    let pods = pods.map(|key| {
        let long = u32::try_from(key.name.as_str().len()).expect("short");
        let container = |name: &str, used| ContainerMetrics {
            name: ContainerName::new(name).expect("a name"),
            used,
        };
        PodMetrics {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            used: used(Some(100 * long), Some(4096)),
            storage_kib: None,
            network: None,
            containers: vec![
                container("main", used(Some(10 * long), Some(2048))),
                container("new", used(None, Some(1024))),
            ],
        }
    });
    let parts: Vec<Answer> = pods.map(|pod| part(vec![pod])).collect();
    let parts = if parts.is_empty() { vec![part(Vec::new())] } else { parts };
    let last = parts.len() - 1;
    let numbered = parts.into_iter().enumerate();
    numbered.map(|(at, part)| (u32::try_from(at).expect("few"), at == last, part)).collect()
}
