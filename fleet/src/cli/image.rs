//! `mote image` on the command line.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{SaveArgs, Target, duration};

/// `mote image`.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Those of nodes.
    #[command(flatten)]
    Nodes(NodeImages),
    /// Write images from a registry to an archive that nodes import
    Save(SaveArgs),
}

/// What is asked of nodes.
#[derive(Debug, Subcommand)]
pub enum NodeImages {
    /// List the images of nodes
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Fetch an image before a pod asks for it
    Pull {
        /// The image
        image: String,
        /// Where, and for how long.
        #[command(flatten)]
        place: Place,
    },
    /// Remove images that no pod needs, by name or id
    #[command(visible_alias = "remove")]
    Rm {
        /// Names or ids
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
        /// Where, and for how long.
        #[command(flatten)]
        place: Place,
    },
    /// Remove all images that no pod needs
    Prune {
        /// Where, and for how long.
        #[command(flatten)]
        place: Place,
    },
    /// Compare every byte with what was unpacked; what is damaged is fetched again when it is needed
    Verify {
        /// Where, and for how long.
        #[command(flatten)]
        place: Place,
    },
}

/// `mote image ls`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which nodes; all that are online unless told
    #[command(flatten)]
    pub target: Target,
    /// Without the row of headings
    #[arg(long)]
    pub no_headers: bool,
}

/// Which nodes, and how long they may take.
#[derive(Debug, Args)]
pub struct Place {
    /// Which nodes
    #[command(flatten)]
    pub target: Target,
    /// How long to wait for their answers; they go on without us
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
}
