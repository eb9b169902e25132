//! The host's devices, for privileged containers.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

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
        let kind = metadata.file_type();
        let skipped = |list: &[&str]| list.iter().any(|other| Path::new(other) == path);
        if kind.is_dir() && depth > 0 && !skipped(&OWN) {
            collect(&path, depth - 1, devices);
        }
        let typ = match (kind.is_char_device(), kind.is_block_device()) {
            (true, _) => LinuxDeviceType::C,
            (_, true) => LinuxDeviceType::B,
            _ => continue,
        };
        if skipped(&LINKS) {
            continue;
        }
        let mut device = LinuxDevice::default();
        device.set_path(path);
        device.set_typ(typ);
        device.set_major(i64::from(rustix::fs::major(metadata.rdev())));
        device.set_minor(i64::from(rustix::fs::minor(metadata.rdev())));
        device.set_file_mode(Some(metadata.mode() & 0o7777));
        device.set_uid(Some(metadata.uid()));
        device.set_gid(Some(metadata.gid()));
        devices.push(device);
    }
}
