//! Attempts to have other mounts or other namespaces.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use crate::attempts::{Attempts, HERE, SIGCHLD};
use crate::kernel::*;

pub const NEW_MOUNTS: usize = 0x0002_0000;
const NEW_CGROUPS: usize = 0x0200_0000;
const NEW_USERS: usize = 0x1000_0000;
const NEW_PIDS: usize = 0x2000_0000;
const NEW_NETWORK: usize = 0x4000_0000;

pub const MOUNTS: Attempts = &[
    ("mount", || mounted(None, "/tmp", Some("tmpfs"), 0)),
    ("mount-proc", || mounted(None, "/tmp", Some("proc"), 0)),
    ("bind-mount", || mounted(Some("/"), "/tmp", None, 0x1000)),
    ("open-tree", || opened(OPEN_TREE, &[HERE, c"/".as_ptr().addr(), 1])),
    ("fsopen", || opened(FSOPEN, &[c"tmpfs".as_ptr().addr(), 0])),
    ("mount-setattr", mount_setattr),
    ("move-mount", move_mount),
    ("pivot-root", || done(PIVOT_ROOT, &[c"/no/such".as_ptr().addr(), c"/no".as_ptr().addr()])),
    // Writable again: `MS_REMOUNT | MS_BIND`.
    ("remount-proc-sys", || mounted(None, "/proc/sys", None, 0x1020)),
    ("unmount-proc-sys", || done(UMOUNT2, &[c"/proc/sys".as_ptr().addr(), 2])),
];

/// In the order in which whoever may do it all can do it all in one process.
pub const NAMESPACES: Attempts = &[
    ("enter-namespace", enter_namespace),
    ("clone-users", || clone(NEW_USERS)),
    ("clone-pids", || clone(NEW_PIDS)),
    ("clone3-users", clone3),
    ("unshare-mounts", || done(UNSHARE, &[NEW_MOUNTS])),
    ("unshare-cgroups", || done(UNSHARE, &[NEW_CGROUPS])),
    ("unshare-network", || done(UNSHARE, &[NEW_NETWORK])),
    ("unshare-users", || done(UNSHARE, &[NEW_USERS])),
];

fn clone(flags: usize) -> io::Result<()> {
    let child = call(CLONE, &[flags | SIGCHLD])?;
    if child == 0 {
        let _ = call(EXIT_GROUP, &[0]);
    }
    waited_for(child).map(drop)
}

fn clone3() -> io::Result<()> {
    let mut arguments = [0_u64; 8];
    arguments[0] = NEW_USERS as u64;
    arguments[4] = SIGCHLD as u64;
    let child = call(CLONE3, &[arguments.as_ptr().addr(), 64])?;
    if child == 0 {
        let _ = call(EXIT_GROUP, &[0]);
    }
    waited_for(child).map(drop)
}

/// One of its own: whoever may not enter that may not enter any.
fn enter_namespace() -> io::Result<()> {
    let file = File::open("/proc/self/ns/uts")?;
    done(SETNS, &[usize::try_from(file.as_raw_fd()).expect("a file's number"), 0])
}

/// Mounts, and takes it away again.
fn mounted(source: Option<&str>, target: &str, kind: Option<&str>, flags: usize) -> io::Result<()> {
    const REMOUNT: usize = 0x20;
    let (source, kind) = (source.map(text), kind.map(text));
    let pointer = |text: &Option<std::ffi::CString>| text.as_ref().map_or(0, |t| t.as_ptr().addr());
    let path = text(target);
    let path = path.as_ptr().addr();
    done(MOUNT, &[pointer(&source), path, pointer(&kind), flags, 0])?;
    if flags & REMOUNT == 0 { done(UMOUNT2, &[path, 2]) } else { Ok(()) }
}

/// Takes no attribute away, and adds none.
fn mount_setattr() -> io::Result<()> {
    let attributes = [0_u64; 4];
    done(MOUNT_SETATTR, &[HERE, c"/proc".as_ptr().addr(), 0, attributes.as_ptr().addr(), 32])
}

fn move_mount() -> io::Result<()> {
    let file = File::open("/")?;
    let number = usize::try_from(file.as_raw_fd()).expect("a file's number");
    let empty = c"".as_ptr().addr();
    // `MOVE_MOUNT_F_EMPTY_PATH`; onto itself, which nobody can.
    done(MOVE_MOUNT, &[number, empty, HERE, c"/".as_ptr().addr(), 4])
}
