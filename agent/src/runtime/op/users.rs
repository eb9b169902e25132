//! A container whose users are not the host's: what its helper does for it.
//!
//! The container's own process works in the pod's user namespace from the moment on at which it joins
//! it, and has no power over anything of the host there. So the helper, which has, prepares before:
//! files of the image and of volumes are shown as the pod's, devices are made for it, and nothing on
//! the way to the container's directories is closed to it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, MoveMountFlags, mount, move_mount};

use super::order::{Namespace, Start};
use super::rootfs::{clone_at, invalid};
use crate::runtime::OWN_USERS;
use crate::runtime::oci::bundle::Identity;
use crate::runtime::oci::users::Users as Ids;
use crate::sys;
use crate::sys::mount::show_to_users;

/// The users of the pod, as an open namespace and as ids of the host.
pub(super) struct Users {
    namespace: File,
    /// The pod's other namespaces.
    others: Vec<(Namespace, File)>,
    ids: Ids,
}

impl Users {
    /// Those of the order's pod; nothing where they are the host's.
    pub(super) fn of(order: &Start) -> io::Result<Option<Self>> {
        let Some(ids) = order.pod.users else { return Ok(None) };
        let open = |(kind, path): &(Namespace, PathBuf)| Ok((*kind, File::open(path)?));
        let mut held = order.pod.namespaces.iter().map(open).collect::<io::Result<Vec<_>>>()?;
        let users = held.iter().position(|(kind, _)| *kind == Namespace::User);
        let (_, namespace) = held.swap_remove(users.ok_or(io::ErrorKind::NotFound)?);
        Ok(Some(Self { namespace, others: held, ids }))
    }

    /// The pod's namespaces as files of this process and those it forks: in the pod's user namespace
    /// nobody may look into `mote-pause`, which holds them.
    pub(super) fn namespaces(&self) -> Vec<(Namespace, PathBuf)> {
        let held = self.others.iter().map(|(kind, file)| (*kind, file));
        let path = |file: &File| PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let all = [(Namespace::User, &self.namespace)].into_iter().chain(held);
        all.map(|(kind, file)| (kind, path(file))).collect()
    }

    /// What a user or group of the container is on the host.
    pub(super) fn on_host(&self, id: u32) -> io::Result<u32> {
        let beyond = || invalid(&format!("{id} is not one of the {OWN_USERS} users of this pod"));
        self.ids.on_host(id).ok_or_else(beyond)
    }

    /// Shows the files of a mount that is attached nowhere as the pod's.
    pub(super) fn own(&self, tree: impl AsFd) -> io::Result<()> {
        show_to_users(tree, &self.namespace).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => {
                let cause = "its file system cannot be mounted for a pod with `hostUsers: false`";
                io::Error::new(error.kind(), cause)
            }
            _ => error,
        })
    }

    /// Mounts directories in `stage`, each shown as the pod's, in the order given.
    pub(super) fn lay_out(&self, layers: &[PathBuf], stage: &Path) -> io::Result<Vec<PathBuf>> {
        let lay = |(place, layer): (usize, &PathBuf)| {
            let target = stage.join(place.to_string());
            fs::create_dir_all(&target)?;
            let tree = clone_at(layer)?;
            self.own(&tree)?;
            move_mount(&tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            Ok(target)
        };
        layers.iter().enumerate().map(lay).collect()
    }

    /// Makes a directory whose owner is the pod's root.
    pub(super) fn make_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)?;
        chown(path, Some(self.ids.root()), Some(self.ids.root()))
    }

    /// Makes something in the container's files, as its root would.
    pub(super) fn as_root<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        sys::process::as_owner(self.ids.root(), act)
    }

    /// Makes device nodes in `stage` that belong to the container's user: the host's own belong to
    /// nobody that a pod has. Each with the path that it is to be found at.
    pub(super) fn devices(
        &self,
        devices: &[LinuxDevice],
        identity: &Identity,
        stage: &Path,
    ) -> io::Result<Vec<(PathBuf, PathBuf)>> {
        let devices: Vec<_> = devices.iter().filter(|device| !is_default(device)).collect();
        if devices.is_empty() {
            return Ok(Vec::new());
        }
        fs::create_dir_all(stage)?;
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
        mount("tmpfs", stage, "tmpfs", flags, Some(c"size=4k,mode=711"))?;
        let (user, group) = (self.on_host(identity.uid)?, self.on_host(identity.gid)?);
        let make = |(place, device): (usize, &&LinuxDevice)| {
            let node = stage.join(place.to_string());
            make_node(&node, device)?;
            chown(&node, Some(user), Some(group))?;
            Ok((node, device.path().clone()))
        };
        devices.iter().enumerate().map(make).collect()
    }
}

/// Which libcontainer adds by itself: anybody may open them.
fn is_default(device: &LinuxDevice) -> bool {
    const NAMES: [&str; 6] = ["null", "zero", "full", "tty", "urandom", "random"];
    NAMES.iter().any(|name| Path::new("/dev").join(name) == *device.path())
}

fn make_node(path: &Path, device: &LinuxDevice) -> io::Result<()> {
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        _ => FileType::CharacterDevice,
    };
    let number = |number: i64| u32::try_from(number).map_err(io::Error::other);
    let number = makedev(number(device.major())?, number(device.minor())?);
    let mode = device.file_mode().unwrap_or(0o600);
    mknodat(CWD, path, kind, Mode::from_raw_mode(mode), number)?;
    // Whatever the umask is.
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Lets everybody reach some directories, at the paths that they have: for this process alone, and
/// nothing else of what is on the way.
///
/// Whoever is root of a pod is nobody on the host, and the directories of the agent are closed.
pub(super) fn open_way(kept: &[&Path]) -> io::Result<()> {
    let closed = |path: &Path| -> io::Result<Option<PathBuf>> {
        let mut above: Vec<_> = path.ancestors().skip(1).collect();
        above.reverse();
        for directory in above {
            if fs::metadata(directory)?.mode() & 0o001 == 0 {
                return Ok(Some(directory.to_owned()));
            }
        }
        Ok(None)
    };
    let trees = kept.iter().map(|path| clone_at(path)).collect::<io::Result<Vec<_>>>()?;
    let mut hidden = false;
    for path in kept {
        // The second may be below the same closed directory, which is not what it was any more.
        if let Some(directory) = closed(path).or_else(gone)? {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount("tmpfs", &directory, "tmpfs", flags, Some(c"size=64k,nr_inodes=64,mode=711"))?;
            hidden = true;
        }
        if hidden {
            DirBuilder::new().recursive(true).mode(0o711).create(path)?;
        }
    }
    if hidden {
        for (tree, path) in trees.iter().zip(kept) {
            move_mount(tree, "", CWD, *path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
    }
    Ok(())
}

/// What is not there is not closed.
fn gone(error: io::Error) -> io::Result<Option<PathBuf>> {
    if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) }
}
