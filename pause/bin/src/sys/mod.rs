//! The system calls that `rustix` does not offer outside of a C library, and the memory functions.
//!
//! Nearly every use of `unsafe` in mote-pause is in this folder; the rest is where the process
//! begins, in `main` and `start`.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "system calls take and give machine words, whatever they mean"
)]
#![allow(clippy::inline_always, reason = "a system call is smaller than a call")]

mod arch;
mod mem;

use core::ffi::CStr;
use core::marker::PhantomData;
use core::ptr;

use linux_raw_sys::general as kernel;
use mote_pause::wire::MAX_STRINGS;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::thread::UnshareFlags;

/// A set of signals as the kernel has it: one bit for each of 64.
type SignalSet = u64;

const SIGNAL_SET_SIZE: usize = size_of::<SignalSet>();

/// Calls the kernel and sorts its answer.
///
/// # Safety
///
/// As for the system call `number` with these arguments; missing ones are 0.
#[inline(always)]
unsafe fn call<const N: usize>(number: u32, args: [usize; N]) -> Result<usize, Errno> {
    let arg = |at: usize| args.get(at).copied().unwrap_or(0);
    // SAFETY: promised by the caller.
    let result = unsafe { arch::syscall(number, [arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)]) };
    match result {
        -4095..=-1 => Err(Errno::from_raw_os_error(-result as i32)),
        _ => Ok(result as usize),
    }
}

fn raw(fd: BorrowedFd<'_>) -> usize {
    fd.as_raw_fd() as usize
}

/// Which of two processes one is after [`fork`].
pub(crate) enum Fork {
    /// The new one.
    Child,
    /// The old one; the new one has this id.
    Parent(u32),
}

/// Whose child a forked process becomes.
#[derive(Clone, Copy)]
pub(crate) enum Parent {
    /// Of the caller.
    Caller,
    /// Of the caller's parent.
    Grandparent,
}

/// Copies this process.
pub(crate) fn fork(parent: Parent) -> Result<Fork, Errno> {
    let flags = kernel::SIGCHLD
        | match parent {
            Parent::Caller => 0,
            Parent::Grandparent => kernel::CLONE_PARENT,
        };
    // SAFETY: without CLONE_VM the child has its own copy of everything, like after fork(2); there
    // is one thread and no library whose state could be torn.
    match unsafe { call(kernel::__NR_clone, [flags as usize]) }? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid as u32)),
    }
}

/// Ends this process.
pub(crate) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: touches no memory; does not return.
        let _ = unsafe { call(kernel::__NR_exit_group, [status as usize]) };
    }
}

/// Becomes another program. Returns only if it cannot.
pub(crate) fn execute(program: BorrowedFd<'_>, args: &Pointers<'_>, env: &Pointers<'_>) -> Errno {
    let path = c"".as_ptr() as usize;
    let (args, env) = (args.list.as_ptr() as usize, env.list.as_ptr() as usize);
    let flags = kernel::AT_EMPTY_PATH as usize;
    // SAFETY: both lists are closed by a null pointer, and their strings by a NUL.
    match unsafe { call(kernel::__NR_execveat, [raw(program), path, args, env, flags]) } {
        Ok(_) => Errno::NOEXEC,
        Err(errno) => errno,
    }
}

/// Pointers to strings, closed by a null pointer.
pub(crate) struct Pointers<'a> {
    list: [*const u8; MAX_STRINGS + 1],
    strings: PhantomData<&'a [u8]>,
}

impl<'a> Pointers<'a> {
    /// Of `strings`; those not closed by a NUL are left out.
    pub(crate) fn new(strings: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut list = [ptr::null(); MAX_STRINGS + 1];
        let closed = strings.filter(|string| string.last() == Some(&0));
        for (slot, string) in list.iter_mut().take(MAX_STRINGS).zip(closed) {
            *slot = string.as_ptr();
        }
        Self { list, strings: PhantomData }
    }
}

/// Makes `fd` known under `number` too, replacing what was there.
pub(crate) fn duplicate(fd: BorrowedFd<'_>, number: u8, inherited: bool) -> Result<(), Errno> {
    let flags = if inherited { 0 } else { kernel::O_CLOEXEC as usize };
    // SAFETY: touches no memory. The numbers callers use are never owned by an `OwnedFd`: those of
    // stdio and namespaces are reserved at the start, others are of a child about to execute.
    unsafe { call(kernel::__NR_dup3, [raw(fd), usize::from(number), flags]) }.map(drop)
}

/// Closes all file descriptors from `first` on.
pub(crate) fn close_from(first: RawFd) {
    // SAFETY: touches no memory. Used where nothing above `first` is owned: at the start, and in a
    // child that uses none.
    if unsafe { call(kernel::__NR_close_range, [first as usize, u32::MAX as usize, 0]) }.is_ok() {
        return;
    }
    // Before Linux 5.9. The agent opens everything close-on-exec, this is only a second bolt.
    for fd in first..256 {
        // SAFETY: as above.
        let _ = unsafe { call(kernel::__NR_close, [fd as usize]) };
    }
}

/// Holds back every signal, so that none ends this process and none interrupts a system call.
pub(crate) fn block_signals() {
    set_signal_mask(SignalSet::MAX);
}

/// Lets signals through, as programs expect it when they begin.
pub(crate) fn unblock_signals() {
    set_signal_mask(0);
}

