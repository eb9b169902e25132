//! A person at a terminal with `mote`.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::binaries;
use crate::manifest::Manifest;
use crate::node::Node;
use crate::process::command;

/// Somebody with a context of their own.
#[derive(Clone, Debug)]
pub struct Operator {
    program: PathBuf,
    config: PathBuf,
}

/// What a command came to.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Exit status; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub error: String,
}

impl Answer {
    /// What it complained of, where it failed as it must.
    pub fn refused(self) -> Result<String> {
        ensure!(self.code != Some(0), "it must be refused: {}", self.output);
        Ok(self.error)
    }

    /// The output of a command that succeeded.
    pub fn succeeded(self) -> Result<String> {
        ensure!(self.code == Some(0), "exit code {:?}: {}{}", self.code, self.output, self.error);
        Ok(self.output)
    }
}

impl Operator {
    /// Somebody whose context file lies in `directory`.
    pub fn new(directory: &Path, broker: SocketAddr, fleet: &str) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let config = directory.join("config");
        let text = format!(
            "current-context: test\ncontexts:\n- name: test\n  broker: mqtt://{broker}\n  fleet: {fleet}\n"
        );
        fs::write(&config, text).context("write context")?;
        Ok(Self { program: binaries::mote()?, config })
    }

    /// Uses another build of `mote`.
    #[must_use]
    pub fn with_program(mut self, program: &Path) -> Self {
        self.program = program.into();
        self
    }

    /// Runs a command.
    pub fn run(&self, words: &[&str]) -> Result<Answer> {
        self.run_with(words, "")
    }

    /// Runs a command that reads `input`.
    pub fn run_with(&self, words: &[&str], input: &str) -> Result<Answer> {
        answer(self.command(words), input.as_bytes())
    }

    /// A command that was not started yet.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = command(&self.program);
        command.args(words).env("MOTE_CONFIG", &self.config);
        command
    }

    /// Applies a manifest to a node and is told that it worked.
    pub fn apply(&self, manifest: &Manifest, node: &Node) -> Result<String> {
        self.try_apply(manifest, node)?.succeeded().context("mote apply")
    }

    /// Applies a manifest to a node, whatever comes of it.
    pub fn try_apply(&self, manifest: &Manifest, node: &Node) -> Result<Answer> {
        self.run_with(&["apply", "-f", "-", "--node", node.name()], &manifest.text())
    }

    /// Deletes a pod and waits until it is gone.
    pub fn delete(&self, pod: &str, node: &Node) -> Result<String> {
        self.run(&["delete", "pod", pod, "--node", node.name()])?.succeeded().context("mote delete")
    }

    /// One field of a pod, by `JSONPath`.
    pub fn field(&self, pod: &str, node: &Node, path: &str) -> Result<String> {
        let template = format!("jsonpath={{{path}}}");
        let words = ["get", "pod", pod, "--node", node.name(), "-o", &template];
        self.run(&words)?.succeeded().context("mote get")
    }
}

/// What a command answers to some input.
pub fn answer(mut command: Command, input: &[u8]) -> Result<Answer> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start a command")?;
    let mut stdin = child.stdin.take().context("input is piped")?;
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read its input ends without it: that is its answer.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output()
    })?;
    Ok(Answer {
        code: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
