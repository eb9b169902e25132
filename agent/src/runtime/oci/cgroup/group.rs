//! One node of the tree, in all hierarchies at once.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::CgroupError;
use super::detect::{Controller, Hierarchies, Hierarchy};
use super::device::{self, Rule};
use super::limits::{self, Level, Setting};
use crate::runtime::Limits;

/// How often a group that grows while it is killed is gone through: each round leaves fewer.
const KILL_ROUNDS: usize = 16;

/// One cgroup: the same path in every hierarchy.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) hierarchies: Hierarchies,
    missing: Vec<Controller>,
    pub(super) path: String,
}

impl Group {
    pub(super) fn new(hierarchies: &Hierarchies, missing: &[Controller], path: String) -> Self {
        Self { hierarchies: hierarchies.clone(), missing: missing.to_vec(), path }
    }

    /// Its path below the mount of each hierarchy.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its directories, one per hierarchy, with the hierarchy they are in.
    pub fn directories(&self) -> impl Iterator<Item = (&Hierarchy, PathBuf)> {
        self.hierarchies.0.iter().map(|hierarchy| (hierarchy, hierarchy.mount.join(&self.path)))
    }

    /// Creates it with what is above it and limits it. Returns the controllers whose limits could
    /// not be set because they are missing.
    pub fn create(&self, limits: &Limits, level: Level) -> Result<Vec<Controller>, CgroupError> {
        for (hierarchy, directory) in self.directories() {
            let existed = directory.is_dir();
            fs::create_dir_all(&directory).map_err(error("create cgroup", &directory))?;
            if hierarchy.has("memory") && !existed {
                self.use_hierarchy(hierarchy);
            }
            if level != Level::Container && self.hierarchies.is_v2() {
                self.delegate(hierarchy);
            }
        }
        self.limit(limits, level)
    }

