//! The command line.

mod config;
mod cordon;
mod create;
mod delivery;
mod duration;
mod exec;
mod get_events;
mod image;
mod image_save;
mod logs;
mod port_forward;
mod top;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use mote_protocol::name::{GroupName, Namespace, NodeName};

use crate::output::format::OutputFormat;
use crate::view::selector::Selector;
pub use config::{ConfigCommand, SetContextArgs};
pub use cordon::{CordonArgs, DrainArgs, RebootArgs, UncordonArgs};
pub use create::{ContentArgs, CreateCommand, CreateSecret};
pub use delivery::{Delivery, Target};
pub use duration::{DurationError, duration};
pub use exec::ExecArgs;
pub use image::{ImageCommand, ListArgs, NodeImages, Place};
pub use image_save::{AskedPlatform, SaveArgs};
pub use logs::LogsArgs;
pub use port_forward::{Listen, PortError, PortForwardArgs, PortPair};
pub use top::{SortBy, TopCommand, TopNodesArgs, TopPodsArgs};

/// What `mote --help` says of the commands, by what they are for.
const COMMANDS: &str = "\
Basic Commands:
  create      Create a configmap or a secret from files or literals
  apply       Apply pods, configmaps, secrets and services from files or stdin to nodes
  get         Display nodes, pods, configmaps, secrets or services
  compile     Make files that ask a node for static pods of manifests
  delete      Delete pods, configmaps, secrets or services, or forget a dead node

Troubleshooting Commands:
  describe    Show details of nodes, pods, configmaps, secrets or services
  logs        Print the logs of a container in a pod
  exec        Execute a command in a container
  port-forward Forward one or more local ports to a pod
  top         Show what nodes or pods use
  events      List and watch events
  doctor      Tell what ails a node, and what to do about it
  wait        Wait for a condition of nodes or objects

Node Commands:
  cordon      Mark a node as unschedulable
  uncordon    Mark a node as schedulable
  drain       End the pods of a node, in preparation for maintenance
  reboot      Reboot a node, after its pods have ended
  image       See and change which images nodes have, and save images for carrying

Settings Commands:
  config      Show and change the configuration file
  version     Print the versions of this tool and of the nodes
";

const TEMPLATE: &str = "\
{about}

{before-help}{usage-heading} {usage}

Options:
{options}

Use \"mote COMMAND --help\" for more information about a command.
";

/// What is said of `--config`.
const CONFIG: &str =
    "Configuration file (default $MOTE_CONFIG, ~/.config/mote/config or ~/.mote/config)";

/// Where the help of a command shows the flags that are not its own.
const GLOBAL: &str = "Global Options";

/// mote controls a fleet of nodes through their MQTT broker.
#[derive(Debug, Parser)]
#[command(
    name = "mote",
    version,
    before_help = COMMANDS,
    help_template = TEMPLATE,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Which fleet, as whom.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file; else that of the variable
    // Not by clap's `env`: what that finds counts as used, and every usage line would show the flag.
    #[arg(long, global = true, help = CONFIG, help_heading = GLOBAL, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Context of the configuration file to use
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace of this request
    #[arg(short, long, global = true, help_heading = GLOBAL, value_name = "NAME")]
    pub namespace: Option<Namespace>,
    /// How long the broker may take for one answer
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub request_timeout: Duration,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a configmap or a secret from files or literals
    #[command(subcommand)]
    Create(CreateCommand),
    /// Apply pods, configmaps, secrets and services from files or stdin to nodes
    Apply(ApplyArgs),
    /// Make files that ask a node for static pods of manifests
    Compile(CompileArgs),
    /// Display nodes, pods, configmaps, secrets or services
    Get(GetArgs),
    /// Delete pods, configmaps, secrets or services, or forget a dead node
    Delete(DeleteArgs),
    /// Show details of nodes, pods, configmaps, secrets or services
    Describe(DescribeArgs),
    /// Show what nodes or pods use
    #[command(subcommand)]
    Top(TopCommand),
    /// List and watch events
    Events(EventsArgs),
    /// Tell what ails a node, and what to do about it
    Doctor(DoctorArgs),
    /// Print the logs of a container in a pod
    Logs(LogsArgs),
    /// Execute a command in a container
    Exec(ExecArgs),
    /// Forward one or more local ports to a pod
    PortForward(PortForwardArgs),
    /// Mark a node as unschedulable
    Cordon(CordonArgs),
    /// Mark a node as schedulable
    Uncordon(UncordonArgs),
    /// End the pods of a node, in preparation for maintenance
    Drain(DrainArgs),
    /// Reboot a node, after its pods have ended
    Reboot(RebootArgs),
    /// See and change which images nodes have, and save images for carrying
    #[command(subcommand)]
    Image(ImageCommand),
    /// Wait for a condition of nodes or objects
    Wait(WaitArgs),
    /// Print the versions of this tool and of the nodes
    Version(VersionArgs),
    /// Show and change the configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// `mote apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
