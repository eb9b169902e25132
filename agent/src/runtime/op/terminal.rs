//! A terminal for a command: made in its container, where programs find it by its name, and held by
//! the agent at the other end.
//!
//! What the container has as `/dev/pts` need not be one: it is looked at before it is used, and the
//! command's end is opened by way of the other one, not by a name.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};

use mote_protocol::command::WindowSize;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, fstatfs, major, minor, openat};
use rustix::io::IoSlice;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::tcsetwinsize;

use crate::runtime::terminal::winsize;

/// Where a container's terminals are made: `/dev/ptmx` leads there, and may lead elsewhere.
const MASTER: &str = "/dev/pts/ptmx";

/// Number of the device (Linux, `Documentation/admin-guide/devices.txt`).
const DEVICE: (u32, u32) = (5, 2);

/// `DEVPTS_SUPER_MAGIC` of `linux/magic.h`.
const DEVPTS: u64 = 0x1cd1;

/// The kind of terminal, where the container does not say: what runtimes of Kubernetes say.
const KIND: &str = "TERM=xterm";

/// Says what kind of terminal it is.
pub(super) fn name(env: &mut Vec<String>) {
    if !env.iter().any(|variable| variable.starts_with("TERM=")) {
        env.push(KIND.to_owned());
    }
}

/// Makes a terminal, sends its one end over `socket`, and gives the other.
pub(super) fn open(size: WindowSize, socket: &OwnedFd) -> io::Result<OwnedFd> {
    let flags =
        OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let master = openat(CWD, MASTER, flags, Mode::empty())?;
    let (found, system) = (fstat(&master)?, fstatfs(&master)?);
    let device = (major(found.st_rdev), minor(found.st_rdev));
    let is_terminal = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
        && device == DEVICE
        && u64::try_from(system.f_type).ok() == Some(DEVPTS);
    if !is_terminal {
        return Err(io::Error::other(format!("{MASTER} is not what makes terminals")));
    }
    unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    tcsetwinsize(&master, winsize(size))?;
    let fds = [master.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(slave)
}

/// Makes it the terminal of this session, and what is read and printed.
pub(super) fn control(terminal: &OwnedFd) -> io::Result<()> {
    ioctl_tiocsctty(terminal)?;
    dup2_stdin(terminal)?;
    dup2_stdout(terminal)?;
    Ok(dup2_stderr(terminal)?)
}
