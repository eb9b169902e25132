//! What is used, as tables: the node, then its pods.

use mote_protocol::node::Usage;
use mote_protocol::usage::{Metrics, PodMetrics, UNKNOWN, cores, mebibytes};

use super::table::Table;

/// The tables.
pub(super) fn render(node: &Usage, metrics: &Metrics) -> String {
    let mut of_node = Table::new(&["CPU(cores)", "MEMORY(bytes)", "DISK(bytes)", "PIDS"]);
    of_node.row([
        cores(metrics.cpu_milli),
        mebibytes(Some(node.memory_kib)),
        mebibytes(Some(node.disk_kib)),
        node.pids.to_string(),
    ]);
    let mut text = of_node.render("");
    if metrics.pods.is_empty() {
        return text;
    }
    let mut table = Table::new(&["NAMESPACE", "NAME", "CPU(cores)", "MEMORY(bytes)", "PIDS"]);
    for PodMetrics { namespace, name, used, .. } in &metrics.pods {
        let pids = used.pids.map_or_else(|| UNKNOWN.to_owned(), |pids| pids.to_string());
        let (cpu, memory) = (cores(used.cpu_milli), mebibytes(used.memory_kib));
        table.row([namespace.to_string(), name.to_string(), cpu, memory, pids]);
    }
    text.push('\n');
    text.push_str(&table.render(""));
    text
}

#[cfg(test)]
mod tests {
    use mote_protocol::name::{Namespace, ObjectName};
    use mote_protocol::usage::Used;

    use super::*;

    #[test]
    fn the_node_comes_before_its_pods() {
        let node = Usage { memory_kib: 70_000, disk_kib: 5000, pids: 99, ..Usage::default() };
        let pod = PodMetrics {
            namespace: Namespace::new("shop").unwrap(),
            name: ObjectName::new("web").unwrap(),
            used: Used { cpu_milli: Some(7), memory_kib: None, pids: Some(3) },
            storage_kib: None,
            network: None,
            containers: Vec::new(),
        };
        let mut metrics = Metrics { cpu_milli: Some(413), ..Metrics::default() };
        let bare = "CPU(cores)   MEMORY(bytes)   DISK(bytes)   PIDS\n\
                    413m         68Mi            4Mi           99\n";
        assert_eq!(render(&node, &metrics), bare);
        metrics.pods.push(pod);
        let pods = "\nNAMESPACE   NAME   CPU(cores)   MEMORY(bytes)   PIDS\n\
                    shop        web    7m           <unknown>       3\n";
        assert_eq!(render(&node, &metrics), format!("{bare}{pods}"));
    }
}
