//! The emulator: the one in `PATH`, or else Debian's, unpacked below the target directory.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::debian::{self, Archive};
use super::machine::Machine;

/// The packages that bring every emulator we use.
const PACKAGES: [&str; 2] = ["qemu-system-arm", "qemu-system-x86"];

/// Where the emulators are.
#[derive(Debug)]
pub struct Qemu {
    /// Where Debian's packages were unpacked; none if the system has its own.
    root: Option<PathBuf>,
}

impl Qemu {
    /// Finds the emulators, or fetches them into `directory`.
    pub fn provide(directory: &Path) -> Result<Self> {
        if Machine::ALL.into_iter().all(|machine| in_path(machine.emulator())) {
            return Ok(Self { root: None });
        }
        let root = directory.join("qemu");
        if !root.is_dir() {
            let packages = PACKAGES.join(" ");
            fetch(directory, &root).with_context(|| {
                format!("no QEMU here: apt-get install --no-install-recommends {packages}")
            })?;
        }
        Ok(Self { root: Some(root) })
    }

    /// The emulator of a machine, without any options.
    pub fn command(&self, machine: Machine) -> Command {
        let Some(root) = &self.root else { return command(machine.emulator()) };
        let mut command = command(root.join("usr/bin").join(machine.emulator()));
        let mut libraries = OsString::new();
        for directory in library_directories(root) {
            libraries.push(directory);
            libraries.push(":");
        }
        command.env("LD_LIBRARY_PATH", libraries);
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(root.join(firmware));
        }
        command
    }
}

/// A command whose process dies with the thread that starts it.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn fetch(directory: &Path, root: &Path) -> Result<()> {
    let archive = Archive::of_this_machine(&directory.join("debian"))?;
    debian::unpack(&archive.fetch_with_dependencies(&PACKAGES)?, root)
}

/// `lib/<architecture>` below the root, with and without `usr`.
fn library_directories(root: &Path) -> Vec<PathBuf> {
    let parents =
        ["usr/lib", "lib"].into_iter().filter_map(|lib| fs::read_dir(root.join(lib)).ok());
    let entries = parents.flatten().filter_map(|entry| Some(entry.ok()?.path()));
    entries.filter(|path| path.to_string_lossy().ends_with("-linux-gnu")).collect()
}

fn in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
