//! What is told of two looks: rates over the time between them, and how things are at the second.

use mote_protocol::frame::{self, Body as _, FrameError};
use mote_protocol::name::ContainerName;
use mote_protocol::node::Usage;
use mote_protocol::usage::{ContainerMetrics, Metrics, PodMetrics, Used};

use super::sample::{PodSample, Sample};
use crate::runtime;

/// What is told of the node and its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    node: Usage,
    metrics: Metrics,
}

impl Report {
    /// Of what was between two looks.
    pub fn between(before: &Sample, now: &Sample) -> Self {
        let window_ms = now.at.since(before.at).as_millis();
        let window_ms = u32::try_from(window_ms).unwrap_or(u32::MAX);
        let (was, is) = (&before.node, &now.node);
        let cpu_milli = rate_milli(was.cpu_us, is.cpu_us, window_ms);
        let pods = now.pods.iter().map(|(uid, pod)| told(before.pods.get(uid), pod, window_ms));
        let mut pods: Vec<PodMetrics> = pods.collect();
        sort(&mut pods);
        Self {
            node: Usage {
                at: now.at.seconds(),
                cpu_ms: is.cpu_us.unwrap_or(0) / 1000,
                memory_kib: is.memory.unwrap_or(0) / 1024,
                disk_kib: is.disk.unwrap_or(0) / 1024,
                pids: whole(is.pids).unwrap_or(0),
                ..Usage::default()
            },
            metrics: Metrics { window_ms, cpu_milli, pods, omitted: 0 },
        }
    }

    /// The frame of a report that nobody asked for. Pods that have no room in it
    /// are left out, those that use the least CPU first, and counted.
    pub fn frame(&self) -> Result<Vec<u8>, FrameError> {
        let mut metrics = self.metrics.clone();
        metrics.pods.sort_by_key(|pod| std::cmp::Reverse(pod.used.cpu_milli));
        loop {
            let mut told = metrics.clone();
            sort(&mut told.pods);
            match frame::encode(&with(&self.node, &told)) {
                Err(FrameError::TooLong { len, .. }) if !metrics.pods.is_empty() => {
                    let kept = metrics.pods.len() * Usage::MAX / len.max(1);
                    let kept = kept.min(metrics.pods.len() - 1);
                    metrics.omitted += u32::try_from(metrics.pods.len() - kept).unwrap_or(0);
                    metrics.pods.truncate(kept);
                }
                encoded => return encoded,
            }
        }
    }

    /// What is told of the node, with these of its pods.
    pub fn part(&self, pods: Vec<PodMetrics>) -> Usage {
        let Metrics { window_ms, cpu_milli, .. } = self.metrics;
        with(&self.node, &Metrics { window_ms, cpu_milli, pods, omitted: 0 })
    }

    /// All of it in one, for who is near.
    pub fn whole(&self) -> (&Usage, &Metrics) {
        (&self.node, &self.metrics)
    }
}

fn sort(pods: &mut [PodMetrics]) {
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
}

fn with(node: &Usage, metrics: &Metrics) -> Usage {
    let mut usage = node.clone();
    usage.set_metrics(metrics);
    usage
}

fn told(before: Option<&PodSample>, now: &PodSample, window_ms: u32) -> PodMetrics {
    let containers = now.containers.iter().filter_map(|container| {
        let known = before.into_iter().flat_map(|before| &before.containers);
        let mut known = known.filter(|known| known.id == container.id).map(|known| &known.used);
        let used = used(known.next(), &container.used, window_ms);
        Some(ContainerMetrics { name: ContainerName::new(&container.id.name).ok()?, used })
    });
    PodMetrics {
        namespace: now.namespace.clone(),
        name: now.name.clone(),
        used: used(before.map(|before| &before.used), &now.used, window_ms),
        storage_kib: now.storage.map(|bytes| bytes / 1024),
        network: now.network,
        containers: containers.collect(),
    }
}

fn used(before: Option<&runtime::Usage>, now: &runtime::Usage, window_ms: u32) -> Used {
    Used {
        cpu_milli: rate_milli(before.and_then(|before| before.cpu_us), now.cpu_us, window_ms),
        memory_kib: now.memory.map(|bytes| bytes / 1024),
        pids: whole(now.pids),
    }
}

