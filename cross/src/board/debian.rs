//! Packages from Debian's archive, unpacked below a directory of ours and never installed.
//!
//! An [`Archive`] is an apt of its own: it reads the sources the system is configured with, but
//! keeps lists, downloads and architecture to itself. So a kernel for another processor needs no
//! foreign architecture in the system's apt, and an emulator of another release than the one
//! installed removes nothing.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

use crate::debian::run;

/// Where dpkg keeps what is installed.
const SYSTEM_STATUS: &str = "/var/lib/dpkg/status";

/// What a source of packages may take per connection, in seconds, before it counts as out of
/// reach: apt would wait two minutes, several times.
const TIMEOUT: &str = "30";

/// A private apt for one architecture.
#[derive(Debug)]
pub struct Archive {
    directory: PathBuf,
    architecture: String,
    status: PathBuf,
}

impl Archive {
    /// Packages of an architecture on which nothing is installed.
    pub fn foreign(directory: &Path, architecture: &str) -> Result<Self> {
        let directory = directory.join(architecture);
        let status = directory.join("status");
        fs::create_dir_all(&directory)?;
        fs::write(&status, "").context("write an empty list of installed packages")?;
        Self::open(directory, architecture, status)
    }

    /// Packages for this machine; what it has counts as installed.
    pub fn of_this_machine(directory: &Path) -> Result<Self> {
        let output = Command::new("dpkg").arg("--print-architecture").output();
        let output = output.context("start dpkg: only Debian and its like are supported")?;
        let architecture = String::from_utf8(output.stdout)?;
        Self::open(directory.join("host"), architecture.trim(), SYSTEM_STATUS.into())
    }

    fn open(directory: PathBuf, architecture: &str, status: PathBuf) -> Result<Self> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let archive = Self { directory, architecture: architecture.into(), status };
        let update = archive.apt("apt-get").arg("update").output();
        let update = update.context("start apt-get: only Debian and its like are supported")?;
        // One source out of reach is no reason to give up: the package may be in another.
        let answer =
            archive.apt("apt-get").args(["indextargets", "--format", "$(FILENAME)"]).output()?;
        ensure!(!answer.stdout.is_empty(), "no source of packages answers: {}", complaint(&update));
        Ok(archive)
    }

    /// What a package depends on first: for the package of the newest kernel, that kernel.
    pub fn first_dependency(&self, package: &str) -> Result<String> {
        let mut command = self.apt("apt-cache");
        let output = command.args(["show", "--no-all-versions", package]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let depends = text.lines().find_map(|line| line.strip_prefix("Depends: "));
        let first = depends.and_then(|list| list.split([' ', ',']).next());
        let first = first.with_context(|| format!("{package} is in no source of packages"))?;
        Ok(first.into())
    }

    /// Fetches one package, without what it depends on.
    pub fn fetch(&self, package: &str) -> Result<PathBuf> {
        let into = self.directory.join("fetched").join(package);
        fs::create_dir_all(&into)?;
        let mut command = self.apt("apt-get");
        run(command.args(["download", package]).current_dir(&into))?;
        let packages = packages_in(&into)?;
        let newest = packages.into_iter().next_back();
        newest.with_context(|| format!("apt-get downloaded nothing for {package}"))
    }

    /// Fetches packages and all they depend on that is not installed.
    pub fn fetch_with_dependencies(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let mut command = self.apt("apt-get");
        command.args(["install", "--yes", "--no-install-recommends", "--download-only"]);
        run(command.args(packages))?;
        packages_in(&self.directory.join("cache/archives"))
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |name: &str, value: &OsStr| {
            let mut option = OsStr::new(name).to_owned();
            option.push("=");
            option.push(value);
            command.arg("-o").arg(option);
        };
        option("APT::Architecture", self.architecture.as_ref());
        option("APT::Architectures", self.architecture.as_ref());
        option("Dir::State", self.directory.join("state").as_ref());
        option("Dir::State::status", self.status.as_ref());
        option("Dir::Cache", self.directory.join("cache").as_ref());
        // The user apt would change to may not read our directory.
        option("APT::Sandbox::User", "root".as_ref());
        option("Acquire::Languages", "none".as_ref());
        option("Acquire::Retries", "3".as_ref());
        option("Acquire::http::Timeout", TIMEOUT.as_ref());
        option("Acquire::https::Timeout", TIMEOUT.as_ref());
        for extra in ["DEP-11", "DEP-11-icons", "Contents-deb"] {
            let name = format!("Acquire::IndexTargets::deb::{extra}::DefaultEnabled");
            option(&name, "false".as_ref());
        }
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        command
    }
}

/// Unpacks packages into a directory that appears only when it is complete.
pub fn unpack(packages: &[PathBuf], into: &Path) -> Result<()> {
    let partial = into.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    for package in packages {
        run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&partial))?;
    }
    fs::rename(&partial, into).with_context(|| format!("move to {}", into.display()))
}

fn packages_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            packages.push(path);
        }
    }
    packages.sort();
    Ok(packages)
}

/// The part of apt's output that says what went wrong.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("W: ")).collect();
    if lines.is_empty() { text.trim().into() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn package(directory: &Path, name: &str) -> Result<PathBuf> {
        let root = directory.join(name);
        fs::create_dir_all(root.join("DEBIAN"))?;
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\n\
             Maintainer: nobody <nobody@localhost>\nDescription: a test\n"
        );
        fs::write(root.join("DEBIAN/control"), control)?;
        fs::write(root.join(name), name)?;
        run(Command::new("dpkg-deb").args(["--build", "-Znone"]).arg(&root))?;
        Ok(directory.join(format!("{name}.deb")))
    }

    #[test]
    fn what_was_unpacked_halfway_is_begun_again() -> Result<()> {
        let directory = TempDir::new()?;
        let packages = [package(directory.path(), "one")?, package(directory.path(), "other")?];
        let into = directory.path().join("root");
        fs::create_dir_all(into.with_extension("partial").join("left-over"))?;
        unpack(&packages, &into)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&into)? {
            names.push(entry?.file_name());
        }
        names.sort();
        assert_eq!(names, ["one", "other"]);
        Ok(())
    }

    #[test]
    fn a_broken_package_leaves_nothing_behind_that_looks_complete() -> Result<()> {
        let directory = TempDir::new()?;
        let broken = directory.path().join("broken.deb");
        fs::write(&broken, "not a package")?;
        let into = directory.path().join("root");
        let error = unpack(&[broken], &into).expect_err("cannot be unpacked").to_string();
        assert!(error.contains("\"dpkg-deb\"") && error.contains(" fails:\n"), "{error}");
        assert!(!into.exists());
        Ok(())
    }
}
