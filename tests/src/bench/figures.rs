//! Figures with their names, as a flat JSON file and as a table beside goals and peers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// What one run measured. Each name ends in its unit.
#[derive(Debug, Default)]
pub(super) struct Figures {
    values: BTreeMap<&'static str, f64>,
    times: Vec<(String, f64)>,
}

/// A figure, what we promise, and what others need on a machine like this one (kubelet 1.20 with
/// containerd, `KubeEdge`'s edgecore, podman, Ankaios; 2026-11-23).
struct Row {
    name: &'static str,
    goal: &'static str,
    peers: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        name: "agent_pss_kib",
        goal: "<= 2560",
        peers: "kubelet + containerd 125,556; edgecore 125,396; Ankaios 12,482",
    },
    Row {
        name: "pod_user_memory_kib",
        goal: "<= 150",
        peers: "kubelet 4,078; edgecore 4,612; podman 813; Ankaios 436",
    },
    Row {
        name: "start_ms_median",
        goal: "<= 1.5 x crun",
        peers: "kubelet 466; edgecore 496; podman 202; Ankaios 88 (no pod)",
    },
    Row { name: "crun_start_ms_median", goal: "the floor", peers: "runc 35.7" },
    Row { name: "start_to_crun_ratio", goal: "<= 1.5", peers: "kubelet 22; podman 9.6" },
    Row { name: "exec_probe_cpu_ms", goal: "< crun's", peers: "" },
    Row { name: "crun_exec_cpu_ms", goal: "the bound", peers: "" },
    Row {
        name: "wakeups_with_pods_per_minute",
        goal: "",
        peers: "kubelet 23,640; edgecore 20,520; Ankaios 1,740",
    },
    Row {
        name: "agent_binary_bytes",
        goal: "",
        peers: "kubelet + containerd + runc 173.6 MB; podman 34.3 MB; ank-agent 11.8 MB",
    },
];

impl Figures {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Keeps a figure.
    pub(super) fn add(&mut self, name: &'static str, value: f64) {
        self.values.insert(name, value);
    }

    /// Keeps median, least and greatest of several times, as `NAME_median` and so on.
    pub(super) fn add_times(&mut self, name: &str, times: &mut [f64]) -> Result<()> {
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).context("nothing was measured")?;
        let (least, greatest) = (times.first().unwrap_or(median), times.last().unwrap_or(median));
        for (suffix, value) in [("median", median), ("min", least), ("max", greatest)] {
            self.times.push((format!("{name}_{suffix}"), *value));
        }
        Ok(())
    }

    /// A figure; not a number where there is none.
    pub(super) fn get(&self, name: &str) -> f64 {
        let time = self.times.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
        time.or_else(|| self.values.get(name).copied()).unwrap_or(f64::NAN)
    }

    /// Prints the table.
    pub(super) fn print(&self) {
        println!("\n{:<30} {:>12}  {:<14} peers", "figure", "measured", "goal");
        for row in ROWS {
            let value = self.get(row.name);
            println!("{:<30} {value:>12.1}  {:<14} {}", row.name, row.goal, row.peers);
        }
        println!();
    }

    /// Writes the file.
    pub(super) fn record(&self, path: &Path) -> Result<()> {
        let mut map = Map::new();
        let machine = rustix::system::uname();
        map.insert("machine".into(), json!(machine.machine().to_string_lossy()));
        map.insert("kernel".into(), json!(machine.release().to_string_lossy()));
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        map.insert("cpus".into(), json!(cpus));
        let named = self.values.iter().map(|(name, value)| ((*name).to_owned(), *value));
        for (name, value) in named.chain(self.times.iter().cloned()) {
            // Three digits behind the point are beyond what any of it is exact to.
            map.insert(name, json!((value * 1000.0).round() / 1000.0));
        }
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let text = format!("{:#}\n", Value::Object(map));
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_one() -> Result<()> {
        let mut figures = Figures::new();
        figures.add_times("start_ms", &mut [3.0, 1.0, 2.0])?;
        assert!((figures.get("start_ms_median") - 2.0).abs() < f64::EPSILON);
        assert!((figures.get("start_ms_max") - 3.0).abs() < f64::EPSILON);
        Ok(())
    }

    #[test]
    fn the_record_is_flat() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("x.json");
        let mut figures = Figures::new();
        figures.add("agent_pss_kib", 2048.0);
        figures.record(&path)?;
        let read: Map<String, Value> = serde_json::from_slice(&fs::read(path)?)?;
        assert!(read.values().all(|value| value.is_number() || value.is_string()));
        assert_eq!(read.get("agent_pss_kib"), Some(&json!(2048.0)));
        Ok(())
    }
}