fn whole(count: Option<u64>) -> Option<u32> {
    count.map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

/// Thousandths of a core over a window between two readings of a counter of microseconds, rounded up:
/// what works a little is not 0. A counter that went back began anew in between (another sandbox): what
/// it says is all from then on. Of what was not there at the first look nobody knows a rate.
fn rate_milli(before: Option<u64>, now: Option<u64>, window_ms: u32) -> Option<u32> {
    let (before, now) = (before?, now?);
    let worked_us = now.checked_sub(before).unwrap_or(now);
    let window = u64::from(window_ms);
    // Microseconds in a millisecond are thousandths.
    (window > 0).then(|| u32::try_from(worked_us.div_ceil(window)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mote_protocol::limits::MAX_METRICS_ITEMS;
    use mote_protocol::name::{Namespace, ObjectName, Uid};

    use super::super::sample::{ContainerSample, NodeSample};
    use super::*;
    use crate::pod::Moment;
    use crate::runtime::ContainerId;

    fn pod(name: &str, cpu_us: u64) -> PodSample {
        PodSample {
            namespace: Namespace::new("default").unwrap(),
            name: ObjectName::new(name).unwrap(),
            used: runtime::Usage { memory: Some(2048), pids: Some(3), cpu_us: Some(cpu_us) },
            storage: None,
            network: None,
            containers: Vec::new(),
        }
    }

    fn sample(at_ms: i64, pods: impl IntoIterator<Item = PodSample>) -> Sample {
        let number = |number: usize| Uid([u8::try_from(number).unwrap(); 16]);
        let pods = pods.into_iter().enumerate();
        let pods = pods.map(|(at, pod)| (number(at), pod)).collect::<BTreeMap<_, _>>();
        let node = NodeSample { cpu_us: Some(1000 * at_ms.unsigned_abs()), ..Default::default() };
        Sample { at: Moment(at_ms), node, pods }
    }

    #[test]
    fn rates_are_rounded_up_and_counters_that_began_anew_count_from_there() {
        let rate = |before, now| rate_milli(Some(before), Some(now), 10_000);
        assert_eq!(rate(5_000_000, 15_000_000), Some(1000), "one core");
        assert_eq!(rate(0, 15_000_001), Some(1501));
        assert_eq!(rate(7, 7), Some(0));
        assert_eq!(rate(7, 8), Some(1), "little is not nothing");
        assert_eq!(rate(9_000_000, 1_000_000), Some(100), "another sandbox");
        assert_eq!(rate_milli(None, Some(9_000_000), 1000), None, "not there before");
        assert_eq!(rate_milli(Some(1), None, 1000), None);
        assert_eq!(rate_milli(Some(1), Some(2), 0), None, "no time between");
        assert_eq!(rate_milli(Some(0), Some(u64::MAX), 1), Some(u32::MAX));
    }

    #[test]
    fn a_pod_that_was_not_there_before_has_memory_and_no_rate() {
        let report = Report::between(
            &sample(1000, [pod("old", 0)]),
            &sample(3000, [pod("old", 500_000), pod("new", 90_000_000)]),
        );
        let (node, metrics) = report.whole();
        assert_eq!((node.at, node.cpu_ms, metrics.window_ms), (3, 3000, 2000));
        assert_eq!(metrics.cpu_milli, Some(1000));
        let [new, old] = &metrics.pods[..] else { panic!("{metrics:?}") };
        assert_eq!((new.name.as_str(), new.used.cpu_milli), ("new", None));
        assert_eq!((old.name.as_str(), old.used.cpu_milli), ("old", Some(250)));
        assert_eq!((new.used.memory_kib, new.used.pids), (Some(2), Some(3)));
    }

    #[test]
    fn an_attempt_that_is_new_has_no_rate_where_its_pod_has_one() {
        let with = |attempt, cpu_us| {
            let id = ContainerId { pod: Uid([0; 16]), name: "main".into(), attempt };
            let used = runtime::Usage { cpu_us: Some(cpu_us), ..Default::default() };
            let containers = vec![ContainerSample { id, used }];
            PodSample { containers, ..pod("web", cpu_us) }
        };
        let rate = |before: PodSample, now: PodSample| {
            let report = Report::between(&sample(0, [before]), &sample(1000, [now]));
            let pod = &report.whole().1.pods[0];
            (pod.used.cpu_milli, pod.containers[0].used.cpu_milli)
        };
        assert_eq!(rate(with(0, 0), with(0, 20_000)), (Some(20), Some(20)));
        assert_eq!(rate(with(0, 0), with(1, 20_000)), (Some(20), None));
    }

    #[test]
    fn what_has_no_room_is_left_out_the_idlest_first_and_counted() {
        let long = |number: u64| PodSample {
            name: ObjectName::new(&format!("{number:03}{}", "x".repeat(250))).unwrap(),
            ..pod("x", number * 1_000_000)
        };
        let before = sample(
            0,
            (0..110).map(|number| PodSample {
                used: runtime::Usage { cpu_us: Some(0), ..Default::default() },
                ..long(number)
            }),
        );
        let report = Report::between(&before, &sample(1000, (0..110).map(long)));
        let bytes = report.frame().expect("it is made to fit");
        assert!(bytes.len() <= Usage::MAX + frame::HEADER, "{}", bytes.len());
        let told = frame::decode::<Usage>(&bytes).expect("decodes").metrics().expect("pods");
        assert!(told.pods.len() > 40, "{}", told.pods.len());
        assert_eq!(told.pods.len() + told.omitted as usize, 110);
        assert!(told.pods.is_sorted_by_key(|pod| pod.name.clone()));
        assert!(told.pods[0].name.as_str() >= "040", "idle ones go first: {:?}", told.pods[0].name);
        let (node, Metrics { pods, .. }) = report.whole();
        assert_eq!(pods.len(), 110, "who asks hears of all");
        for pods in pods.chunks(MAX_METRICS_ITEMS) {
            let part = report.part(pods.to_vec());
            assert_eq!((part.at, part.metrics().expect("pods").pods.len()), (node.at, pods.len()));
        }
    }

    #[test]
    fn a_node_without_pods_tells_of_itself() {
        let report = Report::between(&sample(0, []), &sample(1000, []));
        assert_eq!(report.part(Vec::new()).metrics().expect("none").pods, []);
    }
}