    /// Denies all devices but the usual ones and these. Returns whether the kernel can: one without
    /// BPF for cgroups cannot on v2.
    pub fn restrict_devices(&self, more: &[PathBuf]) -> Result<bool, CgroupError> {
        let mut rules = device::ALLOWED.to_vec();
        for path in more {
            rules.push(Rule::of(path).map_err(error("look at device", path))?);
        }
        if let Some(hierarchy) = self.hierarchies.v1("devices") {
            let directory = hierarchy.mount.join(&self.path);
            write(&directory.join("devices.deny"), "a")?;
            let allow = directory.join("devices.allow");
            let mut file = open(&allow)?;
            for rule in rules {
                let written = file.write_all(rule.line().as_bytes());
                written.map_err(error("write cgroup file", &allow))?;
            }
            return Ok(true);
        }
        let Some(unified) = self.hierarchies.unified() else { return Ok(false) };
        let directory = unified.mount.join(&self.path);
        match device::attach(&directory, &rules) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => {
                Ok(false)
            }
            Err(source) => Err(error("filter the devices of cgroup", &directory)(source)),
        }
    }

    /// Opens its `cgroup.procs`, one per hierarchy: a process that writes `0` to each has moved.
    pub fn entrances(&self) -> Result<Vec<OwnedFd>, CgroupError> {
        self.directories()
            .map(|(_, directory)| open(&directory.join("cgroup.procs")).map(OwnedFd::from))
            .collect()
    }

    /// Opens the entrances for one that joins `pid`, a process in it: the same, unless the
    /// container made groups of its own below, on v2 with limits. Then there is no room in this
    /// one any more (`EBUSY`), and the group of that process is meant.
    pub fn entrances_beside(&self, pid: i32) -> Result<Vec<OwnedFd>, CgroupError> {
        let below = |hierarchy: &Hierarchy, directory: &Path| {
            let divided = fs::read(directory.join("cgroup.subtree_control"));
            if !hierarchy.unified || divided.unwrap_or_default().trim_ascii().is_empty() {
                return None;
            }
            let lines = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
            directory_below(&lines, &self.path).map(|path| hierarchy.mount.join(path))
        };
        self.directories()
            .map(|(hierarchy, directory)| {
                let directory = below(hierarchy, &directory).unwrap_or(directory);
                open(&directory.join("cgroup.procs")).map(OwnedFd::from)
            })
            .collect()
    }

    /// Moves a process into it.
    pub fn enter(&self, pid: i32) -> Result<(), CgroupError> {
        let pid = pid.to_string();
        self.directories()
            .try_for_each(|(_, directory)| write(&directory.join("cgroup.procs"), &pid))
    }

    /// The processes in it and below. A group that is not there has none.
    pub fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        let hierarchy = self.hierarchies.unified().or_else(|| self.hierarchies.0.first());
        let mut pids = Vec::new();
        if let Some(hierarchy) = hierarchy {
            collect(&hierarchy.mount.join(&self.path), &mut pids)?;
        }
        Ok(pids)
    }

    /// Kills every process in it and below, also those being forked meanwhile. They are dead soon
    /// after, not yet on return.
    pub fn kill(&self) -> Result<(), CgroupError> {
        if let Some(unified) = self.hierarchies.unified() {
            let kill = unified.mount.join(&self.path).join("cgroup.kill");
            match fs::write(&kill, "1") {
                Ok(()) => return Ok(()),
                // Before Linux 5.14 there is no such file; without the group, nothing to kill.
                Err(failed) if failed.kind() == ErrorKind::NotFound => {}
                Err(failed) => return Err(error("write cgroup file", &kill)(failed)),
            }
        }
        self.freeze("FROZEN");
        let killed = self.kill_each();
        self.freeze("THAWED");
        killed
    }

    /// Removes it with what is below it. [`ErrorKind::ResourceBusy`] while processes are left.
    pub fn remove(&self) -> Result<(), CgroupError> {
        self.directories().try_for_each(|(_, directory)| remove(&directory))
    }

    /// The group of that name directly below it.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        Self { path: format!("{}/{name}", self.path), ..self.clone() }
    }

    /// Names of the groups directly below it.
    pub fn children(&self) -> Vec<String> {
        let hierarchy = self.hierarchies.unified().or_else(|| self.hierarchies.0.first());
        let entries = hierarchy.map(|hierarchy| fs::read_dir(hierarchy.mount.join(&self.path)));
        let directories = entries.into_iter().flatten().flatten().flatten();
        directories
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    fn limit(&self, limits: &Limits, level: Level) -> Result<Vec<Controller>, CgroupError> {
        let mut unenforced = Vec::new();
        let settings =
            if self.hierarchies.is_v2() { limits::v2 } else { limits::v1 }(limits, level);
        for setting in settings {
            if !self.set(&setting)? && !setting.optional {
                unenforced.push(setting.controller);
            }
        }
        unenforced.dedup();
        Ok(unenforced)
    }

    /// Writes one setting; `false` where this machine has no file for it.
    fn set(&self, setting: &Setting) -> Result<bool, CgroupError> {
        let hierarchy = if self.hierarchies.is_v2() {
            self.hierarchies.unified()
        } else {
            self.hierarchies.v1(setting.controller.name())
        };
        let Some(hierarchy) = hierarchy else { return Ok(false) };
        let file = hierarchy.mount.join(&self.path).join(setting.file);
        match write(&file, &setting.value) {
            Err(failed) if failed.source.kind() == ErrorKind::NotFound => Ok(false),
            written => written.map(|()| true),
        }
    }

    /// Switches the controllers on for everything below: from the mount's root down to this node.
    ///
    /// One that cannot be switched on (real-time processes keep `cpu` off) has no files below:
    /// then [`Self::limit`] tells that its limits are not enforced.
    fn delegate(&self, hierarchy: &Hierarchy) {
        let mut node = hierarchy.mount.clone();
        let wanted = Controller::ALL.into_iter().filter(|one| !self.missing.contains(one));
        let wanted: Vec<_> = wanted.map(Controller::name).collect();
        for part in [""].into_iter().chain(self.path.split('/')) {
            node.push(part);
            let file = node.join("cgroup.subtree_control");
            let on = fs::read_to_string(&file).unwrap_or_default();
            let on: Vec<_> = on.split_ascii_whitespace().collect();
            for controller in wanted.iter().filter(|controller| !on.contains(controller)) {
                let _ = fs::write(&file, format!("+{controller}"));
            }
        }
    }

    /// Before Linux 5.11 a v1 memory limit counts what is below only when told to. Where that
    /// cannot be changed any more it is already so, or no limit of a pod is.
    fn use_hierarchy(&self, hierarchy: &Hierarchy) {
        let top = self.path.split('/').next().unwrap_or_default();
        let _ = fs::write(hierarchy.mount.join(top).join("memory.use_hierarchy"), "1");
    }

    /// Stops or resumes the processes. Failing costs only the guarantee that none escapes a round
    /// of [`Self::kill_each`].
    fn freeze(&self, state: &str) {
        if let Some(hierarchy) = self.hierarchies.v1("freezer") {
            let _ = fs::write(hierarchy.mount.join(&self.path).join("freezer.state"), state);
        }
    }

    fn kill_each(&self) -> Result<(), CgroupError> {
        let mut known: Vec<i32> = Vec::new();
        for _ in 0..KILL_ROUNDS {
            let pids = self.processes()?;
            let fresh: Vec<_> = pids.into_iter().filter(|pid| !known.contains(pid)).collect();
            if fresh.is_empty() {
                break;
            }
            for pid in fresh.iter().copied().filter_map(Pid::from_raw) {
                // The only failure is that it is gone.
                let _ = kill_process(pid, Signal::KILL);
            }
            known.extend(fresh);
        }
        Ok(())
    }
}

