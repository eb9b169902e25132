//! Whom objects are sent to, on the command line.

use std::time::Duration;

use clap::Args;
use mote_protocol::name::{GroupName, NodeName};

use super::duration;
use crate::output::format::OutputFormat;
use crate::view::selector::Selector;

/// Which nodes are meant.
#[derive(Debug, Default, Args)]
#[group(multiple = false)]
pub struct Target {
    /// The node with this name
    #[arg(long, value_name = "NAME")]
    pub node: Option<NodeName>,
    /// Every node whose labels match
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<Selector>,
    /// Every node whose configuration lists the group, also future ones
    #[arg(long, value_name = "NAME")]
    pub group: Option<GroupName>,
    /// Every node of the fleet, also future ones (or --all)
    #[arg(long = "all-nodes", alias = "all")]
    pub all: bool,
}

/// Whom objects are sent to, and what is printed of it.
#[derive(Debug, Args)]
pub struct Delivery {
    /// Which nodes
    #[command(flatten)]
    pub target: Target,
    /// Only check and print: none or client
    #[arg(long, value_name = "MODE", default_value = "none", value_parser = ["none", "client"])]
    pub dry_run: String,
    /// Wait until the nodes took it
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// json, yaml or name
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<OutputFormat>,
}
