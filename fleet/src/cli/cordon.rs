//! `mote cordon`, `mote uncordon`, `mote drain` and `mote reboot` on the command line.

use std::time::Duration;

use clap::Args;
use mote_protocol::name::NodeName;

use super::duration;

/// `mote cordon`.
#[derive(Debug, Args)]
#[command(after_help = "\
What runs on the node goes on running, and is still updated in place. Pods that come, and those that \
are replaced, stay Pending until the node is uncordoned, unless they tolerate \
node.kubernetes.io/unschedulable:NoSchedule. The node keeps that through restarts and power cuts; it \
must be online to be told.

Examples:
  mote cordon pi-7")]
pub struct CordonArgs {
    /// Which
    #[arg(value_name = "NODE")]
    pub node: NodeName,
}

/// `mote uncordon`.
#[derive(Debug, Args)]
#[command(after_help = "\
Pods that wait begin, and those that a drain ended run again, with the files of their volumes.

Examples:
  mote uncordon pi-7")]
pub struct UncordonArgs {
    /// Which
    #[arg(value_name = "NODE")]
    pub node: NodeName,
}

/// `mote drain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Cordons the node and ends its pods: preStop hooks, SIGTERM, grace, SIGKILL, sidecars last. They are \
held, not deleted: mote uncordon lets them run again, with the files of their volumes (an emptyDir in \
memory is lost with a reboot). Two kinds of pods are in the way. Those with restartPolicy Never that \
have begun would not run again: --force ends them, and they are Failed. Those that tolerate \
node.kubernetes.io/unschedulable:NoSchedule, as the pods of a DaemonSet do, would go on: \
--ignore-daemonsets lets them. The node stays cordoned then. Once it has begun, the node goes on by \
itself, whether anybody waits or not.

Examples:
  mote drain pi-7
  mote drain pi-7 --ignore-daemonsets --grace-period=10 --timeout=2m
  mote drain pi-7 --dry-run")]
pub struct DrainArgs {
    /// Which
    #[arg(value_name = "NODE")]
    pub node: NodeName,
    /// Seconds that each pod gets to end (default: what its spec says)
    #[arg(long, value_name = "SECONDS")]
    pub grace_period: Option<u32>,
    /// How long to wait for them; 0 is for ever
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub timeout: Duration,
    /// Also end pods with restartPolicy Never, which do not run again
    #[arg(long)]
    pub force: bool,
    /// Let pods go on that tolerate a node that is unschedulable
    #[arg(long)]
    pub ignore_daemonsets: bool,
    /// Only tell what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// `mote reboot`.
#[derive(Debug, Args)]
#[command(after_help = "\
The node must allow it: `reboot = true` in section [shutdown] of its configuration. It says that it \
will, and who asked for it, in an event; then its pods end, critical ones last, within the times of \
that section; then the machine is rebooted, and its pods run again. mote wait node NODE \
--for=condition=Ready tells when it is back.

Examples:
  mote reboot pi-7")]
pub struct RebootArgs {
    /// Which
    #[arg(value_name = "NODE")]
    pub node: NodeName,
}
