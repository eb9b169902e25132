//! The volumes of a real node.

use std::ffi::CString;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mote_protocol::name::Uid;
use mote_protocol::pod::{Volume, VolumeSource};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tokio::sync::Semaphore;

use super::{VolumeError, Volumes, files, host_path, ownership};
use crate::pod::contents::projection::{Files, Wanted, is_secret};
use crate::ports::in_turn;
use crate::sys::mountinfo;
use crate::tree::{self, Measured};

/// How long the host may take to tell what is at a path.
const PATIENCE: Duration = Duration::from_secs(30);

/// Paths of the host looked at one time: each takes a thread, and a server that does not answer
/// keeps it long after whoever asked has given up. Others of the agent need some.
const MAX_LOOKS: usize = 2;

static LOOKS: Semaphore = Semaphore::const_new(MAX_LOOKS);

/// Where directories of pods are that are not on flash.
const VOLUMES: &str = "volumes";

/// Where the files of Secrets are.
const SECRETS: &str = "secrets";

/// The directories below an agent's own two.
#[derive(Clone, Debug)]
pub struct NodeVolumes {
    run: PathBuf,
    state: PathBuf,
}

impl NodeVolumes {
    /// Volumes below these two directories, on memory and on flash.
    pub fn new(run: &Path, state: &Path) -> Self {
        Self { run: run.to_owned(), state: state.to_owned() }
    }

    fn on_flash(&self, uid: &Uid) -> PathBuf {
        self.state.join(format!("pods/{uid}/volumes"))
    }

    fn in_memory(&self, uid: &Uid) -> PathBuf {
        self.run.join(format!("{VOLUMES}/{uid}"))
    }

    fn secret(&self, uid: &Uid) -> PathBuf {
        self.run.join(format!("{SECRETS}/{uid}"))
    }

    fn set_up_now(
        &self,
        uid: &Uid,
        volume: &Volume,
        wanted: &Wanted,
        group: Option<u32>,
    ) -> Result<(), VolumeError> {
        let path = self.path(uid, volume);
        let io = || VolumeError::io(format!("set up {}", path.display()));
        match wanted {
            Wanted::Empty => empty(&path, group).map_err(io()),
            Wanted::Memory { size } => in_memory(&path, *size, group).map_err(io()),
            Wanted::Host { path, kind } => host_path::prepare(path, *kind),
            Wanted::Files(files) => {
                self.set_up_files(&path, is_secret(&volume.source), files, group).map_err(io())
            }
            Wanted::Image => Ok(()),
        }
    }

    fn set_up_files(
        &self,
        path: &Path,
        secret: bool,
        wanted: &Files,
        group: Option<u32>,
    ) -> io::Result<()> {
        if secret {
            self.mount_secrets()?;
        }
        make_directory(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o755))?;
        if group.is_some() {
            std::os::unix::fs::chown(path, None, group)?;
        }
        files::write(path, wanted, group)
    }

    /// Swap would write secrets to the card. Linux 6.4 has a tmpfs that cannot be swapped; before,
    /// pages of a ramfs cannot, but it cannot be shown to users of a pod's own and has no bound: who
    /// writes is the agent alone, and every object is bounded.
    fn mount_secrets(&self) -> io::Result<()> {
        let root = self.run.join(SECRETS);
        make_directory(&root)?;
        if is_mount_point(&root)? {
            return Ok(());
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        if !mount_unswapped(&root, flags, "mode=700")? {
            mount("ramfs", &root, "ramfs", flags, Some(c"mode=700"))?;
        }
        Ok(())
    }

    /// Where the last secret is gone, nothing is left mounted.
    fn unmount_secrets(&self) -> io::Result<()> {
        let root = self.run.join(SECRETS);
        let empty = match fs::read_dir(&root) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if empty && is_mount_point(&root)? {
            unmount(&root, UnmountFlags::DETACH)?;
        }
        Ok(())
    }

    fn remove_from_memory(&self, uid: &Uid) -> io::Result<()> {
        let volumes = self.in_memory(uid);
        detach_below(&[&volumes, &self.secret(uid), &self.on_flash(uid)])?;
        tree::remove(&volumes)?;
        tree::remove(&self.secret(uid))?;
        self.unmount_secrets()
    }
}

