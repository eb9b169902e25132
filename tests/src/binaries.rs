//! Where the built programs are.
//!
//! A test asks for them by name. `MOTE_BIN_DIR` names a directory that somebody has filled
//! already (`cargo verify`, the benchmarks); otherwise they are built once per test process, into
//! the target directory that the test itself was built in.

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

/// Names the directory that holds `mote-agent` and `mote`.
pub const DIRECTORY: &str = "MOTE_BIN_DIR";

/// The node's daemon.
pub fn agent() -> Result<PathBuf> {
    named("mote-agent")
}

/// The operators' tool.
pub fn mote() -> Result<PathBuf> {
    named("mote")
}

pub use mote_cross::workspace::{cargo, profile_directory as target_directory, root as workspace};

fn named(name: &str) -> Result<PathBuf> {
    let directory = match env::var_os(DIRECTORY) {
        Some(directory) => PathBuf::from(directory),
        None => built()?.clone(),
    };
    let path = directory.join(name);
    ensure!(path.is_file(), "{} is not there", path.display());
    Ok(path)
}

fn built() -> Result<&'static PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn build() -> Result<PathBuf> {
    let status =
        cargo().args(["build", "--quiet", "-p", "mote-agent", "-p", "mote-fleet"]).status();
    if !status.context("start cargo")?.success() {
        bail!("the programs under test do not build");
    }
    target_directory()
}
