//! How a process competes for the disk.

use std::io;

/// Takes this thread's reads and writes last, when nobody else wants the disk (ioprio class idle).
///
/// Schedulers without classes ignore it.
pub fn set_idle_io() -> io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_IDLE: libc::c_int = 3;
    const CLASS_SHIFT: libc::c_int = 13;
    // SAFETY: ioprio_set takes three integers and touches no memory of ours; 0 is the caller.
    let result =
        unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE << CLASS_SHIFT) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
