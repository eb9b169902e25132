//! Everything that a node without pods holds of the machine, to be compared before and after.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use mote_tests::host::{Remains, interfaces, open_files};
use mote_tests::node::Node;
use mote_tests::wait::{Deadline, let_pass};
use rustix::process::Pid;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces {
    remains: Remains,
    interfaces: BTreeSet<String>,
    /// Files and directories below the node's, but for images and events.
    files: BTreeSet<PathBuf>,
    /// Open in the agent.
    open: Vec<String>,
    /// Other processes that hold something below the node's directory.
    holders: BTreeSet<String>,
}

impl Traces {
    /// Of a node whose agent runs.
    pub(crate) fn of(node: &Node) -> Result<Self> {
        let directory = &node.footprint().directory;
        let mut files = BTreeSet::new();
        // Images stay, and what happened is written down now and then.
        let without = [node.state().join("images"), node.state().join("events")];
        for place in [node.run(), node.state()] {
            collect(&place, &without, &mut files);
        }
        Ok(Self {
            remains: node.footprint().remains()?,
            interfaces: interfaces()?,
            files,
            open: open_files(node.pid()?, &node.state())?,
            holders: holders(directory, node.pid()?),
        })
    }

    /// Waits until a node holds this and nothing else: the broker hears that a pod is gone just before
    /// its last file is.
    pub(crate) fn wait_for(&self, node: &Node) -> Result<()> {
        let deadline = Deadline::patient();
        let mut now = Self::of(node)?;
        while now != *self {
            ensure!(deadline.remaining().is_some(), "left: {now:#?}\nbefore: {self:#?}");
            let_pass(LOOK);
            now = Self::of(node)?;
        }
        Ok(())
    }
}

fn collect(directory: &Path, without: &[PathBuf], found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if without.contains(&path) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&path, without, found);
        }
        found.insert(path);
    }
}

/// Processes but the agent that have something below `directory` open, or are in it.
fn holders(directory: &Path, agent: Pid) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for process in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let number = process.file_name().to_string_lossy().parse::<i32>().ok();
        let Some(pid) = number.and_then(Pid::from_raw).filter(|pid| *pid != agent) else {
            continue;
        };
        let open = fs::read_dir(process.path().join("fd")).into_iter().flatten();
        let open = open.filter_map(Result::ok).map(|entry| entry.path());
        let links = ["cwd", "root", "exe"].map(|link| process.path().join(link));
        let held = open.chain(links).filter_map(|link| fs::read_link(link).ok());
        let line = mote_tests::host::command_line(pid);
        found.extend(
            held.filter(|held| held.starts_with(directory))
                .map(|held| format!("{line} holds {}", held.display())),
        );
    }
    found
}
