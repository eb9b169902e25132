//! `mote logs` on the command line.

use std::time::Duration;

use clap::Args;
use mote_protocol::name::NodeName;

use super::duration;
use crate::view::selector::Selector;

/// `mote logs`.
#[derive(Debug, Args)]
#[command(after_help = "\
The node reads the log and sends it as fast as it is read here; a container that has ended keeps \
its log until its pod is deleted, the last attempt before it as well (-p).

Examples:
  mote logs web
  mote logs -f web -c main --tail 20
  mote logs -p web
  mote logs web --all-containers --prefix --since 10m
  mote logs -f -l app=web --max-log-requests 10")]
pub struct LogsArgs {
    /// The pod: NAME or pod/NAME
    #[arg(value_name = "POD", required_unless_present = "selector")]
    pub pod: Option<String>,
    /// The container, as with -c
    #[arg(value_name = "CONTAINER", conflicts_with_all = ["container", "all_containers"])]
    pub container_name: Option<String>,
    /// The container; else the pod's default or first one
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_containers")]
    pub container: Option<String>,
    /// Go on with what it prints, until it ends
    #[arg(short, long)]
    pub follow: bool,
    /// Print what the previous attempt of the container printed
    #[arg(short, long)]
    pub previous: bool,
    /// Pods whose labels match
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with_all = ["pod", "container_name"])]
    pub selector: Option<Selector>,
    /// Only so many of the last lines; -1 is all (default: all; with -l 10)
    #[arg(long, value_name = "LINES", allow_negative_numbers = true)]
    pub tail: Option<i64>,
    /// Logs that may be followed at one time
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    pub max_log_requests: usize,
    /// Only lines that are newer than this long
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "since_time")]
    pub since: Option<Duration>,
    /// Only lines that are newer than this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub since_time: Option<String>,
    /// Begin each line with its time
    #[arg(long)]
    pub timestamps: bool,
    /// Of all containers of the pod
    #[arg(long)]
    pub all_containers: bool,
    /// No more than so many bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit_bytes: Option<u64>,
    /// Begin each line with its pod and container
    #[arg(long)]
    pub prefix: bool,
    /// The pod on this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<NodeName>,
}