fn error<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> CgroupError + 'a {
    move |source| CgroupError { doing, path: path.to_owned(), source }
}

fn open(path: &Path) -> Result<File, CgroupError> {
    OpenOptions::new().write(true).open(path).map_err(error("open cgroup file", path))
}

pub(super) fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    open(path)?.write_all(value.as_bytes()).map_err(error("write cgroup file", path))
}

/// The group of a process on v2, out of its `/proc/PID/cgroup`, if that is `path` or below it.
/// A container gives the groups that it makes there whatever names it likes.
pub(super) fn directory_below<'a>(cgroup: &'a [u8], path: &str) -> Option<&'a Path> {
    let mut lines = cgroup.split(|byte| *byte == b'\n');
    let own = lines.find_map(|line| line.strip_prefix(b"0::/"))?;
    let own = Path::new(OsStr::from_bytes(own));
    own.starts_with(path).then_some(own)
}

fn collect(directory: &Path, pids: &mut Vec<i32>) -> Result<(), CgroupError> {
    let file = directory.join("cgroup.procs");
    match fs::read_to_string(&file) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        Err(failed) if gone(&failed) => return Ok(()),
        // A container made it threaded: its processes are listed by the domain above.
        Err(failed) if failed.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {}
        Err(failed) => return Err(error("read cgroup file", &file)(failed)),
    }
    for child in subdirectories(directory) {
        collect(&child, pids)?;
    }
    Ok(())
}

fn remove(directory: &Path) -> Result<(), CgroupError> {
    match fs::remove_dir(directory) {
        Ok(()) => Ok(()),
        Err(failed) if gone(&failed) => Ok(()),
        Err(failed) => {
            let children = subdirectories(directory);
            if children.is_empty() {
                return Err(error("remove cgroup", directory)(failed));
            }
            children.iter().try_for_each(|child| remove(child))?;
            match fs::remove_dir(directory) {
                Err(failed) if !gone(&failed) => Err(error("remove cgroup", directory)(failed)),
                _ => Ok(()),
            }
        }
    }
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The group is not there, or went away while its file was open.
fn gone(failed: &io::Error) -> bool {
    failed.kind() == ErrorKind::NotFound
        || failed.raw_os_error() == Some(Errno::NODEV.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_below_is_joined_instead() {
        let of = |line: &'static str| {
            directory_below(line.as_bytes(), "mote.slice/pod1/web-0").and_then(Path::to_str)
        };
        let below = "12:cpu:/x\n0::/mote.slice/pod1/web-0/init\n";
        assert_eq!(of(below), Some("mote.slice/pod1/web-0/init"));
        assert_eq!(of("0::/mote.slice/pod1/web-0\n"), Some("mote.slice/pod1/web-0"));
        let odd = directory_below(b"0::/mote.slice/pod1/web-0/caf\xe9\n", "mote.slice/pod1/web-0");
        assert_eq!(odd.map(|path| path.as_os_str().len()), Some(26));
        for elsewhere in ["", "0::/\n", "0::/mote.slice/pod1/web-01\n", "3:pids:/mote.slice\n"] {
            assert_eq!(of(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_divided_group_is_entered_where_its_first_process_is() {
        let mount = tempfile::tempdir().unwrap();
        let pid = std::process::id().cast_signed();
        let lines = fs::read("/proc/self/cgroup").unwrap();
        let Some(own) = directory_below(&lines, "") else { return };
        let child = mount.path().join(own);
        fs::create_dir_all(&child).unwrap();
        fs::write(child.join("cgroup.procs"), "").unwrap();
        let hierarchy =
            Hierarchy { mount: mount.path().to_owned(), subsystems: Vec::new(), unified: true };
        let group = Group::new(&Hierarchies(vec![hierarchy]), &[], String::new());
        let entered = |subtree: &str| {
            fs::write(mount.path().join("cgroup.subtree_control"), subtree).unwrap();
            group.entrances_beside(pid).is_ok()
        };
        // At the top there is nothing to enter.
        let whole = own.as_os_str().is_empty();
        assert_eq!(entered("\n"), whole);
        assert!(entered("memory\n"));
    }
}