A pod goes to the node that spec.nodeName or --node names, to each node that -l selects, to a \
group of nodes, or to --all-nodes; so does a ConfigMap, Secret or Service, which has no spec.nodeName. Of \
several objects those that hold data go first. apply has succeeded when the status of each node \
that is known to be meant shows what was sent; a node that is offline gets it when it comes back.

Examples:
  mote apply -f pod.yaml --node pi-7
  mote apply -f configmap.yaml --all-nodes
  mote apply -f manifests/ -l node-role.kubernetes.io/gateway
  cat pod.json | mote apply -f - --all-nodes")]
pub struct ApplyArgs {
    /// What is applied
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// To whom, and what is printed of it
    #[command(flatten)]
    pub delivery: Delivery,
    /// End pods, and immutable data that differs, and start the new under a new uid
    #[arg(long)]
    pub force: bool,
}

/// Manifests that are read.
#[derive(Debug, Args)]
pub struct ManifestArgs {
    /// File, directory or - for stdin; may be given several times
    #[arg(short, long, required = true, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub filename: Vec<PathBuf>,
    /// Also read the directories below
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Refuse manifests with fields that have no effect
    #[arg(long)]
    pub strict: bool,
}

/// `mote compile`.
#[derive(Debug, Args)]
#[command(after_help = "\
A static pod belongs to the node that has its file: it runs with no broker, nothing that is published \
changes or ends it, and it is called NAME-NODE. A node looks in /etc/mote/manifests, and notices when a file \
comes, changes or goes. The broker is not asked, and no configuration is needed.

