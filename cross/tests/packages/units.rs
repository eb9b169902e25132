//! systemd's own opinion of what is given to it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use mote_cross::workspace;
use tempfile::tempdir;

const UNITS: [&str; 3] = ["mote-agent.service", "mote-pods.service", "mote-setup.service"];

fn source(name: &str) -> PathBuf {
    workspace::root().join("systemd").join(name)
}

#[test]
fn systemd_has_nothing_to_say_against_the_units() -> Result<()> {
    let directory = tempdir()?;
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    for name in UNITS {
        // It looks whether the program is there, which is not installed here.
        let text = fs::read_to_string(source(name))?.replace("/usr/bin/mote-agent", "/bin/true");
        let path = directory.path().join(name);
        fs::write(&path, text)?;
        verify.arg(path);
    }
    let output = verify.output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && complaint.is_empty(), "{complaint}");
    Ok(())
}

/// Mounts made for pods would be seen by one agent, and not by the next.
#[test]
fn no_directive_gives_the_agent_mounts_of_its_own() -> Result<()> {
    let text = fs::read_to_string(source("mote-agent.service"))?;
    for directive in [
        "Private",
        "Protect",
        "ReadWritePaths",
        "ReadOnlyPaths",
        "InaccessiblePaths",
        "BindPaths",
        "TemporaryFileSystem",
        "RootDirectory",
        "RuntimeDirectory",
        "StateDirectory",
        "MountFlags",
        "DynamicUser",
        "ProcSubset",
        "NoExecPaths",
        "ExecPaths",
        "LoadCredential",
        // And what containers would inherit.
        "NoNewPrivileges",
        "SystemCall",
        "Restrict",
        "MemoryDenyWriteExecute",
        "LockPersonality",
        "CapabilityBoundingSet",
        "AmbientCapabilities",
        "UMask",
    ] {
        let found = text
            .lines()
            .find(|line| line.starts_with(directive) && !line.starts_with("RestartPrevent"));
        ensure!(found.is_none(), "{found:?}");
    }
    Ok(())
}

#[test]
fn directories_are_made_for_root_alone() -> Result<()> {
    let root = tempdir()?;
    let mut make = Command::new("systemd-tmpfiles");
    make.arg("--create").arg(format!("--root={}", root.path().display()));
    let output = make.arg(source("tmpfiles.conf")).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && complaint.is_empty(), "{complaint}");
    for (path, expected) in
        [("run/mote", 0o700), ("run/mote/locks", 0o755), ("var/lib/mote", 0o700)]
    {
        let mode = fs::metadata(root.path().join(path))?.permissions().mode() & 0o777;
        ensure!(mode == expected, "{path}: {mode:o}");
    }
    Ok(())
}
