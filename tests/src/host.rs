//! What the machine holds that belongs to one test: processes, mounts, cgroups.
//!
//! Tests run beside each other and beside everything else on the machine, so nothing here counts
//! globally: a node under test is known by the name of its cgroups and by its directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::wait_for_exit;
use crate::wait::{Deadline, wait_for_file};

const CGROUPS: &str = "/sys/fs/cgroup";

/// Everything of one node.
#[derive(Clone, Debug)]
pub struct Footprint {
    /// The directory that all of its files are below.
    pub directory: PathBuf,
    /// The name of the cgroup that all of its pods are below.
    pub cgroup: String,
}

/// What is there, as text that shows in a failed assertion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// `PID command line`.
    pub processes: BTreeSet<String>,
    /// Mount points.
    pub mounts: BTreeSet<String>,
    /// Directories.
    pub cgroups: BTreeSet<String>,
}

impl Footprint {
    /// What is there now.
    pub fn remains(&self) -> Result<Remains> {
        Ok(Remains {
            processes: self.processes()?.into_iter().map(describe).collect(),
            mounts: self.mounts()?.iter().map(|path| path.display().to_string()).collect(),
            cgroups: self.cgroups()?.iter().map(|path| path.display().to_string()).collect(),
        })
    }

    /// Processes in the node's cgroups.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        let mut found = BTreeSet::new();
        for cgroup in self.cgroups()? {
            // A cgroup may go while we look.
            let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        Ok(found.into_iter().filter_map(Pid::from_raw).collect())
    }

    /// Mount points below the node's directory, deepest first.
    pub fn mounts(&self) -> Result<Vec<PathBuf>> {
        let text = fs::read_to_string("/proc/self/mountinfo").context("read mountinfo")?;
        let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        let mut ours: Vec<_> = points.filter(|path| path.starts_with(&self.directory)).collect();
        ours.sort();
        ours.reverse();
        Ok(ours)
    }

    /// Waits until nothing is mounted below the node's directory any more.
    pub fn wait_until_unmounted(&self) -> Result<()> {
        let deadline = Deadline::patient();
        // Opened before the first look: it tells of every change since.
        let table = fs::File::open("/proc/self/mountinfo").context("open mountinfo")?;
        loop {
            let left = self.mounts()?;
            if left.is_empty() {
                return Ok(());
            }
            let changed =
                wait_for_file(&table, PollFlags::PRI, deadline).context("poll mountinfo")?;
            ensure!(changed, "still mounted: {left:?}");
        }
    }

    /// The node's cgroups in every hierarchy, deepest first.
    pub fn cgroups(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for hierarchy in hierarchies()? {
            collect_directories(&hierarchy.join(&self.cgroup), &mut found);
        }
        Ok(found)
    }

    /// The uppermost of them: one per hierarchy that has any.
    pub fn tops(&self) -> Result<Vec<PathBuf>> {
        let tops = hierarchies()?.into_iter().map(|root| root.join(&self.cgroup));
        Ok(tops.filter(|top| top.is_dir()).collect())
    }

    /// Ends and removes all of it: what a test does when it is over, however it ended.
    pub fn sweep(&self) -> Result<()> {
        let deadline = Deadline::patient();
        loop {
            let left = self.processes()?;
            for pid in &left {
                match kill_process(*pid, Signal::KILL) {
                    Ok(()) => wait_for_exit(*pid, deadline)?,
                    Err(Errno::SRCH) => {}
                    Err(error) => return Err(error).context("kill a leftover process"),
                }
            }
            // What is left may have started others after it was looked for.
            if left.is_empty() {
                break;
            }
        }
        for mount in self.mounts()? {
            unmount(&mount, UnmountFlags::DETACH)
                .with_context(|| format!("unmount {}", mount.display()))?;
        }
        for cgroup in self.cgroups()? {
            match fs::remove_dir(&cgroup) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", cgroup.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The roots of the cgroup hierarchies: one on v2, one per controller and `unified` before.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new(CGROUPS);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.into()]);
    }
    let entries = fs::read_dir(root).context("list cgroup hierarchies")?;
    Ok(entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|p| p.is_dir()).collect())
}

/// `directory` and all below it, deepest first; nothing where it is missing.
fn collect_directories(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_directories(&entry.path(), found);
        }
    }
    found.push(directory.into());
}

fn describe(pid: Pid) -> String {
    format!("{} {}", pid.as_raw_nonzero(), command_line(pid))
}

