//! Builds the whole workspace, tests included, and learns which programs came of it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::groups::GROUPS;
use crate::binaries;

/// What the build gave.
#[derive(Debug)]
pub(super) struct Built {
    /// Test programs.
    pub(super) programs: Vec<Program>,
    /// Where `mote-agent` and `mote` lie.
    pub(super) directory: PathBuf,
}

/// One program with tests.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// The folder of its package (`agent`).
    pub(super) package: String,
    /// The name of its target (`simulator`).
    pub(super) target: String,
    /// It itself.
    pub(super) executable: PathBuf,
    /// Where it is run: its package's folder, as cargo does it.
    pub(super) directory: PathBuf,
}

impl Program {
    /// What people call it.
    pub(super) fn label(&self) -> String {
        format!("{}/{}", self.package, self.target)
    }
}

impl Built {
    /// Programs that no group runs.
    pub(super) fn unclaimed(&self) -> impl Iterator<Item = String> {
        let orphans = self
            .programs
            .iter()
            .filter(|program| !GROUPS.iter().any(|group| (group.owns)(program)));
        orphans.map(Program::label)
    }
}

/// One line of cargo's report.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds everything; what the compiler says goes to standard error.
pub(super) fn build() -> Result<Built> {
    let mut cargo = binaries::cargo();
    cargo
        .args(["build", "--workspace", "--all-targets"])
        .arg("--message-format=json-render-diagnostics");
    let mut child =
        cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start cargo")?;
    let output = child.stdout.take().context("cargo's output is piped")?;
    let mut built = Built { programs: Vec::new(), directory: PathBuf::new() };
    for line in BufReader::new(output).lines() {
        let Ok(artifact) = serde_json::from_str::<Artifact>(&line?) else { continue };
        built.take(artifact);
    }
    ensure!(child.wait()?.success(), "the workspace does not build");
    ensure!(built.directory.is_dir(), "the build gave no mote-agent");
    built.programs.sort_by_key(Program::label);
    Ok(built)
}

impl Built {
    fn take(&mut self, artifact: Artifact) {
        let (Some(executable), Some(target), Some(profile), Some(manifest)) =
            (artifact.executable, artifact.target, artifact.profile, artifact.manifest_path)
        else {
            return;
        };
        if artifact.reason != "compiler-artifact" {
            return;
        }
        if profile.test {
            let directory = manifest.parent().unwrap_or(Path::new("/")).to_owned();
            let package = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.programs.push(Program { package, target: target.name, executable, directory });
        } else if target.name == "mote-agent" {
            self.directory = executable.parent().map(Path::to_owned).unwrap_or_default();
        }
    }
}