impl Volumes for NodeVolumes {
    async fn set_up(
        &self,
        uid: &Uid,
        volume: &Volume,
        wanted: &Wanted,
        group: Option<u32>,
    ) -> Result<(), VolumeError> {
        let Wanted::Host { path, kind } = wanted else {
            return self.set_up_now(uid, volume, wanted, group);
        };
        // It may lie on a server that does not answer: then only pods with such volumes wait.
        let (path, kind) = (path.clone(), *kind);
        let asked = path.clone();
        let looked = in_turn(&LOOKS, async move {
            tokio::task::spawn_blocking(move || host_path::prepare(&asked, kind)).await
        });
        let failed = |source| VolumeError::io(format!("look at {}", path.display()))(source);
        match tokio::time::timeout(PATIENCE, looked).await {
            Ok(Ok(Ok(looked))) => looked,
            Ok(Ok(Err(broken))) => Err(failed(io::Error::other(broken))),
            Ok(Err(broken)) => Err(failed(broken)),
            Err(_) => Err(failed(ErrorKind::TimedOut.into())),
        }
    }

    fn path(&self, uid: &Uid, volume: &Volume) -> PathBuf {
        let directory = match &volume.source {
            VolumeSource::HostPath { path, .. } => return PathBuf::from(path),
            VolumeSource::EmptyDir { memory: false, .. } => self.on_flash(uid),
            source if is_secret(source) => self.secret(uid),
            _ => self.in_memory(uid),
        };
        directory.join(&volume.name)
    }

    async fn written(&self, uid: &Uid, volume: &Volume) -> Measured {
        tree::usage(vec![self.path(uid, volume)]).await
    }

    fn holds(&self, uid: &Uid) -> bool {
        [self.on_flash(uid), self.in_memory(uid), self.secret(uid)].iter().any(|path| path.exists())
    }

    async fn remove(&self, uid: &Uid) -> io::Result<()> {
        self.remove_from_memory(uid)?;
        let on_flash = self.on_flash(uid);
        if !on_flash.exists() {
            return Ok(());
        }
        // However much containers wrote, beside the agent's own work.
        let done = tokio::task::spawn_blocking(move || tree::remove(&on_flash)).await;
        done.unwrap_or_else(|broken| Err(io::Error::other(broken)))
    }
}

/// A directory that everybody may write to, as in Kubernetes. One that is there was set up.
fn empty(path: &Path, group: Option<u32>) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    // Under another name first: a directory of this name is one that was finished.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!("..{name}"));
    make_directory(&unfinished)?;
    open_to_all(&unfinished, group)?;
    fs::rename(&unfinished, path)
}

fn in_memory(path: &Path, size: Option<u64>, group: Option<u32>) -> io::Result<()> {
    make_directory(path)?;
    if is_mount_point(path)? {
        return Ok(());
    }
    let size = size.map(|size| format!(",size={size}")).unwrap_or_default();
    let group_option = group.map(|group| format!(",gid={group}")).unwrap_or_default();
    let mode = if group.is_some() { "2777" } else { "777" };
    let options = format!("mode={mode}{group_option}{size}");
    // Pages that are swapped would be written to the card.
    if !mount_unswapped(path, MountFlags::empty(), &options)? {
        let options = CString::new(options)?;
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))?;
    }
    Ok(())
}

/// Mounts a tmpfs that is never swapped. Before Linux 6.4 there is none, and this says so.
fn mount_unswapped(path: &Path, flags: MountFlags, options: &str) -> io::Result<bool> {
    let options = CString::new(format!("{options},noswap"))?;
    match mount("tmpfs", path, "tmpfs", flags, Some(options.as_c_str())) {
        Err(rustix::io::Errno::INVAL) => Ok(false),
        mounted => Ok(mounted.map(|()| true)?),
    }
}

fn open_to_all(path: &Path, group: Option<u32>) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o777))?;
    group.map_or(Ok(()), |group| ownership::give(path, group))
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Detaches everything that is mounted in these directories and below: volumes in memory, and what
/// containers that may or people mounted inside. Whoever removes the directories must not remove what
/// is on a disk that was mounted there.
fn detach_below(directories: &[&Path]) -> io::Result<()> {
    let mounts = mountinfo::read()?;
    for mount in mountinfo::parse(&mounts).rev() {
        if directories.iter().any(|directory| mount.point.starts_with(directory)) {
            unmount(&mount.point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
        }
    }
    Ok(())
}

/// A mount shows in that its root is of another file system than the directory it is in.
fn is_mount_point(path: &Path) -> io::Result<bool> {
    let Some(parent) = path.parent() else { return Ok(true) };
    Ok(fs::symlink_metadata(path)?.dev() != fs::symlink_metadata(parent)?.dev())
}

#[cfg(test)]
mod tests;
