//! The release as it is shipped: programs linked statically for a target, built with cargo and
//! checked to be what they claim.
//!
//! Cargo's own target directory is the cache: a second build of unchanged sources takes a second.
//! rust-lld links, so that only the C and assembler code of ring needs a compiler for the target.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::binaries;
use crate::elf::{self, Elf};

/// What a program can be linked statically for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaticTarget {
    /// PCs and servers.
    X86_64,
    /// 64-bit ARM boards.
    Aarch64,
}

impl StaticTarget {
    /// Every target of a release.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The name rustc knows it by.
    pub fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// The C compiler that `.cargo/config.toml` names for it.
    pub fn compiler(self) -> &'static str {
        match self {
            Self::X86_64 => "musl-gcc",
            Self::Aarch64 => "aarch64-linux-gnu-gcc",
        }
    }

    /// The Debian packages that bring the compiler, with the headers it needs.
    pub fn packages(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["musl-tools"],
            Self::Aarch64 => &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        }
    }

    fn machine(self) -> u16 {
        match self {
            Self::X86_64 => elf::X86_64,
            Self::Aarch64 => elf::AARCH64,
        }
    }
}

impl fmt::Display for StaticTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.triple())
    }
}

/// The agent, built for a target.
pub fn agent(target: StaticTarget) -> Result<PathBuf> {
    build(target, "mote-agent", "mote-agent")
}

/// Builds the agent for every target at once: one alone keeps but one processor busy, as it is
/// optimised as a whole.
pub fn agents() -> Result<()> {
    for target in StaticTarget::ALL {
        provide_standard_library(target)?;
        check_compiler(target)?;
    }
    let targets = StaticTarget::ALL.into_iter().flat_map(|target| ["--target", target.triple()]);
    let status = release("mote-agent", "mote-agent").args(targets).status();
    ensure!(status.context("start cargo")?.success(), "the agent does not build");
    Ok(())
}

/// The operators' tool, built for a target.
pub fn mote(target: StaticTarget) -> Result<PathBuf> {
    build(target, "mote-fleet", "mote")
}

fn build(target: StaticTarget, package: &str, program: &str) -> Result<PathBuf> {
    provide_standard_library(target)?;
    check_compiler(target)?;
    let output = release(package, program)
        .args(["--target", target.triple()])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    ensure!(output.status.success(), "{program} does not build for {target}");
    let path = executable(&output.stdout, program)?;
    check(target, &path).with_context(|| format!("check {}", path.display()))?;
    Ok(path)
}

fn release(package: &str, program: &str) -> Command {
    let mut cargo = binaries::cargo();
    cargo.args(["build", "--quiet", "--locked", "--release", "--package", package]);
    cargo.args(["--bin", program]).stdin(Stdio::null());
    cargo
}

/// Finds the standard library of a target, or has rustup fetch it.
fn provide_standard_library(target: StaticTarget) -> Result<()> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target.triple()])
        .current_dir(binaries::workspace())
        .output()
        .context("start rustc")?;
    let directory = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && directory.is_dir() {
        return Ok(());
    }
    let added = Command::new("rustup")
        .args(["target", "add", target.triple()])
        .current_dir(binaries::workspace())
        .status();
    if !added.is_ok_and(|status| status.success()) {
        bail!("the standard library of {target} is missing: rustup target add {target}");
    }
    Ok(())
}

/// A compiler without its headers fails deep inside a build: better here, with what to type.
fn check_compiler(target: StaticTarget) -> Result<()> {
    let compiler = target.compiler();
    let works = Command::new(compiler)
        .args(["-fsyntax-only", "-include", "stdint.h", "-x", "c", "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success());
    let packages = target.packages().join(" ");
    ensure!(works, "{compiler} does not work: apt-get install --no-install-recommends {packages}");
    Ok(())
}

/// The part of cargo's messages that says where a program is.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

fn executable(messages: &[u8], program: &str) -> Result<PathBuf> {
    let lines = messages.split(|byte| *byte == b'\n');
    let paths = lines.filter_map(|line| serde_json::from_slice::<Message>(line).ok()?.executable);
    let path = paths.into_iter().find(|path| path.file_name().is_some_and(|name| name == program));
    path.with_context(|| format!("cargo does not say where {program} is"))
}

fn check(target: StaticTarget, path: &Path) -> Result<()> {
    let bytes = fs::read(path)?;
    let elf = Elf::parse(&bytes)?;
    ensure!(elf.machine()? == target.machine(), "built for another machine than {target}");
    ensure!(!elf.needs_interpreter()?, "linked dynamically");
    Ok(())
}
