//! Whether a program is what a release wants: static, for the right machine, without symbols, and able
//! to start on the oldest processor it is for; and what it weighs, beside what was aimed at.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::elf::Elf;
use crate::release::Release;
use crate::target::Target;

/// Time that a program may take to tell its version, in seconds: emulated on a busy machine.
const SECONDS_TO_START: &str = "60";

/// What one program weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its name.
    pub program: &'static str,
    /// Bytes on flash.
    pub bytes: u64,
    /// Bytes that were aimed at.
    pub goal: Option<u64>,
}

/// Bytes that were aimed at, of the agent for 64-bit ARM with everything in it.
pub const AGENT_GOAL: u64 = 4_718_592;
/// Bytes that were aimed at, of `mote-pause`.
pub const PAUSE_GOAL: u64 = 16_384;

/// Looks whether a file is a program for `target` that needs nothing of the system but its kernel.
pub fn is_static(target: Target, path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    check(target, &bytes).with_context(|| format!("check {}", path.display()))
}

fn check(target: Target, bytes: &[u8]) -> Result<()> {
    let elf = Elf::parse(bytes)?;
    ensure!(elf.machine()? == target.machine(), "built for another machine than {target}");
    ensure!(!elf.needs_interpreter()?, "linked dynamically");
    ensure!(elf.section(".symtab")?.is_none(), "not stripped of its symbols");
    Ok(())
}

/// Starts the agent and `mote`, where it must be by an emulator, and compares what they say.
pub fn starts(release: &Release) -> Result<()> {
    for (program, name) in [(&release.agent, "mote-agent"), (&release.mote, "mote")] {
        let said = first_words(release.target, program)?;
        let expected = format!("{name} {}", env!("CARGO_PKG_VERSION"));
        ensure!(said == expected, "{} says `{said}`, not `{expected}`", program.display());
    }
    Ok(())
}

fn first_words(target: Target, program: &Path) -> Result<String> {
    let mut command = Command::new("timeout");
    command.arg(SECONDS_TO_START);
    if !target.is_native() {
        let (emulator, options) = target.emulator();
        let there = Command::new(emulator).arg("--version").output().is_ok();
        ensure!(there, "{emulator} is missing: apt-get install qemu-user-static");
        command.arg(emulator).args(options);
    }
    let output = command.arg(program).arg("--version").stdin(Stdio::null()).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{} does not start ({}): {}", program.display(), output.status, complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What the programs of a release weigh, beside what was aimed at.
pub fn sizes(release: &Release) -> Result<[Size; 3]> {
    let size = |path: &Path| Ok::<_, anyhow::Error>(fs::metadata(path)?.len());
    let agent_goal = (release.target == Target::Aarch64).then_some(AGENT_GOAL);
    Ok([
        Size { program: "mote-agent", bytes: size(&release.agent)?, goal: agent_goal },
        Size { program: "mote", bytes: size(&release.mote)?, goal: None },
        Size { program: "mote-pause", bytes: size(&release.pause)?, goal: Some(PAUSE_GOAL) },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_release_is_refused_with_its_reason() {
        let here = fs::read("/proc/self/exe").expect("read the test itself");
        let (own, other) = if cfg!(target_arch = "aarch64") {
            (Target::Aarch64, Target::X86_64)
        } else {
            (Target::X86_64, Target::Aarch64)
        };
        let error = |target, bytes: &[u8]| check(target, bytes).expect_err("refused").to_string();
        assert_eq!(error(own, &here), "linked dynamically");
        assert_eq!(error(other, &here), format!("built for another machine than {other}"));
        assert_eq!(error(Target::Armv6, b"#!/bin/sh"), "not an ELF file");
    }
}