Examples:
  mote compile -f web.yaml -o /etc/mote/manifests
  mote compile -f manifests/ -o pods && scp pods/*.pod pi-7:/etc/mote/manifests/")]
pub struct CompileArgs {
    /// What is compiled
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// The directory that the files are written to
    #[arg(short, long, help = "The directory that the files NAMESPACE_NAME.pod are written to", value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
}

/// `mote get`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mote get nodes -o wide
  mote get pods -A --show-labels
  mote get configmaps,secrets
  mote get pod web --node pi-7 -o yaml
  mote get pods -o jsonpath='{range .items[*]}{.metadata.name}{\"\\n\"}{end}'")]
pub struct GetArgs {
    /// pods, configmaps (cm), secrets, services (svc), nodes (also pods,nodes) or events, and names; or TYPE/NAME
    #[arg(required = true, value_name = "TYPE [NAME...] | TYPE/NAME...")]
    pub resources: Vec<String>,
    /// wide, json, yaml, name, jsonpath=TEMPLATE or jsonpath-file=FILE
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<OutputFormat>,
    /// Only those whose labels match
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<Selector>,
    /// Only on this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<NodeName>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// With labels as the last column
    #[arg(long)]
    pub show_labels: bool,
    /// Without the row of headings
    #[arg(long)]
    pub no_headers: bool,
    /// Go on to show what changes
    #[arg(short, long)]
    pub watch: bool,
    /// Show what changes, not what is
    #[arg(long)]
    pub watch_only: bool,
    /// Say nothing where a named object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// `mote delete`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A pod, ConfigMap, Secret or Service is gone when its nodes say so; a node that is offline hears of it when it \
comes back. \
`delete node` clears all that the broker holds of a node that will not come back.

Examples:
  mote delete pod web
  mote delete pod web --node pi-7 --now
  mote delete configmap settings
  mote delete -f pod.yaml
  mote delete node pi-7")]
pub struct DeleteArgs {
    /// pods, configmaps (cm), secrets, services (svc) or nodes, and names; or TYPE/NAME
    #[arg(value_name = "TYPE [NAME...] | TYPE/NAME...", required_unless_present = "filename")]
    pub resources: Vec<String>,
    /// Delete what is in a file, a directory or - for stdin
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath, conflicts_with = "resources")]
    pub filename: Vec<PathBuf>,
    /// Also read the directories below
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Those whose labels match
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "filename")]
    pub selector: Option<Selector>,
    /// All of the namespace
    #[arg(long, conflicts_with_all = ["selector", "filename"])]
    pub all: bool,
    /// In all namespaces, with --all or -l
    #[arg(short = 'A', long, conflicts_with = "filename")]
    pub all_namespaces: bool,
    /// Only on this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<NodeName>,
    /// On every node that has it
    #[arg(long, conflicts_with = "node")]
    pub all_nodes: bool,
    /// What was applied to this group, on every node of it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["node", "all_nodes"])]
    pub group: Option<GroupName>,
    /// Seconds that containers get to end
    #[arg(long, value_name = "SECONDS")]
    pub grace_period: Option<u32>,
    /// One second of grace
    #[arg(long, conflicts_with = "grace_period")]
    pub now: bool,
    /// No grace, and do not wait; for nodes: even where the node is online
    #[arg(long)]
    pub force: bool,
    /// Wait until they are gone
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub wait: bool,
    /// How long to wait (default: the grace period and half a minute)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Say nothing where a named object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
    /// name
    #[arg(short, long, value_name = "FORMAT", value_parser = ["name"])]
    pub output: Option<String>,
}

/// `mote describe`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mote describe pod web
  mote describe node pi-7
  mote describe configmap settings
  mote describe pods -l app=web")]
pub struct DescribeArgs {
    /// pods, configmaps (cm), secrets, services (svc) or nodes, and names; or TYPE/NAME
    #[arg(required = true, value_name = "TYPE [NAME...] | TYPE/NAME...")]
    pub resources: Vec<String>,
    /// Only those whose labels match
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<Selector>,
    /// Only on this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<NodeName>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// With the events about it, for which its node is asked
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub show_events: bool,
}

/// `mote events`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each node keeps its last events; those that are online are asked.

Examples:
  mote events -A
  mote events --for pod/web --types=Warning
  mote events --node pi-7 -w")]
pub struct EventsArgs {
    /// Only about this: pod/NAME, configmap/NAME, secret/NAME, service/NAME or node/NAME
    #[arg(long = "for", value_name = "TYPE/NAME")]
    pub about: Option<String>,
    /// Only of this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<NodeName>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only of these types: Normal, Warning
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = ["Normal", "Warning"], ignore_case = true)]
    pub types: Vec<String>,
    /// wide, json, yaml, jsonpath=TEMPLATE or jsonpath-file=FILE
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<OutputFormat>,
    /// Without the row of headings
    #[arg(long)]
    pub no_headers: bool,
    /// Go on to show what happens
    #[arg(short, long)]
    pub watch: bool,
}

/// `mote doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
The node looks at its kernel, clock, disk, configuration, certificates and broker, and says what the \
broker refuses it; that takes some seconds. A node that cannot be reached is examined at the machine, \
with mote-agent ctl doctor. The exit code is 1 where there is a problem; hints are none.

Examples:
  mote doctor pi-7
  mote doctor pi-7 -o json")]
pub struct DoctorArgs {
    /// Which
    #[arg(value_name = "NODE")]
    pub node: NodeName,
    /// json, yaml, jsonpath=TEMPLATE or jsonpath-file=FILE
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<OutputFormat>,
}

/// `mote wait`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mote wait pod/web --for=condition=Ready --timeout=60s
  mote wait pod/web --for=jsonpath='{.status.phase}'=Succeeded
  mote wait --for=delete pod/web
  mote wait node pi-7 --for=condition=Ready=False")]
pub struct WaitArgs {
    /// pods, configmaps (cm), secrets, services (svc) or nodes, and names; or TYPE/NAME
    #[arg(required = true, value_name = "TYPE [NAME...] | TYPE/NAME...")]
    pub resources: Vec<String>,
    /// create, delete, condition=NAME[=VALUE] or jsonpath='{EXPRESSION}'[=VALUE]
    #[arg(long = "for", value_name = "WHAT")]
    pub wanted: String,
    /// Those whose labels match
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<Selector>,
    /// All of the namespace
    #[arg(long)]
    pub all: bool,
    /// Only on this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<NodeName>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// How long to wait in all
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
}

/// `mote version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Do not ask the broker
    #[arg(long)]
    pub client: bool,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    pub output: Option<String>,
}

#[cfg(test)]
mod tests;
