//! The volumes of a container, each mounted where libcontainer finds it.
//!
//! They are mounted below the attempt's directory first, in the helper's own mount namespace: there
//! each gets what is asked of it. libcontainer knows of no propagation but that of the whole root,
//! and follows whatever links are in a path; a part of a volume, which containers write to, must be
//! looked up without leaving the volume, and stay what was looked up.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use mote_protocol::pod::MountPropagation;
use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, fchmod, fstat, mkdirat, open, openat2,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, MoveMountFlags, move_mount};

use super::order::{Start, VOLUMES};
use super::users::Users;
use super::{Failure, propagation, rootfs};
use crate::runtime::{Mount, MountSource};
use crate::sys::mount::{Change, change, clone_of};

/// Where layers of an image are put together, beside the volumes.
const LAYERS: &str = "layers";

/// Where each of them is as the pod's, beside the volumes.
const OWNED: &str = "owned";

/// Mounts that are taken before this process leaves the host's mounts: what is mounted in them
/// later must be seen by the host.
pub(super) struct Shared(Vec<Option<OwnedFd>>);

/// Opens the volumes that tell the host of their mounts.
pub(super) fn shared(mounts: &[Mount]) -> Result<Shared, Failure> {
    let open = |mount: &Mount| {
        let MountSource::Path(path) = &mount.source else { return Ok(None) };
        if mount.propagation == MountPropagation::Private {
            return Ok(None);
        }
        let part = part(&root_of(path)?, &mount.sub_path, mount.makes_parts)?;
        propagation::ensure(mount.propagation, &part, path)?;
        let told = mount.propagation == MountPropagation::Bidirectional;
        told.then(|| clone_of(part)).transpose()
    };
    let opened = mounts.iter().map(|mount| open(mount).map_err(|error| failure(mount, &error)));
    opened.collect::<Result<_, _>>().map(Shared)
}

/// Mounts all volumes below the attempt's directory, by their places in the order.
pub(super) fn stage(order: &Start, shared: Shared, users: Option<&Users>) -> Result<(), Failure> {
    if order.mounts.is_empty() {
        return Ok(());
    }
    let stage = order.attempt.join(VOLUMES);
    fs::create_dir_all(&stage).map_err(|error| Failure::of("make room for volumes", &error))?;
    for (place, (mount, shared)) in order.mounts.iter().zip(shared.0).enumerate() {
        let target = stage.join(place.to_string());
        let staged =
            stage_one(mount, shared, &target, order.rights.privileged && users.is_none(), users);
        staged.map_err(|error| failure(mount, &error))?;
    }
    Ok(())
}

/// In the kubelet's words where a part of a volume is meant: the cause would tell what else is on
/// the host.
fn failure(mount: &Mount, error: &io::Error) -> Failure {
    if mount.sub_path.is_empty() {
        return Failure::of(&format!("mount volume \"{}\" at {}", mount.name, mount.target), error);
    }
    let cause = format!("failed to prepare subPath for volumeMount \"{}\"", mount.name);
    Failure { cause, ..Failure::chain(error) }
}

