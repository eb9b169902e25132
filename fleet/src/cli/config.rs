//! Arguments of `mote config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `mote config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the name of the current context
    CurrentContext,
    /// List the contexts
    GetContexts {
        /// Only these
        names: Vec<String>,
        /// name
        #[arg(short, long, value_name = "FORMAT", value_parser = ["name"])]
        output: Option<String>,
        /// Without the row of headings
        #[arg(long)]
        no_headers: bool,
    },
    /// Make a context the current one
    UseContext {
        /// Its name
        name: String,
    },
    /// Write a context, or change some of it
    SetContext(Box<SetContextArgs>),
    /// Remove a context
    DeleteContext {
        /// Its name
        name: String,
    },
    /// Print the configuration file
    View,
}

/// `mote config set-context`.
#[derive(Debug, Args)]
pub struct SetContextArgs {
    /// Its name
    #[arg(required_unless_present = "current")]
    pub name: Option<String>,
    /// The current context
    #[arg(long, conflicts_with = "name")]
    pub current: bool,
    /// Where the broker is
    #[arg(long, value_name = "mqtt[s]://HOST[:PORT]")]
    pub broker: Option<String>,
    /// The fleet
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<String>,
    /// Who may vouch for the broker (PEM)
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Our certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Our name
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// The file whose first line is our password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}
