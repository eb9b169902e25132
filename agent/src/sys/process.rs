//! The calling process: what it executes, which descriptors it was given, its namespaces.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::process::Signal;
use rustix::thread::{UnshareFlags, capabilities, set_capabilities};

/// Why a process is still what it was.
pub enum NotExecuted {
    /// It could not be confined.
    Confine(io::Error),
    /// The kernel did not execute the program.
    Execute(io::Error),
}

/// Replaces the process; returns only the reason why that was impossible. `confine` is called last,
/// and may take from the process whatever it needs but the call that executes.
///
/// Programs expect to be ended by a pipe that nobody reads: `std` ignores `SIGPIPE`, and what is
/// ignored stays so. Its handlers of faults must not be called where they can do nothing.
pub fn execute(
    path: &CStr,
    args: &[CString],
    env: &[CString],
    confine: impl FnOnce() -> io::Result<()>,
) -> NotExecuted {
    let args = pointers(args);
    let env = pointers(env);
    for signal in [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: no handler is installed, only the default restored.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    if let Err(error) = confine() {
        return NotExecuted::Confine(error);
    }
    // SAFETY: the path is a C string, both arrays end in a null pointer and point to C strings
    // that live until the call returns.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    NotExecuted::Execute(io::Error::last_os_error())
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// Which of two processes one is after [`fork_beside`].
pub enum Forked {
    /// The new one.
    Child,
    /// The old one; the new one has this id.
    Parent(i32),
}

/// Copies this process, which must have one thread; the copy is a child of this one's parent.
pub fn fork_beside() -> io::Result<Forked> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM the child has its own copy of everything, like after fork(2). With
    // one thread no lock is held by somebody who does not exist in the copy. A stack of 0 is the
    // caller's; the other arguments are not used with these flags.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => i32::try_from(pid).map(Forked::Parent).map_err(io::Error::other),
    }
}

/// Ends this process without anything that a program does at its end, also where a filter of system
/// calls does not let it: the C library would try for ever.
pub fn end(status: i32) -> ! {
    // SAFETY: ends the process, or does nothing.
    unsafe { libc::syscall(libc::SYS_exit_group, status) };
    fault()
}

/// Executes an instruction that there is not, by which the kernel ends the process (`SIGILL`).
fn fault() -> ! {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: defined to raise an exception, and nothing follows it.
    unsafe {
        std::arch::asm!("ud2", options(noreturn, nomem, nostack))
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: defined to raise an exception, and nothing follows it.
    unsafe {
        std::arch::asm!("udf #0", options(noreturn, nomem, nostack))
    }
}

/// Takes over a descriptor that this process was started with.
///
/// `None` if it is not open. To be called once per number, before anything else opens files.
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: asking for the flags of a descriptor changes nothing, open or not.
    let open = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
    // SAFETY: it is open, and by the contract above nobody else in this process owns it.
    open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// A signal by its number, real-time signals included.
pub fn signal(number: i32) -> Option<Signal> {
    /// The last signal. 32 and 33 are the C library's.
    const LAST: i32 = 64;
    let real_time = (34..=LAST).contains(&number);
    // SAFETY: not one of those that the C library reserves.
    let real_time = real_time.then(|| unsafe { Signal::from_raw_unchecked(number) });
    Signal::from_named_raw(number).or(real_time)
}

/// Gives the process a mount namespace of its own.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: only the mount namespace is left; the file descriptor table stays shared, so no
    // `BorrowedFd` of another thread loses its meaning.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    Ok(())
}

/// Makes files as another user and the group of the same number: what is made is theirs. Root's power
/// over the files of others stays.
pub fn as_owner<T>(id: u32, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let set = |id: u32| {
        // SAFETY: these take numbers and touch no memory of this process.
        unsafe {
            libc::setfsgid(id);
            libc::setfsuid(id);
        }
    };
    let powers = capabilities(None)?;
    set(id);
    // The kernel took what lets root pass by the modes of files, capabilities(7).
    let done = set_capabilities(None, powers).map_err(io::Error::from).and_then(|()| act());
    set(0);
    done
}