fn stage_one(
    asked: &Mount,
    shared: Option<OwnedFd>,
    target: &Path,
    opens_devices: bool,
    users: Option<&Users>,
) -> io::Result<()> {
    let tree = if let Some(tree) = shared {
        tree
    } else {
        let root = match &asked.source {
            MountSource::Path(path) => root_of(path)?,
            MountSource::Layers(layers) => root_of(&layered(layers, target, users)?)?,
        };
        clone_of(part(&root, &asked.sub_path, asked.makes_parts)?)?
    };
    // Layers are the pod's already.
    if let (Some(users), MountSource::Path(_)) = (users, &asked.source) {
        users.own(&tree)?;
    }
    change(&tree, attributes(asked, opens_devices), false)?;
    if asked.propagation == MountPropagation::Private {
        let private = Some(MountPropagationFlags::PRIVATE);
        change(&tree, Change { propagation: private, ..Change::default() }, true)?;
    }
    if is_directory(tree.as_fd())? {
        fs::create_dir_all(target)?;
    } else {
        File::create(target)?;
    }
    Ok(move_mount(&tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

fn attributes(asked: &Mount, opens_devices: bool) -> Change {
    let mut set = MountAttrFlags::empty();
    let mut clear = MountAttrFlags::empty();
    if asked.read_only {
        set |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    if !opens_devices {
        // Nodes that are on a volume are no way to the host's devices.
        set |= MountAttrFlags::MOUNT_ATTR_NODEV;
    }
    if matches!(asked.source, MountSource::Layers(_)) {
        set |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    if asked.executable {
        clear |= MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_NOSUID;
    }
    Change { set, clear, propagation: None }
}

fn root_of(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// The layers of an image as one directory that nobody writes to.
fn layered(layers: &[PathBuf], target: &Path, users: Option<&Users>) -> io::Result<PathBuf> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let beside = |what: &str| target.with_file_name(format!("{what}{name}"));
    let owned = users.map(|users| users.lay_out(layers, &beside(OWNED))).transpose()?;
    let layers = owned.as_deref().unwrap_or(layers);
    match layers {
        [] => Err(rootfs::invalid("an image has at least one layer")),
        [only] => Ok(only.clone()),
        _ => {
            let merged = beside(LAYERS);
            fs::create_dir_all(&merged)?;
            rootfs::mount_layers(layers, None, &merged, false)?;
            Ok(merged)
        }
    }
}

/// A part of a volume, made where it is not there and may be, without leaving the volume.
fn part(root: &OwnedFd, sub_path: &str, make: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let look = |path: &Path, flags| openat2(root, path, flags, Mode::empty(), resolve);
    let names: Vec<_> = sub_path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    let mut reached = PathBuf::from(".");
    // A volume may be a file, which has no parts.
    let mut part = root.try_clone()?;
    for name in names {
        reached.push(name);
        part = match look(&reached, flags) {
            // A link that leads nowhere is no place for a directory: then this fails.
            Err(Errno::NOENT) if make => {
                // With what hands the pod's group on to what is made in it.
                let mode = Mode::from_raw_mode(fstat(root)?.st_mode & 0o2777);
                mkdirat(&part, name, mode)?;
                // Whatever the umask is.
                let made = look(&reached, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
                fchmod(&made, mode)?;
                look(&reached, flags)?
            }
            found => found?,
        };
    }
    Ok(part)
}

fn is_directory(file: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::Directory)
}

/// Makes the working directory where it is not there: in the image, or in the volume that will be
/// mounted over it.
pub(super) fn make_working_directory(order: &Start, root: &Path) -> io::Result<()> {
    let below = |(place, mount): (usize, &Mount)| {
        let target = Path::new("/").join(&mount.target);
        let rest = Path::new(&order.cwd).strip_prefix(&target).ok()?.to_owned();
        Some((target.components().count(), place, rest))
    };
    let deepest = order.mounts.iter().enumerate().filter_map(below).max();
    let Some((_, place, rest)) = deepest else {
        let made = rootfs::make_directory(root, &order.cwd);
        // A link of the image may lead into a volume: then the program's own look will tell.
        return if order.mounts.is_empty() { made } else { Ok(()) };
    };
    let volume = order.attempt.join(VOLUMES).join(place.to_string());
    let rest = rest.to_string_lossy();
    match rootfs::make_directory(&volume, &rest) {
        // Nothing can be made there; what is there is found.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    fn found(root: &Path, sub_path: &str) -> io::Result<u64> {
        part(&root_of(root)?, sub_path, true).and_then(|file| Ok(fstat(file)?.st_ino))
    }

    #[test]
    fn a_part_is_found_or_made_inside_its_volume_only() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
        for directory in [&volume.join("real"), &outside] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(volume.join("file"), "").unwrap();
        symlink("real", volume.join("inside")).unwrap();
        symlink(&outside, volume.join("absolute")).unwrap();
        symlink("../outside", volume.join("up")).unwrap();
        symlink("nowhere", volume.join("dangling")).unwrap();
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(found(&volume, "").unwrap(), inode(&volume));
        assert_eq!(found(&volume, "file").unwrap(), inode(&volume.join("file")));
        assert_eq!(found(&volume, "inside/new/er").unwrap(), inode(&volume.join("real/new/er")));
        assert_eq!(fs::metadata(volume.join("real/new")).unwrap().mode() & 0o7777, 0o777);
        for path in ["absolute", "up", "absolute/x", "up/x", "dangling", "file/x"] {
            found(&volume, path).expect_err(path);
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        part(&root_of(&volume).unwrap(), "absent", false).expect_err("nothing is made");
        assert!(!volume.join("absent").exists());
    }

    #[test]
    fn links_that_change_all_the_time_lead_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
        for directory in [&volume.join("real"), &outside] {
            fs::create_dir_all(directory).unwrap();
        }
        symlink(&outside, volume.join("link")).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // `real` is now a directory, now a link that leads out.
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    let (real, link) = (volume.join("real"), volume.join("link"));
                    rustix::fs::renameat_with(CWD, &real, CWD, &link, flags).unwrap();
                }
            });
            let (mut inside, mut refused) = (0, 0);
            for _ in 0..20_000 {
                match found(&volume, "real/x") {
                    Ok(_) => inside += 1,
                    Err(_) => refused += 1,
                }
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(inside > 0 && refused > 0, "{inside} {refused}: both were met");
        });
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing was made outside");
    }
}
