//! `mote create` on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use mote_protocol::name::ObjectName;

use super::Delivery;

/// `mote create`.
#[derive(Debug, Subcommand)]
pub enum CreateCommand {
    /// Create a configmap from files, directories or literals
    #[command(
        visible_alias = "cm",
        after_help = "\
Examples:
  mote create configmap settings --from-literal=level=debug --node pi-7
  mote create configmap settings --from-file=app.conf --from-file=list=names.txt --all-nodes
  mote create cm settings --from-env-file=app.env --dry-run=client -o yaml"
    )]
    Configmap {
        /// Its name
        name: ObjectName,
        /// What it holds.
        #[command(flatten)]
        content: ContentArgs,
        /// To whom.
        #[command(flatten)]
        delivery: Delivery,
    },
    /// Create a secret
    #[command(subcommand)]
    Secret(CreateSecret),
}

/// `mote create secret`.
#[derive(Debug, Subcommand)]
pub enum CreateSecret {
    /// Create a secret from files, directories or literals
    #[command(after_help = "\
A literal stands in the shell's history and in the list of processes: prefer files.

Examples:
  mote create secret generic keys --from-file=ssh-privatekey=id_ed25519 --node pi-7
  mote create secret generic login --from-literal=username=root --from-file=password --all-nodes")]
    Generic {
        /// Its name
        name: ObjectName,
        /// What it is for
        #[arg(long = "type", value_name = "TYPE", default_value = "")]
        secret_type: String,
        /// What it holds.
        #[command(flatten)]
        content: ContentArgs,
        /// To whom.
        #[command(flatten)]
        delivery: Delivery,
    },
    /// Create a secret from a certificate and its key
    Tls {
        /// Its name
        name: ObjectName,
        /// The certificate and those it was signed with (PEM)
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        cert: PathBuf,
        /// Its private key (PEM)
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        key: PathBuf,
        /// To whom.
        #[command(flatten)]
        delivery: Delivery,
    },
    /// Create a secret for a registry
    #[command(after_help = "\
A password on the command line stands in the shell's history and in the list of processes: prefer \
--from-file.

Examples:
  mote create secret docker-registry pull --from-file=config.json --all-nodes")]
    DockerRegistry {
        /// Its name
        name: ObjectName,
        /// The registry
        #[arg(long, value_name = "HOST", default_value = "https://index.docker.io/v1/")]
        docker_server: String,
        /// The user there
        #[arg(
            long,
            value_name = "NAME",
            requires = "docker_password",
            required_unless_present = "from_file"
        )]
        docker_username: Option<String>,
        /// The user's password
        #[arg(long, value_name = "PASSWORD", requires = "docker_username")]
        docker_password: Option<String>,
        /// The user's address
        #[arg(long, value_name = "ADDRESS", default_value = "", requires = "docker_username")]
        docker_email: String,
        /// A config.json of docker, in place of the others
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["docker_username", "docker_server"])]
        from_file: Option<PathBuf>,
        /// To whom.
        #[command(flatten)]
        delivery: Delivery,
    },
}

/// Where keys and values come from.
#[derive(Debug, Default, Args)]
pub struct ContentArgs {
    /// A file, under its own name or this key; of a directory, every file whose name may be a key
    #[arg(long, value_name = "[KEY=]PATH", value_hint = ValueHint::AnyPath)]
    pub from_file: Vec<String>,
    /// A key and its value
    #[arg(long, value_name = "KEY=VALUE")]
    pub from_literal: Vec<String>,
    /// A file with lines KEY=VALUE; KEY alone takes its value from the environment
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["from_file", "from_literal"])]
    pub from_env_file: Vec<PathBuf>,
}
