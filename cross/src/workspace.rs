//! The workspace that the running program was built from, and its target directory.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// A cargo command for this workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The directory of this profile: the one that `deps/` with the running test, or the running
/// program itself, lies in.
pub fn profile_directory() -> Result<PathBuf> {
    let program = env::current_exe().context("find the running program")?;
    let directory = program.parent().context("a program has a directory")?;
    let directory = if directory.ends_with("deps") { directory.parent() } else { Some(directory) };
    Ok(directory.context("deps has a parent")?.to_owned())
}

/// The target directory, which all profiles share.
pub fn target_directory() -> Result<PathBuf> {
    let profile = profile_directory()?;
    let target = profile.parent().context("a profile's directory lies in the target directory")?;
    Ok(target.to_owned())
}
