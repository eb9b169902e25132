//! The host's devices: all of them for privileged containers, some for those that ask for them.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

/// Directories that a container has of its own.
const OWN: [&str; 4] = ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd"];

/// Made by libcontainer as links.
const LINKS: [&str; 2] = ["/dev/ptmx", "/dev/console"];

/// Deepest directory below `/dev` that is looked into.
const MAX_DEPTH: usize = 4;

/// Every device node below `/dev`, except terminals and what a container has of its own.
pub(super) fn all() -> Vec<LinuxDevice> {
    let mut devices = Vec::new();
    collect(Path::new("/dev"), MAX_DEPTH, &mut devices);
    devices
}

fn collect(directory: &Path, depth: usize, devices: &mut Vec<LinuxDevice>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = entry.metadata() else { continue };
        let skipped = |list: &[&str]| list.iter().any(|other| Path::new(other) == path);
        if metadata.is_dir() && depth > 0 && !skipped(&OWN) {
            collect(&path, depth - 1, devices);
        }
        if !skipped(&LINKS) {
            devices.extend(node(path, &metadata));
        }
    }
}

/// Some device nodes of the host, at the same paths; also those behind links.
pub(super) fn of(paths: &[PathBuf]) -> io::Result<Vec<LinuxDevice>> {
    let mut devices = Vec::with_capacity(paths.len());
    for path in paths {
        devices.extend(node(path.clone(), &fs::metadata(path)?));
    }
    Ok(devices)
}

/// The same node; none where it is no device.
fn node(path: PathBuf, metadata: &Metadata) -> Option<LinuxDevice> {
    let kind = metadata.file_type();
    let typ = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => LinuxDeviceType::C,
        (_, true) => LinuxDeviceType::B,
        _ => return None,
    };
    let mut device = LinuxDevice::default();
    device.set_path(path);
    device.set_typ(typ);
    device.set_major(i64::from(rustix::fs::major(metadata.rdev())));
    device.set_minor(i64::from(rustix::fs::minor(metadata.rdev())));
    device.set_file_mode(Some(metadata.mode() & 0o7777));
    device.set_uid(Some(metadata.uid()));
    device.set_gid(Some(metadata.gid()));
    Some(device)
}
