//! What the kernel has of what pods need.
//!
//! Everything is read below a root directory, so that a test can lay out a machine of its own. What
//! cannot be read says nothing: a finding needs a fact.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use mote_protocol::doctor::Finding;
use serde::{Deserialize, Serialize};

use super::boot::{self, Boot};
use crate::runtime::oci::cgroup::{Controller, Hierarchies};
use crate::runtime::oci::users;
use crate::sys::bpf::{Instruction, load_device_program};
use crate::sys::kernel::KernelVersion;

/// The oldest kernel that has all that containers are made with (`mount_setattr`).
const OLDEST: KernelVersion = KernelVersion(5, 12);

/// Namespaces that every pod has, by their names below `/proc/self/ns`, and what they are called.
const NEEDED: [(&str, &str); 5] = [
    ("mnt", "CONFIG_NAMESPACES"),
    ("pid", "CONFIG_PID_NS"),
    ("net", "CONFIG_NET_NS"),
    ("ipc", "CONFIG_IPC_NS"),
    ("uts", "CONFIG_UTS_NS"),
];

/// Longest of the files read here; `modules.dep` of a distribution has a megabyte.
const MAX_FILE: u64 = 4 << 20;

/// A kernel with more parts than somebody built it with.
const OTHER_KERNEL: &str = "use a kernel that has it, such as the distribution's own";

/// What was seen of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kernel {
    pub(super) release: String,
    /// Images can be mounted: overlayfs is there, or a module of it is.
    pub(super) overlay: Option<bool>,
    /// System calls can be filtered.
    pub(super) seccomp: Option<bool>,
    /// Names below `/proc/self/ns`.
    pub(super) namespaces: Option<Vec<String>>,
    /// Why pods cannot have users of their own.
    pub(super) no_users: Option<String>,
    pub(super) cgroups: Option<Cgroups>,
}

/// What was seen of its cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cgroups {
    /// Some are mounted.
    pub(super) mounted: bool,
    /// Controllers that are not there, or switched off.
    pub(super) missing: Vec<Controller>,
    /// Why devices cannot be filtered, where it takes a program to do it (v2).
    pub(super) no_filter: Option<String>,
    pub(super) boot: Boot,
}

impl Kernel {
    /// Looks below `root` (`/`); `filter` tries whether devices can be filtered on cgroup v2.
    pub(super) fn read(root: &Path, release: &str, filter: fn() -> Option<String>) -> Self {
        let most_users = text(&root.join("proc/sys/user/max_user_namespaces"));
        let no_users = users::without(most_users.as_deref(), KernelVersion::of_release(release));
        let has_proc = root.join("proc/self").exists();
        Self {
            release: release.to_owned(),
            overlay: overlay(root, release),
            seccomp: has_proc.then(|| root.join("proc/sys/kernel/seccomp/actions_avail").exists()),
            namespaces: namespaces(root),
            no_users: no_users.filter(|_| has_proc).map(str::to_owned),
            cgroups: Cgroups::read(root, filter),
        }
    }

    pub(super) fn judge(&self, found: &mut Vec<Finding>) {
        let version = KernelVersion::of_release(&self.release);
        if version != KernelVersion::default() && version < OLDEST {
            let message = format!("Linux {} is older than 5.12, which mote needs", self.release);
            found.push(Finding::problem("KernelTooOld", &message, "update the system"));
        }
        if self.overlay == Some(false) {
            let message =
                "the kernel has no overlayfs (CONFIG_OVERLAY_FS): no image can be mounted";
            found.push(Finding::problem("OverlayMissing", message, OTHER_KERNEL));
        }
        if self.seccomp == Some(false) {
            let message = "the kernel filters no system calls (CONFIG_SECCOMP_FILTER): only pods \
                           that ask to be unconfined can start";
            found.push(Finding::problem("SeccompMissing", message, OTHER_KERNEL));
        }
        if let Some(there) = &self.namespaces {
            for (name, option) in NEEDED {
                if !there.iter().any(|found| found == name) {
                    let message = format!("the kernel has no {name} namespaces ({option})");
                    found.push(Finding::problem("NamespacesMissing", &message, OTHER_KERNEL));
                }
            }
        }
        if let Some(why) = &self.no_users {
            let message = format!("pods with `hostUsers: false` are refused: {why}");
            let remedy = "nothing to do, unless pods are to have users of their own";
            found.push(Finding::hint("UserNamespacesMissing", &message, remedy));
        }
        if let Some(cgroups) = &self.cgroups {
            cgroups.judge(found);
        }
    }
}

