//! From an order to the configuration that libcontainer reads. PURE.
//!
//! Everything is spelled out, nothing left to defaults: `oci-spec` fills a missing capability set
//! or an unset `noNewPrivileges` with values of its own.

mod capabilities;
mod mounts;
mod user;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{
    Linux, LinuxCapabilities, LinuxDevice, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, Process, Root, Spec, User,
};

use mote_protocol::pod::MountPropagation;

pub use capabilities::{CapabilityError, bits, permitted};
pub use mounts::shm;
pub use user::{CUTS_IDS, Identity, UserError, resolve};

use crate::runtime::op::order::{Namespace, Start};
use crate::runtime::{Rights, Seccomp};

/// Where a container that names no PATH finds its programs.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Files that tell too much of the machine, or let it be changed.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Files that a container may read and not write.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Why an order cannot become a configuration.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Its capabilities.
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    /// A part that the configuration's own rules refuse.
    #[error("build the container's configuration")]
    Spec(#[from] OciSpecError),
}

/// What a helper found out on this machine for this container.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Mount point of the root file system.
    pub root: PathBuf,
    /// Further files of this machine that tell too much.
    pub masked: Vec<String>,
    /// Who its processes are.
    pub identity: Identity,
    /// A directory with its v1 cgroups mounted in it; on v2 it mounts its own.
    pub cgroups: Option<PathBuf>,
    /// Devices of the host that it gets.
    pub devices: Vec<LinuxDevice>,
    /// Nodes that were made for it, each with the path at which it finds it.
    pub nodes: Vec<(PathBuf, PathBuf)>,
    /// The `AppArmor` profile that it has.
    pub app_armor: Option<String>,
    /// Capabilities that can be granted, as [`permitted`] reads them.
    pub permitted: u64,
    /// The `oom_score_adj` of this helper, below which one without `CAP_SYS_RESOURCE` cannot go.
    pub oom_score_adj: i32,
}

/// The whole configuration of a container.
pub fn spec(order: &Start, found: Found) -> Result<Spec, BundleError> {
    let mut root = Root::default();
    root.set_path(found.root.clone());
    root.set_readonly(Some(order.rights.read_only_root));
    let mut spec = Spec::default();
    spec.set_version("1.0.2".into());
    spec.set_root(Some(root));
    spec.set_hostname(None);
    spec.set_mounts(Some(mounts::all(order, &found)));
    spec.set_process(Some(process(order, &found)?));
    spec.set_linux(Some(linux(order, found.devices, found.masked)?));
    spec.set_annotations(None);
    Ok(spec)
}

/// Whether a container runs without a filter of system calls.
pub fn is_unconfined(rights: &Rights) -> bool {
    rights.privileged || rights.seccomp == Seccomp::Unconfined
}

fn process(order: &Start, found: &Found) -> Result<Process, BundleError> {
    let identity = &found.identity;
    let mut user = User::default();
    user.set_uid(identity.uid);
    user.set_gid(identity.gid);
    user.set_additional_gids(Some(identity.groups.clone()));
    let mut process = Process::default();
    process.set_terminal(None);
    process.set_user(user);
    process.set_args(Some(order.args.clone()));
    process.set_env(Some(environment(order, &identity.home)));
    process.set_cwd(PathBuf::from(if order.cwd.is_empty() { "/" } else { &order.cwd }));
    process.set_capabilities(Some(rights(order, found.permitted)?));
    process.set_rlimits(None);
    process.set_no_new_privileges(order.rights.no_new_privileges.then_some(true));
    process.set_apparmor_profile(found.app_armor.clone());
    process.set_oom_score_adj(Some(score(order.oom_score_adj, found)));
    Ok(process)
}

/// The score that was asked for, or the next that can be had: an agent that is itself confined
/// protects its pods less, and runs them all the same.
fn score(asked: i32, found: &Found) -> i32 {
    if capabilities::may_lower_scores(found.permitted) {
        asked
    } else {
        asked.max(found.oom_score_adj)
    }
}

/// The capability sets. `CAP_SYS_ADMIN` in the effective set, but not in the bounding set, lets
/// the executor install its filter without `no_new_privs`; the kernel drops it at `execve`. So it does
/// with those by which the executor becomes the user where libcontainer cannot.
fn rights(order: &Start, permitted: u64) -> Result<LinuxCapabilities, BundleError> {
    use libcontainer::oci_spec::runtime::Capability;
    let bounding = capabilities::of(&order.rights, order.cgroup.device_filter, permitted)?;
    let mut effective = bounding.clone();
    if !is_unconfined(&order.rights) {
        effective.insert(Capability::SysAdmin);
    }
    if CUTS_IDS {
        effective.extend([Capability::Setgid, Capability::Setuid]);
    }
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(bounding));
    sets.set_effective(Some(effective.clone()));
    sets.set_permitted(Some(effective));
    sets.set_inheritable(None);
    sets.set_ambient(None);
    Ok(sets)
}

