//! Where the built programs are.
//!
//! A test asks for them by name. `MOTE_BIN_DIR` names a directory that somebody has filled
//! already (`cargo verify`, the benchmarks); otherwise they are built once per test process, into
//! the target directory that the test itself was built in.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
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

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// A cargo command for this workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

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

/// The directory of this profile: the one that `deps/` with the running test, or the running
/// program itself, lies in.
pub fn target_directory() -> Result<PathBuf> {
    let program = env::current_exe().context("find the running program")?;
    let directory = program.parent().context("a program has a directory")?;
    let directory = if directory.ends_with("deps") { directory.parent() } else { Some(directory) };
    Ok(directory.context("deps has a parent")?.to_owned())
}
