//! System calls, by their numbers.

use std::ffi::{CString, c_long};
use std::io;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Makes a call with up to six arguments; numbers and pointers.
pub fn call(number: c_long, arguments: &[usize]) -> io::Result<usize> {
    let word = |place: usize| arguments.get(place).copied().unwrap_or(0);
    // SAFETY: every caller passes numbers, or pointers to what lives until the call returns and is
    // as large as the kernel expects.
    let result = unsafe { syscall(number, word(0), word(1), word(2), word(3), word(4), word(5)) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

pub fn done(number: c_long, arguments: &[usize]) -> io::Result<()> {
    call(number, arguments).map(drop)
}

/// Makes a call that opens a file, and closes it.
pub fn opened(number: c_long, arguments: &[usize]) -> io::Result<()> {
    close(call(number, arguments)?);
    Ok(())
}

pub fn close(file: usize) {
    drop(owned(file));
}

pub fn owned(file: usize) -> std::os::fd::OwnedFd {
    let file = i32::try_from(file).expect("a file's number");
    // SAFETY: the kernel has just opened it for us, and nobody else knows of it.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(file) }
}

pub fn waited_for(child: usize) -> io::Result<u32> {
    let mut status = 0_u32;
    call(WAIT4, &[child, (&raw mut status).addr(), 0, 0])?;
    Ok(status)
}

/// A path or a name as the kernel wants it.
pub fn text(text: &str) -> CString {
    CString::new(text).expect("no text here has a NUL")
}

/// How the kernel calls an error.
pub fn name_of(error: &io::Error) -> String {
    let name = match error.raw_os_error() {
        Some(1) => "EPERM",
        Some(2) => "ENOENT",
        Some(3) => "ESRCH",
        Some(6) => "ENXIO",
        Some(8) => "ENOEXEC",
        Some(9) => "EBADF",
        Some(11) => "EAGAIN",
        Some(13) => "EACCES",
        Some(14) => "EFAULT",
        Some(15) => "ENOTBLK",
        Some(16) => "EBUSY",
        Some(18) => "EXDEV",
        Some(19) => "ENODEV",
        Some(20) => "ENOTDIR",
        Some(22) => "EINVAL",
        Some(26) => "ETXTBSY",
        Some(30) => "EROFS",
        Some(38) => "ENOSYS",
        Some(40) => "ELOOP",
        Some(95) => "EOPNOTSUPP",
        Some(97) => "EAFNOSUPPORT",
        Some(101) => "ENETUNREACH",
        Some(111) => "ECONNREFUSED",
        Some(116) => "ESTALE",
        Some(other) => return format!("errno-{other}"),
        None if error.kind() == io::ErrorKind::NotFound => "nothing",
        None => return error.to_string().replace(' ', "-"),
    };
    name.into()
}

/// There was nothing to be had.
pub fn nothing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

macro_rules! numbers {
    ($($name:ident $x86_64:literal $aarch64:literal)*) => {$(
        #[cfg(target_arch = "x86_64")]
        pub const $name: c_long = $x86_64;
        #[cfg(target_arch = "aarch64")]
        pub const $name: c_long = $aarch64;
    )*};
}

#[rustfmt::skip]
numbers! {
    ACCT 163 89                 ADD_KEY 248 217             ADJTIMEX 159 171
    BIND 49 200                 BPF 321 280                 CLOCK_SETTIME 227 112
    CLONE 56 220                CLONE3 435 435              DELETE_MODULE 176 106
    EXIT_GROUP 231 94           FANOTIFY_INIT 300 262       FCNTL 72 25
    FINIT_MODULE 313 273        FSOPEN 430 430              INIT_MODULE 175 105
    IO_URING_SETUP 425 425      KEXEC_LOAD 246 104          KEYCTL 250 219
    MKNODAT 259 33              MOUNT 165 40                MOUNT_SETATTR 442 442
    MOVE_MOUNT 429 429          OPEN_BY_HANDLE_AT 304 265   OPEN_TREE 428 428
    PERF_EVENT_OPEN 298 241     PERSONALITY 135 92          PIDFD_GETFD 438 438
    PIDFD_OPEN 434 434          PIVOT_ROOT 155 41           PROCESS_VM_READV 310 270
    PTRACE 101 117              QUOTACTL 179 60             REBOOT 169 142
    RECVFROM 45 207             RENAMEAT2 316 276           REQUEST_KEY 249 218
    SENDTO 44 206               SETHOSTNAME 170 161         SETNS 308 268
    SETPRIORITY 141 140         SETSOCKOPT 54 208           SETTIMEOFDAY 164 170
    SOCKET 41 198               SWAPON 167 224              SYSLOG 103 116
    TRUNCATE 76 45              UMOUNT2 166 39              UNSHARE 272 97
    USERFAULTFD 323 282         VHANGUP 153 58              WAIT4 61 260
}