/// What the order names, and what every program may rely on.
fn environment(order: &Start, home: &str) -> Vec<String> {
    let mut env: Vec<String> = Vec::with_capacity(order.env.len() + 3);
    // The last of two variables of one name counts.
    for variable in order.env.iter().rev() {
        let known = |other: &String| name(other) == name(variable);
        if !env.iter().any(known) {
            env.push(variable.clone());
        }
    }
    env.reverse();
    let defaults =
        [DEFAULT_PATH.into(), format!("HOSTNAME={}", order.pod.hostname), format!("HOME={home}")];
    for default in defaults {
        if !env.iter().any(|other| name(other) == name(&default)) {
            env.push(default);
        }
    }
    env
}

fn name(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

fn linux(
    order: &Start,
    devices: Vec<LinuxDevice>,
    masked: Vec<String>,
) -> Result<Linux, BundleError> {
    let hidden = |paths: Vec<String>| {
        // To the host's root `/proc` is never open by that alone.
        let unmasked = order.rights.proc_unmasked && order.pod.users.is_some();
        let shown = order.rights.privileged || unmasked;
        Some(if shown { Vec::new() } else { paths })
    };
    let mut linux = Linux::default();
    linux.set_uid_mappings(None);
    linux.set_gid_mappings(None);
    let sysctls = order.sysctls.iter().cloned().collect::<HashMap<_, _>>();
    linux.set_sysctl((!sysctls.is_empty()).then_some(sysctls));
    linux.set_resources(None);
    // Never used: the container's processes are in their cgroup before libcontainer is called,
    // and no hierarchy is mounted where it looks for one.
    linux.set_cgroups_path(Some(PathBuf::from("/unused")));
    linux.set_namespaces(Some(namespaces(order)?));
    linux.set_devices((!devices.is_empty()).then_some(devices));
    let masked = MASKED.map(str::to_owned).into_iter().chain(masked);
    linux.set_masked_paths(hidden(masked.collect()));
    linux.set_readonly_paths(hidden(READ_ONLY.map(str::to_owned).to_vec()));
    // Without it libcontainer would cut what a volume and the host tell each other of mounts.
    let two_way = order.mounts.iter().any(|m| m.propagation == MountPropagation::Bidirectional);
    linux.set_rootfs_propagation(two_way.then(|| "shared".to_owned()));
    linux.set_seccomp(None);
    Ok(linux)
}

fn namespaces(order: &Start) -> Result<Vec<LinuxNamespace>, BundleError> {
    let new = |typ| LinuxNamespaceBuilder::default().typ(typ).build();
    let held = |(kind, path): &(Namespace, PathBuf)| {
        let typ = match kind {
            Namespace::User => LinuxNamespaceType::User,
            Namespace::Network => LinuxNamespaceType::Network,
            Namespace::Ipc => LinuxNamespaceType::Ipc,
            Namespace::Uts => LinuxNamespaceType::Uts,
            Namespace::Pid => LinuxNamespaceType::Pid,
        };
        LinuxNamespaceBuilder::default().typ(typ).path(path.clone()).build()
    };
    let mut namespaces: Vec<_> = order.pod.namespaces.iter().map(held).collect::<Result<_, _>>()?;
    namespaces.push(new(LinuxNamespaceType::Mount)?);
    let shares_pids = order.pod.namespaces.iter().any(|(kind, _)| *kind == Namespace::Pid);
    if !order.pod.host.pid && !shares_pids {
        namespaces.push(new(LinuxNamespaceType::Pid)?);
    }
    if order.cgroup.hierarchies.is_v2() {
        namespaces.push(new(LinuxNamespaceType::Cgroup)?);
    }
    Ok(namespaces)
}

/// Where a program named on a command line may be: itself if it is a path, else in each directory
/// of PATH.
pub fn candidates(program: &str, env: &[String]) -> Vec<PathBuf> {
    if program.contains('/') {
        return vec![PathBuf::from(program)];
    }
    let path = env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default();
    let directory = |part: &str| Path::new(if part.is_empty() { "." } else { part }).join(program);
    path.split(':').map(directory).collect()
}

#[cfg(test)]
mod tests;