impl Cgroups {
    fn read(root: &Path, filter: fn() -> Option<String>) -> Option<Self> {
        let mounts = fs::read(root.join("proc/self/mountinfo")).ok()?;
        let hierarchies = Hierarchies::parse(&mounts);
        let controllers = hierarchies.unified().and_then(|unified| {
            let mount = unified.mount.strip_prefix("/").unwrap_or(&unified.mount);
            text(&root.join(mount).join("cgroup.controllers"))
        });
        Some(Self {
            mounted: !hierarchies.0.is_empty(),
            missing: hierarchies.missing(&controllers.unwrap_or_default()),
            no_filter: if hierarchies.is_v2() { filter() } else { None },
            boot: Boot::read(root),
        })
    }

    fn judge(&self, found: &mut Vec<Finding>) {
        if !self.mounted {
            let message = "no cgroups are mounted: containers cannot be told apart";
            let remedy = "mount cgroup2 on /sys/fs/cgroup at boot, as systemd does";
            return found.push(Finding::problem("CgroupsMissing", message, remedy));
        }
        for controller in &self.missing {
            found.push(match controller {
                Controller::Memory => boot::memory_missing(&self.boot),
                Controller::Cpu | Controller::Pids => {
                    let message = format!(
                        "the cgroup controller `{}` is not there: limits that need it are not \
                         enforced",
                        controller.name()
                    );
                    Finding::problem("CgroupControllerMissing", &message, OTHER_KERNEL)
                }
            });
        }
        if let Some(why) = &self.no_filter {
            let message = format!(
                "devices are not filtered ({why}): containers are kept from them by what is in \
                 their /dev alone"
            );
            let remedy = "for filters, use a kernel with CONFIG_CGROUP_BPF";
            found.push(Finding::hint("DeviceFilterMissing", &message, remedy));
        }
    }
}

/// Why the kernel takes no program that filters devices, where it takes none.
pub(super) fn try_filter() -> Option<String> {
    let step = |code, immediate| Instruction { code, registers: 0, offset: 0, immediate };
    // Yes to everything; it is attached to nothing.
    load_device_program(&[step(0xb7, 1), step(0x95, 0)]).err().map(|error| error.to_string())
}

/// A module is loaded when it is first mounted.
fn overlay(root: &Path, release: &str) -> Option<bool> {
    let known = text(&root.join("proc/filesystems"))?;
    if known.lines().any(|line| line.ends_with("\toverlay")) {
        return Some(true);
    }
    let modules = |base: &str| -> PathBuf { root.join(base).join(release) };
    let named = |path: PathBuf| text(&path).is_some_and(|text| text.contains("/overlay.ko"));
    let found = ["lib/modules", "usr/lib/modules"].into_iter().map(modules);
    let mut found = found.flat_map(|at| [at.join("modules.dep"), at.join("modules.builtin")]);
    Some(found.any(named))
}

fn namespaces(root: &Path) -> Option<Vec<String>> {
    let listed = fs::read_dir(root.join("proc/self/ns")).ok()?;
    let mut names: Vec<_> =
        listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).take(32).collect();
    names.sort_unstable();
    Some(names)
}

/// A file of the kernel's, if it can be read.
pub(super) fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
