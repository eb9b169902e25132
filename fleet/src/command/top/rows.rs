//! The tables of `mote top`, by kubectl's rules.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use mote_protocol::name::{NodeName, ObjectKey};
use mote_protocol::node::{NodeStatus, Usage};
use mote_protocol::usage::{
    ContainerMetrics, Metrics, PodMetrics, UNKNOWN, Used, cores, mebibytes,
};

use super::Told;
use crate::cli::{SortBy, TopPodsArgs};
use crate::output::table::Table;
use crate::view::pod::PodView;

/// What a node uses, and of how much.
pub(super) struct NodeRow<'a> {
    name: &'a NodeName,
    /// Thousandths of a core and KiB; none where the node told nothing.
    used: Option<(Option<u32>, u64)>,
    /// The same of what counts as all.
    all: (u64, u64),
}

impl<'a> NodeRow<'a> {
    /// Of a node that told this, if anything; of all that it has (`capacity`) or that pods can have.
    pub(super) fn new(
        name: &'a NodeName,
        told: Option<&(Usage, Metrics)>,
        status: Option<&NodeStatus>,
        capacity: bool,
    ) -> Self {
        let all = status.map_or((0, 0), |status| {
            let of = if capacity { &status.capacity } else { &status.allocatable };
            (of.cpu_milli.into(), of.memory_kib)
        });
        let used = told.map(|(usage, metrics)| (metrics.cpu_milli, usage.memory_kib));
        Self { name, used, all }
    }

    fn cells(&self) -> Vec<String> {
        let Some((cpu, memory)) = self.used else {
            return [self.name.as_str(), UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
                .map(str::to_owned)
                .into();
        };
        let cpu_share = cpu.map_or_else(unknown, |cpu| percent(cpu.into(), self.all.0));
        vec![
            self.name.to_string(),
            cores(cpu),
            cpu_share,
            mebibytes(Some(memory)),
            percent(memory, self.all.1),
        ]
    }
}

/// The table of nodes; those that told nothing come last.
pub(super) fn nodes(mut rows: Vec<NodeRow<'_>>, sort_by: Option<SortBy>, headings: bool) -> String {
    let amount = |row: &NodeRow<'_>| match (sort_by, row.used) {
        (None, _) | (_, None) => 0,
        (Some(SortBy::Cpu), Some((cpu, _))) => cpu.unwrap_or(0).into(),
        (Some(SortBy::Memory), Some((_, memory))) => memory,
    };
    rows.sort_by_key(|row| (row.used.is_none(), Reverse(amount(row)), row.name));
    let columns = ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"];
    table(&columns, rows.iter().map(NodeRow::cells), headings)
}

/// What a pod uses.
#[derive(Clone)]
pub(super) struct PodRow<'a> {
    key: &'a ObjectKey,
    node: &'a NodeName,
    metrics: &'a PodMetrics,
}

impl<'a> PodRow<'a> {
    /// None where its node told nothing of it.
    pub(super) fn of(pod: &'a PodView<'_>, told: &'a Told) -> Option<Self> {
        let node = pod.node_name()?;
        let of_node = &told.get(node)?.1.pods;
        let key = pod.key;
        let is_it = |one: &&PodMetrics| one.namespace == key.namespace && one.name == key.name;
        Some(Self { key, node, metrics: of_node.iter().find(is_it)? })
    }
}

