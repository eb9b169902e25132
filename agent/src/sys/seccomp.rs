//! Installing a system call filter without giving up `setuid` programs.

use std::io;

use seccompiler::sock_filter;

/// Filters the system calls of this thread and of all that it will execute; `flags` are those of
/// `seccomp(2)`.
///
/// Unlike `seccompiler::apply_filter` it leaves `no_new_privs` as it is: without that flag the
/// caller must hold `CAP_SYS_ADMIN`.
pub fn install(filter: &[sock_filter], flags: u32) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len())
            .map_err(|_| io::Error::other("filter of more than 65535 instructions"))?,
        filter: filter.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel copies `len` instructions from the live slice and writes nothing;
    // `sock_filter` has the layout of the kernel's structure in both crates.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
