//! A whole Debian, small as they come, to install packages in and to make images of.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::target::Target;
use crate::workspace;

mod foreign;

pub(crate) use foreign::Wanted;

/// Which Debian.
const RELEASE: &str = "bookworm";

/// How long one for a board is taken for what its packages are.
const FRESH: Duration = Duration::from_hours(7 * 24);

/// What a system has that boots.
const SYSTEM: [&str; 6] =
    ["systemd-sysv", "udev", "kmod", "iproute2", "nftables", "ca-certificates"];

/// A packed Debian of this machine's architecture. It is made once, in the target directory: that
/// takes a minute or two and a mirror. Several may ask at once.
pub fn packed() -> Result<PathBuf> {
    provide(RELEASE, |cache, archive| make(cache, archive, &[]))
}

/// The same with systemd, and what a node's network takes: a system that boots.
pub fn packed_system(target: Target) -> Result<PathBuf> {
    if target.is_native() {
        return provide(&format!("{RELEASE}-system"), |cache, archive| {
            make(cache, archive, &SYSTEM)
        });
    }
    let wanted = Wanted { packages: &SYSTEM, components: "main", options: &[] };
    packed_foreign(&format!("{RELEASE}-system-{}", target.name()), target, &wanted)
}

/// One for a board's card.
pub(crate) fn packed_for_cards(target: Target, wanted: &Wanted<'_>) -> Result<PathBuf> {
    packed_foreign(&format!("{RELEASE}-card-{}", target.name()), target, wanted)
}

fn packed_foreign(name: &str, target: Target, wanted: &Wanted<'_>) -> Result<PathBuf> {
    // Another list of packages is another system, and what was mended since is not in an old one.
    let mut hash = DefaultHasher::new();
    (wanted.packages, wanted.components, wanted.options).hash(&mut hash);
    let name = format!("{name}-{:016x}", hash.finish());
    let old = cache()?.join(format!("{name}.tar"));
    let age = fs::metadata(&old).ok().and_then(|found| found.modified().ok()?.elapsed().ok());
    if age.is_some_and(|age| age > FRESH) {
        fs::remove_file(&old).context("remove an old Debian")?;
    }
    provide(&name, |cache, archive| {
        let directory = unfinished(cache)?;
        let partial = directory.join("tree.tar");
        foreign::install(target, wanted, &partial)?;
        fs::rename(&partial, archive)?;
        fs::remove_dir_all(&directory).context("remove where the archive was made")
    })
}

fn provide(name: &str, make: impl Fn(&Path, &Path) -> Result<()>) -> Result<PathBuf> {
    let cache = cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let lock = File::create(cache.join("lock"))?;
    lock.lock().context("wait for another test that installs Debian")?;
    let archive = cache.join(format!("{name}.tar"));
    if !archive.is_file() {
        make(&cache, &archive).with_context(|| format!("install Debian {RELEASE}"))?;
    }
    Ok(archive)
}

/// Beside what virtual boards are made of, for every profile.
fn cache() -> Result<PathBuf> {
    Ok(workspace::target_directory()?.join("debian"))
}

/// An empty directory to make one in.
fn unfinished(cache: &Path) -> Result<PathBuf> {
    // What an earlier one left that was killed.
    let directory = cache.join(format!("{RELEASE}.partial"));
    if directory.exists() {
        fs::remove_dir_all(&directory).context("remove an unfinished Debian")?;
    }
    fs::create_dir(&directory)?;
    Ok(directory)
}

fn make(cache: &Path, archive: &Path, packages: &[&str]) -> Result<()> {
    let directory = unfinished(cache)?;
    let tree = directory.join("tree");
    fs::create_dir(&tree)?;
    // It mounts `proc` while it works: in mounts of its own, nothing stays if it is killed.
    let mut install = Command::new("unshare");
    install.args(["--mount", "--", "debootstrap", "--variant=minbase"]);
    if !packages.is_empty() {
        install.arg(format!("--include={}", packages.join(",")));
    }
    install.arg(RELEASE);
    run(install.arg(&tree).args(mirror()))?;
    // Packages as they were fetched: a third of the whole, and nothing that others are not.
    fs::remove_dir_all(tree.join("var/cache/apt/archives"))?;
    let partial = directory.join("tree.tar");
    let mut pack = Command::new("tar");
    pack.args(["--format=posix", "--numeric-owner", "--xattrs", "--xattrs-include=*"]);
    pack.arg("--file").arg(&partial).arg("--directory").arg(&tree).args(["--create", "."]);
    run(&mut pack)?;
    fs::rename(&partial, archive).with_context(|| format!("move to {}", archive.display()))?;
    fs::remove_dir_all(&directory).context("remove what the archive was made of")
}

/// The first mirror of Debian that apt itself uses; debootstrap knows one where there is none.
fn mirror() -> Option<String> {
    let told = told("$(REPO_URI)");
    let mirror = told.lines().find(|line| line.trim_end_matches('/').ends_with("/debian"));
    mirror.map(str::to_owned)
}

/// Where apt itself finds this Debian, with what was mended since, as lines of its configuration; none where
/// this machine has another.
fn sources(components: &str) -> Vec<String> {
    let told = told("$(CODENAME) $(REPO_URI)");
    let ours = |line: &&str| {
        let suite = line.split(' ').next().unwrap_or_default();
        let kind = suite.strip_prefix(RELEASE);
        kind.is_some_and(|kind| ["", "-updates", "-security"].contains(&kind))
    };
    let mut lines: Vec<_> =
        told.lines().filter(ours).filter_map(|line| line.split_once(' ')).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.into_iter().map(|(suite, uri)| format!("deb {uri} {suite} {components}")).collect()
}

/// What apt says of its lists of packages.
fn told(format: &str) -> String {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", format, "Created-By: Packages"]);
    let told = targets.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&told).into_owned()
}

/// Runs a tool; its error is what it printed.
pub fn run(command: &mut Command) -> Result<()> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    ensure!(output.status.success(), "{command:?} fails:\n{told}");
    Ok(())
}
