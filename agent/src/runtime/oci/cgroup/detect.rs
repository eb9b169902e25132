//! Which cgroup hierarchies this machine has. PURE: text of `/proc/self/mountinfo` in, facts out.
//!
//! `/proc/cgroups` is not asked: it lists controllers that are compiled in, also those that the
//! kernel's command line switched off or that another hierarchy took.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sys::mountinfo::{self, Mounted};

/// A controller that mote uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Controller {
    /// Shares and quota.
    Cpu,
    /// Limit and OOM kills.
    Memory,
    /// Number of processes.
    Pids,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

    /// The kernel's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

/// What a v1 hierarchy is mounted for, in the kernel's words, that matters to us.
///
/// `cpuset` and the rest are left alone: a pod then stays where the service is, which is right.
const V1_USED: [&str; 7] =
    ["cpu", "cpuacct", "memory", "pids", "devices", "freezer", "name=systemd"];

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// On v1 the controllers and names it was mounted with; on v2 nothing.
    pub subsystems: Vec<String>,
    /// It is a cgroup2 file system.
    pub unified: bool,
}

impl Hierarchy {
    /// It is a v1 hierarchy that was mounted with `subsystem`.
    pub fn has(&self, subsystem: &str) -> bool {
        self.subsystems.iter().any(|own| own == subsystem)
    }
}

/// All hierarchies a pod's processes are put into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchies(pub Vec<Hierarchy>);

impl Hierarchies {
    /// Reads them out of `/proc/self/mountinfo`.
    ///
    /// A hierarchy that is mounted twice counts once, at its first place.
    pub fn parse(lines: &[u8]) -> Self {
        let mut found: Vec<Hierarchy> = Vec::new();
        for hierarchy in mountinfo::parse(lines).filter_map(hierarchy) {
            let known = |other: &Hierarchy| {
                (other.unified, &other.subsystems) == (hierarchy.unified, &hierarchy.subsystems)
            };
            if !found.iter().any(known) {
                found.push(hierarchy);
            }
        }
        Self(found)
    }

    /// There is nothing but one cgroup2 hierarchy.
    pub fn is_v2(&self) -> bool {
        matches!(&self.0[..], [only] if only.unified)
    }

    /// The hierarchy that `subsystem` of v1 is in.
    pub fn v1(&self, subsystem: &str) -> Option<&Hierarchy> {
        self.0.iter().find(|hierarchy| hierarchy.has(subsystem))
    }

    /// The cgroup2 hierarchy: the only one, or the empty one of a hybrid system.
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.0.iter().find(|hierarchy| hierarchy.unified)
    }

    /// The controllers of [`Controller::ALL`] that no hierarchy offers; `cgroup_controllers` is
    /// the text of that file at the root of the unified hierarchy.
    pub fn missing(&self, cgroup_controllers: &str) -> Vec<Controller> {
        let offered = |controller: &Controller| {
            if self.is_v2() {
                cgroup_controllers.split_ascii_whitespace().any(|name| name == controller.name())
            } else {
                self.v1(controller.name()).is_some()
            }
        };
        Controller::ALL.into_iter().filter(|controller| !offered(controller)).collect()
    }
}

fn hierarchy(mount: Mounted<'_>) -> Option<Hierarchy> {
    let unified = match mount.kind.as_bytes() {
        b"cgroup2" => true,
        b"cgroup" => false,
        _ => return None,
    };
    // A bind mount of some cgroup (a container's view) is not the hierarchy.
    if mount.root != "/" {
        return None;
    }
    let used = |option: &&str| V1_USED.contains(option);
    let options = mount.options.to_str().unwrap_or_default().split(',');
    let subsystems: Vec<_> = options.filter(used).map(str::to_owned).collect();
    let known = unified || !subsystems.is_empty();
    known.then_some(Hierarchy { mount: mount.point, subsystems, unified })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:32 /docker/x /mnt/view rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn a_hybrid_machine_is_v1_with_an_empty_v2() {
        let found = Hierarchies::parse(HYBRID.as_bytes());
        assert!(!found.is_v2());
        let mounts: Vec<_> = found.0.iter().map(|h| h.mount.to_str().unwrap()).collect();
        let expected = ["cpu,cpuacct", "memory", "systemd", "unified"];
        assert_eq!(mounts, expected.map(|name| format!("/sys/fs/cgroup/{name}")));
        assert_eq!(found.v1("cpuacct"), found.v1("cpu"));
        assert_eq!(found.missing("cpu memory pids"), [Controller::Pids]);
    }

    #[test]
    fn on_v2_the_root_tells_what_is_switched_on() {
        let line = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let found = Hierarchies::parse(line.as_bytes());
        assert!(found.is_v2());
        assert_eq!(found.missing("cpuset cpu io pids\n"), [Controller::Memory]);
        assert!(found.missing("cpuset cpu io memory hugetlb pids rdma\n").is_empty());
    }

    #[test]
    fn a_machine_without_cgroups_misses_everything() {
        let found = Hierarchies::parse(b"22 27 0:21 / /proc rw - proc proc rw\nnoise\n\n - \n");
        assert_eq!((found.0.len(), found.missing("").len()), (0, 3));
    }
}
