//! Debian for another processor than this machine's, installed here.
//!
//! The scripts of its packages are run, by the emulator of single programs. The kernel is told of that in a
//! user namespace of its own, so that nothing of this machine changes. They own what root owns: Debian's packages
//! are trusted here as where they are installed.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::{RELEASE, sources};
use crate::target::Target;

const SCRIPT: &str = include_str!("bootstrap.sh");

/// How programs for 64-bit ARM begin, and which bits of that count (`qemu-binfmt-conf.sh` of QEMU).
const AARCH64: &str = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";

/// Users and groups of the namespace: as many as Debian has, each itself.
const EVERYBODY: &str = "0 0 65536\n";

/// What is installed.
pub(crate) struct Wanted<'a> {
    /// Packages, with what they depend on.
    pub(crate) packages: &'a [&'a str],
    /// The parts of Debian's archive that they are in, one after the other.
    pub(crate) components: &'a str,
    /// More options of mmdebstrap.
    pub(crate) options: &'a [&'a str],
}

/// Installs it and packs it.
pub(crate) fn install(target: Target, wanted: &Wanted<'_>, archive: &Path) -> Result<()> {
    ensure!(target == Target::Aarch64, "only a Debian for aarch64 can be installed here");
    let directory = archive.parent().context("a file is in a directory")?;
    let (emulator, _) = target.emulator();
    let mut install = Command::new("unshare");
    install.args([
        "--user",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        SCRIPT,
        "sh",
    ]);
    install.args([target.debian(), emulator, AARCH64, "--variant=minbase"]);
    install.arg(format!("--components={}", wanted.components.replace(' ', ",")));
    install.args(wanted.options);
    install.arg(format!("--include={}", wanted.packages.join(","))).arg(RELEASE).arg(archive);
    install.args(sources(wanted.components)).env("TMPDIR", directory).env("LC_ALL", "C");
    install.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = install.spawn().context("start unshare")?;
    let done = follow(&mut child);
    if done.is_err() {
        // It may be over already.
        let _ = child.kill();
        let _ = child.wait();
    }
    done
}

fn follow(child: &mut Child) -> Result<()> {
    let mut output = BufReader::new(child.stdout.take().context("its output is a pipe")?);
    let mut input = child.stdin.take().context("its input is a pipe")?;
    let mut first = String::new();
    output.read_line(&mut first)?;
    if first == "started\n" {
        for map in ["uid_map", "gid_map"] {
            let path = format!("/proc/{}/{map}", child.id());
            fs::write(&path, EVERYBODY)
                .context("say who is who in a user namespace (needs root)")?;
        }
        // What does not hear it has said why.
        let _ = input.write_all(b"go\n");
    }
    drop(input);
    // It tells of its progress on the other pipe, which must not fill up meanwhile.
    let mut told = String::new();
    child.stderr.take().context("its errors are a pipe")?.read_to_string(&mut told)?;
    if !child.wait()?.success() {
        bail!("mmdebstrap (packages mmdebstrap, arch-test, qemu-user-static) fails:\n{told}");
    }
    Ok(())
}
