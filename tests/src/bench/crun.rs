//! The floor: `crun create` and `crun start` of the same program in the same kind of container.
//!
//! crun refuses a hybrid cgroup tree whose v2 half has controllers. So it runs under a shell in a
//! mount namespace where that half is not mounted: there the tree is v1, and nothing else differs.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;
use serde_json::{Value, json};

use super::latency::elapsed_ms;
use crate::host::Footprint;
use crate::process::{command, wait_for_exit};
use crate::wait::Deadline;

/// Where a hybrid tree has its v2 half.
const HALF: &str = "/sys/fs/cgroup/unified";

/// The container that stays.
const RESIDENT: &str = "resident";

/// A bundle that crun starts again and again.
pub(super) struct Crun {
    bundle: PathBuf,
    shell: Shell,
}

impl Crun {
    /// Writes the bundle, with a program that says when it runs.
    pub(super) fn new(directory: &Path, program: &Path) -> Result<Self> {
        let bundle = bundle(&directory.join("crun"), program, |config| {
            config["process"]["args"] = json!(["/workload", "stamp"]);
        })?;
        let shell = Shell::new(&directory.join("crun-state"))?;
        Ok(Self { bundle, shell })
    }

    /// Starts one container, waits for its end and removes it.
    pub(super) fn start(&mut self, number: u32) -> Result<f64> {
        let name = format!("mote-bench-{}-{number}", std::process::id());
        let bundle = self.bundle.display().to_string();
        let create = format!(
            "$CRUN create --pid-file {bundle}/pid --bundle {bundle} {name} > {bundle}/output"
        );
        let begin = SystemTime::now();
        self.shell.run(&create)?;
        self.shell.run(&format!("$CRUN start {name}"))?;
        let pid: i32 = fs::read_to_string(self.bundle.join("pid"))?.trim().parse()?;
        wait_for_exit(Pid::from_raw(pid).context("a pid")?, Deadline::patient())?;
        let time = elapsed_ms(begin, &fs::read_to_string(self.bundle.join("output"))?)?;
        self.shell.run(&format!("$CRUN delete --force {name}"))?;
        Ok(time)
    }
}

/// A container of crun's that rests, with all that belongs to it in one cgroup.
pub(super) struct Resident {
    shell: Shell,
    all: Footprint,
}

impl Resident {
    /// Starts it, without the filter of system calls that a pod's containers have.
    pub(super) fn new(directory: &Path, program: &Path) -> Result<Self> {
        let cgroup = format!("mote-bench-{}", std::process::id());
        let bundle = bundle(&directory.join("crun-exec"), program, |config| {
            config["process"]["args"] = json!(["/workload", "rest"]);
            config["linux"]["cgroupsPath"] = json!(format!("/{cgroup}/{RESIDENT}"));
        })?;
        let all = Footprint { directory: bundle.clone(), cgroup };
        let shell = Shell::new(&directory.join("crun-exec-state"))?;
        let mut resident = Self { shell, all };
        resident.shell.run(&format!(
            "$CRUN run --detach --bundle {} {RESIDENT} > /dev/null 2>&1",
            bundle.display()
        ))?;
        // What the shell starts from now on is counted where the container is.
        let pid = resident.shell.child.id().to_string();
        for cgroup in resident.all.tops()? {
            fs::write(cgroup.join("cgroup.procs"), &pid)?;
        }
        Ok(resident)
    }

    /// The cgroup's name.
    pub(super) fn cgroup(&self) -> &str {
        &self.all.cgroup
    }

    /// Runs a command in the container and waits for its end.
    pub(super) fn exec(&mut self, command: &[&str]) -> Result<()> {
        self.shell.run(&format!("$CRUN exec {RESIDENT} {}", command.join(" ")))
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        // The shell is in the cgroup, and is ended with it. Nobody is left to hear of an error.
        let _ = self.shell.run(&format!("$CRUN delete --force {RESIDENT}"));
        let _ = self.shell.child.kill();
        let _ = self.shell.child.wait();
        let _ = self.all.sweep();
    }
}

/// Writes a bundle: what `crun spec` gives, which has a network namespace of its own, with our
/// program.
fn bundle(bundle: &Path, program: &Path, change: impl FnOnce(&mut Value)) -> Result<PathBuf> {
    let root = bundle.join("rootfs");
    for name in ["", "dev", "proc", "sys", "tmp", "etc"] {
        fs::create_dir_all(root.join(name))?;
    }
    fs::copy(program, root.join("workload"))?;
    let made = Command::new("crun").arg("spec").current_dir(bundle).status();
    ensure!(made.context("start crun (package crun)")?.success(), "crun spec failed");
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["root"]["readonly"] = json!(false);
    change(&mut config);
    fs::write(&path, serde_json::to_vec(&config)?)?;
    Ok(bundle.to_path_buf())
}

/// A shell that is told one line after the other.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn new(state: &Path) -> Result<Self> {
        let crun = format!("crun --root {} --cgroup-manager=cgroupfs", state.display());
        let mut child = command("unshare")
            .args(["--mount", "sh"])
            .env("CRUN", crun)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a shell")?;
        let input = child.stdin.take().context("input is piped")?;
        let output = BufReader::new(child.stdout.take().context("output is piped")?);
        let mut shell = Self { child, input, output };
        shell.run(&format!("! test -d {HALF} || umount -l {HALF}"))?;
        Ok(shell)
    }

    /// Runs a line and waits for its end.
    fn run(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{{ {line}; }} < /dev/null; echo $?")?;
        let mut status = String::new();
        self.output.read_line(&mut status)?;
        ensure!(status.trim() == "0", "{line}: exit status {}", status.trim());
        Ok(())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It has nothing to lose, and nobody is left to hear of an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload;

    #[test]
    fn the_program_runs_and_says_when() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let program = directory.path().join("workload");
        workload::compile(&program)?;
        let mut crun = Crun::new(directory.path(), &program)?;
        assert!(crun.start(0)? < 60_000.0);
        Ok(())
    }
}
