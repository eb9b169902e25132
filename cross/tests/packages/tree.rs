//! A Debian of its own for each test, in which packages are installed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mote_cross::debian::{self, run};
use mote_cross::package;
use mote_cross::release::Release;
use mote_cross::route::{Library, Route};
use mote_cross::target::Target;
use mote_cross::workspace;
use tempfile::TempDir;

/// Where the stand-in for a program writes down how it was called.
const CALLS: &str = "var/log/calls";

/// What every run of dpkg changes.
const DPKG: [&str; 3] = ["var/lib/dpkg", "var/log", "var/cache"];

/// A Debian below a directory, without a service manager that runs.
pub(crate) struct Tree {
    directory: TempDir,
}

impl Tree {
    pub(crate) fn new() -> Result<Self> {
        let packed = debian::packed()?;
        let target = workspace::target_directory()?;
        let directory = tempfile::Builder::new().prefix("tree-").tempdir_in(target)?;
        let mut unpack = Command::new("tar");
        unpack.args(["--extract", "--numeric-owner", "--file"]).arg(packed);
        run(unpack.arg("--directory").arg(directory.path()))?;
        Ok(Self { directory })
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    pub(crate) fn read(&self, path: &str) -> Result<String> {
        let path = self.path(path);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path(path);
        fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Runs a program of the tree in it.
    pub(crate) fn run(&self, words: &[&str]) -> Result<()> {
        let mut chroot = Command::new("chroot");
        chroot.arg(self.directory.path()).args(words);
        chroot.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
        run(chroot.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
    }

    /// Runs a command line of the tree in it, with `proc` and, at `places`, file systems in memory. They
    /// are in mounts of its own, which end with it.
    pub(crate) fn run_with_mounts(&self, places: &[&str], line: &str) -> Result<()> {
        let root = self.directory.path().display();
        let mounts = places.iter().map(|place| {
            format!("mkdir -p {root}/{place}; mount -t tmpfs mote-test {root}/{place}\n")
        });
        let mounts: String = mounts.collect();
        let proc = format!("mount -t proc proc {root}/proc");
        let script = format!("set -e; {proc}\n{mounts}exec chroot {root} {line}");
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--", "sh", "-c", &script]).env("LC_ALL", "C");
        run(unshare.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
    }

    pub(crate) fn install(&self, package: &Path) -> Result<()> {
        fs::copy(package, self.path("package.deb"))?;
        let installed = self.run(&["dpkg", "--install", "/package.deb"]);
        fs::remove_file(self.path("package.deb"))?;
        installed
    }

    /// Programs of a service manager that write down how they are called, and a manager that seems
    /// to run.
    pub(crate) fn pretend_to_be_booted(&self) -> Result<()> {
        fs::create_dir_all(self.path("run/systemd/system"))?;
        for program in ["systemctl", "systemd-tmpfiles", "nft"] {
            let path = format!("usr/bin/{program}");
            let answer = "case \"$*\" in *is-enabled*) echo enabled ;; esac";
            let text = format!("#!/bin/sh\necho \"{program} $*\" >>/{CALLS}\n{answer}\n");
            self.write(&path, &text)?;
            fs::set_permissions(self.path(&path), fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    /// What was asked of the service manager since the last question.
    pub(crate) fn calls(&self) -> Result<String> {
        let text = self.read(CALLS)?;
        fs::remove_file(self.path(CALLS))?;
        Ok(text)
    }

    /// All names in it, but for those that every run of dpkg changes.
    pub(crate) fn names(&self) -> Result<BTreeSet<PathBuf>> {
        let root = self.directory.path();
        let mut names = BTreeSet::new();
        let mut left = vec![root.to_owned()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                let name = path.strip_prefix(root)?.to_owned();
                if DPKG.iter().any(|own| name.starts_with(own)) {
                    continue;
                }
                if path.symlink_metadata()?.is_dir() {
                    left.push(path);
                }
                names.insert(name);
            }
        }
        Ok(names)
    }
}

/// Packages of programs that do nothing, for this machine.
pub(crate) fn packages(version: &str, into: &Path) -> Result<[PathBuf; 3]> {
    fs::create_dir_all(into)?;
    for name in ["mote-agent", "mote", "mote-pause"] {
        fs::write(into.join(name), "#!/bin/sh\n")?;
    }
    let release = Release {
        target: Target::here()?,
        route: Route { library: Library::Rustup, zig: None },
        agent: into.join("mote-agent"),
        mote: into.join("mote"),
        pause: into.join("mote-pause"),
    };
    let packages = package::pack(&release, version, into)?;
    ensure!(packages.iter().all(|path| path.is_file()), "all were written");
    packages.try_into().ok().context("two packages and an archive")
}
