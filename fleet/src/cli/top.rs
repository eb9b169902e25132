//! `mote top` on the command line.

use clap::{Args, Subcommand, ValueEnum};
use mote_protocol::name::NodeName;

use crate::view::selector::Selector;

/// `mote top`.
#[derive(Debug, Subcommand)]
pub enum TopCommand {
    /// Show what nodes use
    #[command(visible_aliases = ["node", "no"])]
    Nodes(TopNodesArgs),
    /// Show what pods use
    #[command(visible_aliases = ["pod", "po"])]
    Pods(TopPodsArgs),
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SortBy {
    /// Who uses the most CPU.
    Cpu,
    /// Who uses the most memory.
    Memory,
}

/// `mote top nodes`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each node is asked and measures for a second; percentages are of what pods can have of it. Nodes that do not \
answer are <unknown>.

Examples:
  mote top nodes --sort-by=cpu
  mote top node pi-7")]
pub struct TopNodesArgs {
    /// Only this one
    #[arg(value_name = "NAME", conflicts_with = "selector")]
    pub name: Option<NodeName>,
    /// Only those whose labels match
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<Selector>,
    /// What comes first: the most cpu or memory
    #[arg(long, value_name = "WHAT")]
    pub sort_by: Option<SortBy>,
    /// Percentages of all that the node has
    #[arg(long)]
    pub show_capacity: bool,
    /// Without the row of headings
    #[arg(long)]
    pub no_headers: bool,
}

/// `mote top pods`.
#[derive(Debug, Args)]
#[command(after_help = "\
The nodes of the pods are asked and measure for a second. Memory is the working set, as a kubelet tells it; \
pods that do not run, and those of nodes that do not answer, have none.

Examples:
  mote top pods -A --sort-by=memory
  mote top pod web --containers")]
pub struct TopPodsArgs {
    /// Only those of this name
    #[arg(value_name = "NAME", conflicts_with_all = ["selector", "all_namespaces"])]
    pub name: Option<String>,
    /// Only those whose labels match
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<Selector>,
    /// Only on this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<NodeName>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// What comes first: the most cpu or memory
    #[arg(long, value_name = "WHAT")]
    pub sort_by: Option<SortBy>,
    /// Each container of a pod
    #[arg(long)]
    pub containers: bool,
    /// Without the row of headings
    #[arg(long)]
    pub no_headers: bool,
}
