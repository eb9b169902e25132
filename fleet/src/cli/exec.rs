//! `mote exec` on the command line.

use clap::Args;
use mote_protocol::name::NodeName;

/// `mote exec`.
#[derive(Debug, Args)]
#[command(after_help = "\
The node must allow it: `exec = true` in section [streams] of its configuration. It tells of each \
command in an event. The exit code is the command's own. A command whose operator is gone loses its \
input and outputs, or its terminal, and is killed five seconds later.

Examples:
  mote exec web -- date
  mote exec web -c main -it -- sh
  mote exec -i web -- sh -c 'cat > /tmp/file' < file")]
pub struct ExecArgs {
    /// The pod: NAME or pod/NAME
    #[arg(value_name = "POD")]
    pub pod: String,
    /// The container; else the pod's default or first one
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// Pass standard input to the command
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the command a terminal, with -i
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Print only what the command prints
    #[arg(short, long)]
    pub quiet: bool,
    /// The pod on this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<NodeName>,
    /// The command, behind --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