/// The table of pods, or of their containers.
pub(super) fn pods(mut rows: Vec<PodRow<'_>>, args: &TopPodsArgs) -> String {
    let amount = |used: &Used| match args.sort_by {
        None => 0,
        Some(SortBy::Cpu) => used.cpu_milli.unwrap_or(0).into(),
        Some(SortBy::Memory) => used.memory_kib.unwrap_or(0),
    };
    rows.sort_by_key(|row| (Reverse(amount(&row.metrics.used)), row.key, row.node));
    let several = rows.iter().map(|row| row.node).collect::<BTreeSet<_>>().len() > 1;
    let mut columns = Vec::new();
    if args.all_namespaces {
        columns.push("NAMESPACE");
    }
    columns.extend(if args.containers { &["POD", "NAME"][..] } else { &["NAME"] });
    columns.extend(["CPU(cores)", "MEMORY(bytes)"]);
    // Names alone would not tell pods apart.
    if several {
        columns.push("NODE");
    }
    let cells = |row: &PodRow<'_>, container: Option<&ContainerMetrics>| {
        let used = container.map_or(&row.metrics.used, |container| &container.used);
        let mut cells = Vec::new();
        if args.all_namespaces {
            cells.push(row.key.namespace.to_string());
        }
        cells.push(row.key.name.to_string());
        cells.extend(container.map(|container| container.name.to_string()));
        cells.extend([cores(used.cpu_milli), mebibytes(used.memory_kib)]);
        if several {
            cells.push(row.node.to_string());
        }
        cells
    };
    let mut all = Vec::new();
    for row in &rows {
        if !args.containers {
            all.push(cells(row, None));
            continue;
        }
        let mut containers: Vec<&ContainerMetrics> = row.metrics.containers.iter().collect();
        containers.sort_by_key(|one| (Reverse(amount(&one.used)), &one.name));
        all.extend(containers.into_iter().map(|container| cells(row, Some(container))));
    }
    table(&columns, all.into_iter(), !args.no_headers)
}

fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>, headings: bool) -> String {
    let mut table = if headings { Table::with_headings(columns) } else { Table::default() };
    rows.for_each(|row| table.push(row));
    table.format()
}

fn percent(used: u64, all: u64) -> String {
    if all == 0 {
        return unknown();
    }
    format!("{}%", u128::from(used) * 100 / u128::from(all))
}

fn unknown() -> String {
    UNKNOWN.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::node::Resources;

    #[test]
    fn nodes_that_told_nothing_come_last_whatever_comes_first() {
        let names = ["a", "b", "c", "d"].map(|name| NodeName::new(name).expect("a name"));
        let told = |cpu_milli, memory_kib| {
            let usage = Usage { memory_kib, ..Usage::default() };
            (usage, Metrics { cpu_milli, ..Metrics::default() })
        };
        let told = [
            None,
            Some(told(Some(413), 300_000)),
            Some(told(Some(2000), 200_000)),
            Some(told(None, 1)),
        ];
        let has =
            |cpu_milli, memory_kib| Resources { cpu_milli, memory_kib, ..Resources::default() };
        let status = NodeStatus {
            capacity: has(4000, 1_000_000),
            allocatable: has(3900, 900_000),
            ..NodeStatus::default()
        };
        let shown = |sort_by, capacity| {
            let rows = names.iter().zip(&told);
            let rows =
                rows.map(|(name, told)| NodeRow::new(name, told.as_ref(), Some(&status), capacity));
            nodes(rows.collect(), sort_by, true)
        };
        assert_eq!(
            shown(None, false),
            "NAME   CPU(cores)   CPU(%)      MEMORY(bytes)   MEMORY(%)\n\
             b      413m         10%         292Mi           33%\n\
             c      2000m        51%         195Mi           22%\n\
             d      <unknown>    <unknown>   0Mi             0%\n\
             a      <unknown>    <unknown>   <unknown>       <unknown>\n"
        );
        let order = |text: &str| {
            text.lines().skip(1).filter_map(|line| line.chars().next()).collect::<String>()
        };
        assert_eq!(order(&shown(Some(SortBy::Cpu), false)), "cbda");
        assert_eq!(order(&shown(Some(SortBy::Memory), false)), "bcda");
        assert!(
            shown(None, true).contains("b      413m         10%         292Mi           30%\n")
        );
    }

    #[test]
    fn without_amounts_of_a_node_there_are_no_percentages() {
        assert_eq!(
            (percent(5, 0), percent(999, 1000), percent(u64::MAX, 1)),
            ("<unknown>".into(), "99%".into(), format!("{}%", u128::from(u64::MAX) * 100))
        );
    }
}