/// A process's command line; empty where it has none or is gone.
pub fn command_line(pid: Pid) -> String {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned()
}

/// A process's parent; none where it is gone.
pub fn parent(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(parent.trim().parse().ok()?)
}

/// What a process holds of memory, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Its own pages, and its share of those it has in common with others.
    pub pss_kib: u64,
    /// Its own pages.
    pub private_kib: u64,
    /// All pages that it has mapped.
    pub rss_kib: u64,
    /// Those of them that are of no file: heap and stacks.
    pub anonymous_kib: u64,
}

/// Reads `smaps_rollup`.
pub fn memory(pid: Pid) -> Result<Memory> {
    let path = format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let field = |name: &str| number_after(&text, name);
    Ok(Memory {
        pss_kib: field("Pss:")?,
        private_kib: field("Private_Clean:")? + field("Private_Dirty:")?,
        rss_kib: field("Rss:")?,
        anonymous_kib: field("Anonymous:")?,
    })
}

/// Processor time of all that ran in a cgroup of this name and below since it was made.
pub fn cgroup_time(name: &str) -> Result<Duration> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(name);
        if let Ok(nanoseconds) = fs::read_to_string(group.join("cpuacct.usage")) {
            return Ok(Duration::from_nanos(nanoseconds.trim().parse()?));
        }
        if let Ok(text) = fs::read_to_string(group.join("cpu.stat"))
            && let Ok(microseconds) = number_after(&text, "usage_usec")
        {
            return Ok(Duration::from_micros(microseconds));
        }
    }
    bail!("no cgroup {name} counts processor time")
}

/// Processor time of a process: fields 14 and 15 of proc(5), in hundredths of a second.
pub fn process_time(pid: Pid) -> Result<Duration> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let (_, fields) = text.rsplit_once(')').context("a name in brackets")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(Duration::from_millis(10 * ticks.sum::<Result<u64, _>>()?))
}

/// How often a process gave up the processor by itself: its wakeups.
pub fn voluntary_switches(pid: Pid) -> Result<u64> {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    number_after(&text, "voluntary_ctxt_switches:")
}

/// The first word behind the line's beginning `name`.
fn number_after(text: &str, name: &str) -> Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let word = value.and_then(|value| value.split_whitespace().next());
    word.with_context(|| format!("no `{name}`"))?.parse().context("a number")
}

/// Files open in a process, without those below `flash`: they are written at any time, and open
/// only while they are.
pub fn open_files(pid: Pid, flash: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))?;
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let lasting = targets.filter(|target| !(target.starts_with(flash) && target.is_file()));
    // Without the inode: a socket that was made again is as good as the one before.
    let kind = |target: PathBuf| target.display().to_string().split('[').next().map(str::to_owned);
    let mut kinds: Vec<_> = lasting.filter_map(kind).collect();
    kinds.sort_unstable();
    Ok(kinds)
}

/// The inode that names a namespace (`net`, `mnt`, `pid`, ...) of a process.
pub fn namespace(pid: Pid, kind: &str) -> Result<String> {
    let link = fs::read_link(format!("/proc/{}/ns/{kind}", pid.as_raw_nonzero()))?;
    Ok(link.display().to_string())
}

/// Network interfaces of the host.
pub fn interfaces() -> Result<BTreeSet<String>> {
    let entries = fs::read_dir("/sys/class/net").context("list interfaces")?;
    Ok(entries
        .filter_map(Result::ok)
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Process, command};
    use tempfile::TempDir;

    #[test]
    fn a_sweep_ends_what_is_in_the_cgroup_and_removes_it() -> Result<()> {
        let directory = TempDir::new()?;
        let cgroup = format!("mote-sweep-{}", std::process::id());
        let node = Footprint { directory: directory.path().into(), cgroup };
        let root = hierarchies()?.into_iter().find(|root| root.join("cgroup.procs").exists());
        let inner = root.context("a cgroup hierarchy")?.join(&node.cgroup).join("pod");
        fs::create_dir_all(&inner)?;
        let mut child = Process::spawn("sleep", command("sleep").arg("1000"))?;
        fs::write(inner.join("cgroup.procs"), child.pid().as_raw_nonzero().to_string())?;
        assert_eq!(node.processes()?, [child.pid()]);
        // The child is ours: it stays a zombie, in no cgroup, until it is waited for.
        kill_process(child.pid(), Signal::KILL)?;
        child.wait()?;
        node.sweep()?;
        assert_eq!(node.remains()?, Remains::default());
        Ok(())
    }
}
