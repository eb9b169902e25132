//! What every container finds mounted.

use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::Mount;

use super::Found;
use crate::runtime::op::order::{Start, VOLUMES};

/// Where programs look for their cgroup.
const CGROUPS: &str = "/sys/fs/cgroup";

/// All mounts below the root, in the order in which they are made.
pub(super) fn all(order: &Start, found: &Found) -> Vec<Mount> {
    let access = if order.rights.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/dev/shm", "bind", shm(order), &["bind", "rw", "nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
    ];
    mounts.push(found.cgroups.as_deref().map_or_else(
        || mount(CGROUPS, "cgroup2", "cgroup", &["nosuid", "noexec", "nodev", access]),
        |staged| v1_cgroups(staged, order.rights.privileged),
    ));
    let node = |(node, path): &(PathBuf, PathBuf)| mount(path, "bind", node, &["bind"]);
    mounts.extend(found.nodes.iter().map(node));
    mounts.extend(volumes(order));
    mounts
}

/// The directory behind `/dev/shm`.
pub fn shm(order: &Start) -> &Path {
    if order.pod.host.ipc { Path::new("/dev/shm") } else { &order.pod.shm }
}

/// The volumes, as the helper staged them with all that is asked of them, and the termination message,
/// which may be inside of one, and files of
/// the pod. What is mounted inside another comes after it, whatever the order of the
/// spec.
fn volumes(order: &Start) -> Vec<Mount> {
    let stage = order.attempt.join(VOLUMES);
    let staged = |(place, volume): (usize, &crate::runtime::Mount)| {
        // As elsewhere, a path that is not absolute begins at the root.
        let target = Path::new("/").join(&volume.target);
        mount(target, "bind", stage.join(place.to_string()), &["rbind"])
    };
    let mut volumes: Vec<_> = order.mounts.iter().enumerate().map(staged).collect();
    volumes.extend(order.termination_message.iter().map(|(target, file)| {
        let options = ["bind", "rw", "nosuid", "noexec", "nodev"];
        mount(Path::new("/").join(target), "bind", file, &options)
    }));
    volumes.extend(order.files.iter().map(|(target, file)| {
        // The other containers of the pod have the same.
        let access = if order.rights.read_only_root { "ro" } else { "rw" };
        mount(target, "bind", file, &["bind", access, "nosuid", "noexec", "nodev"])
    }));
    volumes.sort_by_key(|volume| volume.destination().components().count());
    volumes
}

/// The directory that the helper has prepared, with the mounts in it: libcontainer needs eighty
/// system calls for a mount of its own.
fn v1_cgroups(staged: &Path, privileged: bool) -> Mount {
    let access: &[&str] = if privileged { &["rw"] } else { &["ro", "rro"] };
    let mut options = vec!["rbind", "nosuid", "noexec", "nodev", "rnosuid", "rnoexec", "rnodev"];
    options.extend(access);
    mount(CGROUPS, "bind", staged, &options)
}

fn mount(
    target: impl Into<PathBuf>,
    kind: &str,
    source: impl Into<PathBuf>,
    options: &[&str],
) -> Mount {
    let mut mount = Mount::default();
    mount.set_destination(target.into());
    mount.set_typ(Some(kind.into()));
    mount.set_source(Some(source.into()));
    mount.set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
    mount
}
