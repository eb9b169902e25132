//! A whole distribution, small as they come: thousands of files that nobody here has made up.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mote_tests::binaries;
use mote_tests::process::command;

const RELEASE: &str = "bookworm";

/// A packed Debian. It is made once, in the target directory: that takes a minute or two and a
/// mirror. Several tests may ask at once.
pub(crate) fn packed() -> Result<Vec<u8>> {
    let cache = cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let lock = File::create(cache.join("lock"))?;
    lock.lock().context("wait for another test that installs Debian")?;
    let archive = cache.join(format!("{RELEASE}.tar"));
    if !archive.is_file() {
        make(&cache, &archive).with_context(|| format!("install Debian {RELEASE}"))?;
    }
    fs::read(&archive).with_context(|| format!("read {}", archive.display()))
}

/// Beside what virtual boards are made of, for every profile.
fn cache() -> Result<PathBuf> {
    let profile = binaries::target_directory()?;
    let target = profile.parent().context("a profile's directory lies in the target directory")?;
    Ok(target.join("debian"))
}

fn make(cache: &Path, archive: &Path) -> Result<()> {
    let directory = tempfile::Builder::new().prefix("debootstrap-").tempdir_in(cache)?;
    let tree = directory.path().join("tree");
    // It mounts `proc` while it works: in mounts of its own, nothing stays if it is killed.
    let mut install = command("unshare");
    install.args(["--mount", "--", "debootstrap", "--variant=minbase", RELEASE]);
    run(install.arg(&tree).args(mirror()))?;
    // Packages as they were fetched: a third of the whole, and nothing that others are not.
    fs::remove_dir_all(tree.join("var/cache/apt/archives"))?;
    let partial = directory.path().join("tree.tar");
    let mut pack = command("tar");
    pack.args(["--format=posix", "--numeric-owner", "--xattrs", "--xattrs-include=*"]);
    pack.arg("--file").arg(&partial).arg("--directory").arg(&tree).args(["--create", "."]);
    run(&mut pack)?;
    fs::rename(&partial, archive).with_context(|| format!("move to {}", archive.display()))
}

/// The first mirror of Debian that apt itself uses; debootstrap knows one where there is none.
fn mirror() -> Option<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let told = targets.output().map(|output| output.stdout).unwrap_or_default();
    let told = String::from_utf8_lossy(&told);
    let mirror = told.lines().find(|line| line.trim_end_matches('/').ends_with("/debian"));
    mirror.map(str::to_owned)
}

/// Runs a tool; its error is what it printed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    ensure!(output.status.success(), "{command:?} fails:\n{told}");
    Ok(())
}