fn set_signal_mask(mask: SignalSet) {
    let how = kernel::SIG_SETMASK as usize;
    let mask = &raw const mask as usize;
    // SAFETY: `mask` is a signal set; the old one is not asked for.
    let _ = unsafe { call(kernel::__NR_rt_sigprocmask, [how, mask, 0, SIGNAL_SET_SIZE]) };
}

/// A file descriptor that can be read when a child has ended.
pub(crate) fn child_signals() -> Result<OwnedFd, Errno> {
    let mask: SignalSet = 1 << (kernel::SIGCHLD - 1);
    let mask = &raw const mask as usize;
    // By definition the values of SFD_CLOEXEC and SFD_NONBLOCK.
    let flags = (kernel::O_CLOEXEC | kernel::O_NONBLOCK) as usize;
    // SAFETY: `mask` is a signal set; -1 asks for a new file descriptor.
    let fd = unsafe { call(kernel::__NR_signalfd4, [usize::MAX, mask, SIGNAL_SET_SIZE, flags]) }?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// From now on children vanish when they end, without a word and without a wakeup.
pub(crate) fn forget_children() {
    // The handler is the first word of a kernel's `sigaction`, on every architecture; no flags, an
    // empty mask.
    const IGNORE: usize = 1;
    let action = [IGNORE, 0, 0, 0, 0, 0, 0, 0];
    let action = action.as_ptr() as usize;
    let signal = kernel::SIGCHLD as usize;
    // SAFETY: `action` is at least as large as a `sigaction`; the old one is not asked for.
    let _ = unsafe { call(kernel::__NR_rt_sigaction, [signal, action, 0, SIGNAL_SET_SIZE]) };
}

/// A clock of the kernel.
#[derive(Clone, Copy)]
pub(crate) enum Clock {
    /// Since the machine started, sleep included.
    Boot,
    /// Since 1970.
    Real,
}

/// Nanoseconds on `clock`.
pub(crate) fn now(clock: Clock) -> u64 {
    let clock = match clock {
        Clock::Boot => kernel::CLOCK_BOOTTIME,
        Clock::Real => kernel::CLOCK_REALTIME,
    };
    let mut time = [0_i64; 2];
    // SAFETY: `time` has the layout of a 64-bit `timespec`.
    let _ = unsafe { call(CLOCK_GETTIME, [clock as usize, time.as_mut_ptr() as usize]) };
    let [seconds, nanos] = time.map(|part| u64::try_from(part).unwrap_or_default());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(target_pointer_width = "64")]
const CLOCK_GETTIME: u32 = kernel::__NR_clock_gettime;
#[cfg(target_pointer_width = "32")]
const CLOCK_GETTIME: u32 = kernel::__NR_clock_gettime64;

/// What [`poll`] waits for on one file descriptor.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Waiting {
    fd: RawFd,
    events: u16,
    happened: u16,
}

impl Waiting {
    /// Waits for nothing.
    pub(crate) const NOTHING: Self = Self { fd: -1, events: 0, happened: 0 };

    /// Waits for `fd` to have something to read or to be closed by its peer.
    pub(crate) fn readable(fd: impl AsFd) -> Self {
        let events = kernel::POLLIN as u16;
        Self { fd: fd.as_fd().as_raw_fd(), events, happened: 0 }
    }

    /// Whether it has happened.
    pub(crate) fn ready(self) -> bool {
        self.happened != 0
    }
}

/// Waits until something of `list` has happened, for at most so many seconds, or for ever.
pub(crate) fn poll(list: &mut [Waiting], seconds: Option<u8>) {
    // Of this copy the kernel takes what has passed.
    let mut time = [seconds.map_or(0, i64::from), 0];
    let time = if seconds.is_some() { time.as_mut_ptr() as usize } else { 0 };
    // SAFETY: `Waiting` has the layout of a `pollfd`, `time` that of a 64-bit `timespec` which is
    // ours to be written to; no signal mask.
    let polled =
        unsafe { call(PPOLL, [list.as_mut_ptr() as usize, list.len(), time, 0, SIGNAL_SET_SIZE]) };
    if polled.is_err() {
        for waiting in list {
            waiting.happened = 0;
        }
    }
}

#[cfg(target_pointer_width = "64")]
const PPOLL: u32 = kernel::__NR_ppoll;
/// The call of that name has 32-bit times there, and a kernel need not have it
/// (`CONFIG_COMPAT_32BIT_TIME`): waiting would become a loop that never sleeps.
#[cfg(target_pointer_width = "32")]
const PPOLL: u32 = kernel::__NR_ppoll_time64;

/// Gives this thread new namespaces.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: callers pass only flags of namespaces, never `UnshareFlags::FILES`.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Brings the loopback device of this thread's network namespace up; the kernel then gives it its
/// addresses. `socket` is any socket of that namespace.
pub(crate) fn raise_loopback(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    const SIOCSIFFLAGS: usize = 0x8914;
    /// `struct ifreq`: a name of 16 bytes, here followed by flags (`IFF_UP`).
    #[repr(C, align(8))]
    struct Request([u8; 40]);
    let mut request = Request([0; 40]);
    request.0[..2].copy_from_slice(b"lo");
    request.0[16..18].copy_from_slice(&1_u16.to_ne_bytes());
    let request = &raw const request as usize;
    // SAFETY: `request` is an `ifreq`, which this call only reads.
    unsafe { call(kernel::__NR_ioctl, [raw(socket), SIOCSIFFLAGS, request]) }.map(drop)
}

/// Writes the whole content of one of the kernel's control files.
pub(crate) fn write_file(path: &CStr, content: &[u8]) -> Result<(), Errno> {
    let file = fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    io::write(&file, content).map(drop)
}
