//! The attempts, by their names.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, chroot};

use crate::kernel::*;
use crate::spaces::{MOUNTS, NAMESPACES, NEW_MOUNTS};

/// `AT_FDCWD`.
pub const HERE: usize = -100_isize as usize;
const CHARACTER: usize = 0o020_000;
const BLOCK: usize = 0o060_000;
pub const SIGCHLD: usize = 17;
/// Where nothing is mapped.
const NOWHERE: usize = 8;

/// Makes an attempt; `None` if there is none of this name. `write:PATH` and `read:PATH` are about any
/// file, `device:PLACE:NUMBERS` makes a character device in a directory and opens it.
pub fn make(name: &str) -> Option<io::Result<()>> {
    if let Some(path) = name.strip_prefix("write:") {
        return Some(write(path));
    }
    if let Some(path) = name.strip_prefix("read:") {
        return Some(read(path));
    }
    if let Some(device) = name.strip_prefix("device:") {
        return Some(character_device(device));
    }
    let attempts = [FILES, PROCESSES, KERNEL, MOUNTS, NAMESPACES];
    let found = attempts.into_iter().flatten().find(|(other, _)| *other == name);
    found.map(|(_, attempt)| attempt())
}

pub type Attempts = &'static [(&'static str, fn() -> io::Result<()>)];

const FILES: Attempts = &[
    ("make-device", make_device),
    ("disk", disk),
    ("host-file", || File::open(mark()?).map(drop)),
    ("host-file-through-process-1", || File::open(format!("/proc/1/root{}", mark()?)).map(drop)),
    ("host-file-above", above),
    ("host-file-above-the-root", above_the_root),
    ("chroot-and-climb", chroot_and_climb),
    ("open-by-handle", open_by_handle),
    ("inherited-files", inherited_files),
];

const PROCESSES: Attempts = &[
    ("seize", || seize(target()?)),
    ("read-memory", || read_memory(target()?)),
    ("open-memory", || open_rw(&format!("/proc/{}/mem", target()?))),
    ("enter-root", || fs::read_dir(format!("/proc/{}/root/", target()?)).map(drop)),
    ("follow-file", || fs::read_link(format!("/proc/{}/fd/0", target()?)).map(drop)),
    ("open-program", || File::open(format!("/proc/{}/exe", target()?)).map(drop)),
    ("read-environment", || read(&format!("/proc/{}/environ", target()?))),
    ("take-file", take_file),
    ("score-of-oom", || fs::write("/proc/self/oom_score_adj", "-1000")),
];

const KERNEL: Attempts = &[
    // Neither is a module: what may load some is told that, and nothing is loaded.
    ("init-module", || done(INIT_MODULE, &[b"none".as_ptr().addr(), 4, c"".as_ptr().addr()])),
    ("finit-module", finit_module),
    ("delete-module", || done(DELETE_MODULE, &[c"no-such-module".as_ptr().addr(), 0])),
    ("kexec-load", || done(KEXEC_LOAD, &[0, 1000, NOWHERE, 0])),
    ("bpf", bpf),
    ("userfaultfd", || opened(USERFAULTFD, &[0])),
    ("keyctl", || done(KEYCTL, &[0, -3_isize as usize, 1])),
    ("add-key", add_key),
    ("request-key", request_key),
    ("io-uring", io_uring),
    ("perf-event", perf_event),
    // `SYSLOG_ACTION_READ_ALL`
    ("syslog", || done(SYSLOG, &[3, [0_u8; 64].as_mut_ptr().addr(), 64])),
    ("fanotify", || opened(FANOTIFY_INIT, &[0, 0])),
    // Without the magic numbers: refused as invalid by whoever would let it be.
    ("reboot", || done(REBOOT, &[0, 0, 0, 0])),
    ("acct", || done(ACCT, &[c"/no/such/file".as_ptr().addr()])),
    ("swapon", || done(SWAPON, &[c"/no/such/file".as_ptr().addr(), 0])),
    ("quotactl", || done(QUOTACTL, &[0x80_0002 << 8, c"/no/such/device".as_ptr().addr(), 0, 0])),
    ("set-host-name", || done(SETHOSTNAME, &[c"taken".as_ptr().addr(), 5])),
    ("set-time-of-day", || done(SETTIMEOFDAY, &[NOWHERE, 0])),
    ("set-clock", || done(CLOCK_SETTIME, &[0, NOWHERE])),
    ("adjust-clock", adjust_clock),
    // `ADDR_NO_RANDOMIZE`
    ("personality", || done(PERSONALITY, &[0x0004_0000])),
    ("raise-priority", || done(SETPRIORITY, &[0, 0, -20_isize as usize])),
    ("vhangup", || done(VHANGUP, &[])),
    ("vsock", || opened(SOCKET, &[40, 1, 0])),
    #[cfg(target_arch = "x86_64")]
    ("ports", || done(172, &[3])),
    #[cfg(target_arch = "x86_64")]
    ("32-bit-calls", other_architecture),
    #[cfg(target_arch = "x86_64")]
    // `unshare`, by its number for programs with short pointers.
    ("x32-calls", || done(0x4000_0000 | UNSHARE, &[NEW_MOUNTS])),
    // Above all that are known.
    ("future-call", || done(600, &[])),
    ("host-socket", host_socket),
];

fn told(name: &str) -> io::Result<String> {
    env::var(name).map_err(|_| io::Error::other(format!("no {name} in the environment")))
}

fn mark() -> io::Result<String> {
    told("MARK")
}

fn target() -> io::Result<usize> {
    told("TARGET")?.parse().map_err(io::Error::other)
}

/// Only opens: nothing is ever written.
fn write(path: &str) -> io::Result<()> {
    File::options().write(true).open(path).map(drop)
}

fn open_rw(path: &str) -> io::Result<()> {
    File::options().read(true).write(true).open(path).map(drop)
}

/// A file is read, a directory is listed; an empty one has nothing.
fn read(path: &str) -> io::Result<()> {
    // `O_NONBLOCK`: nobody waits for what is to come.
    let mut file = File::options().read(true).custom_flags(0o4000).open(path)?;
    let some = if file.metadata()?.is_dir() {
        fs::read_dir(path)?.next().is_some()
    } else {
        file.read(&mut [0; 8192])? > 0
    };
    if some { Ok(()) } else { Err(nothing()) }
}

fn node(path: &str, kind: usize, (major, minor): (usize, usize)) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let numbers = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
    done(MKNODAT, &[HERE, text(path).as_ptr().addr(), kind | 0o600, numbers])
}

/// The machine's memory, as a node only.
fn make_device() -> io::Result<()> {
    node("/tmp/memory", CHARACTER, (1, 1))?;
    fs::remove_file("/tmp/memory")
}

fn character_device(device: &str) -> io::Result<()> {
    let parts: Vec<_> = device.split(':').collect();
    let [place, major, minor] = parts.as_slice() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let number = |text: &str| text.parse::<usize>().map_err(io::Error::other);
    let path = format!("{place}/attempt");
    node(&path, CHARACTER, (number(major)?, number(minor)?))?;
    let opened = File::options().read(true).custom_flags(0o4000).open(&path).map(drop);
    fs::remove_file(&path)?;
    opened
}

/// The first disk of the machine, whatever it is.
fn disk() -> io::Result<()> {
    let partitions = fs::read_to_string("/proc/partitions")?;
    let numbers = partitions.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    });
    let path = "/dev/disk-of-the-host";
    node(path, BLOCK, numbers.ok_or_else(nothing)?)?;
    let opened = File::open(path).map(drop);
    fs::remove_file(path)?;
    opened
}

/// Up from the working directory, wherever that is.
fn above() -> io::Result<()> {
    File::open("../".repeat(20) + mark()?.trim_start_matches('/')).map(drop)
}

fn above_the_root() -> io::Result<()> {
    env::set_current_dir("/")?;
    above()
}

/// The old way out of `chroot`: a working directory that is above the new root.
fn chroot_and_climb() -> io::Result<()> {
    let _ = fs::create_dir("/tmp/cell");
    env::set_current_dir("/")?;
    chroot("/tmp/cell")?;
    for _ in 0..64 {
        env::set_current_dir("..")?;
    }
    chroot(".")?;
    File::open(mark()?).map(drop)
}

/// A file by its number instead of its name: the file system's root, on ext4.
fn open_by_handle() -> io::Result<()> {
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        inode: u32,
        generation: u32,
    }
    let handle = Handle { bytes: 8, kind: 1, inode: 2, generation: 0 };
    let file = File::open("/")?;
    let number = usize::try_from(file.as_raw_fd()).expect("a file's number");
    opened(OPEN_BY_HANDLE_AT, &[number, (&raw const handle).addr(), 0])
}

/// Whatever is open beside what every program has.
fn inherited_files() -> io::Result<()> {
    const F_GETFD: usize = 1;
    let open = (3..4096).find(|file| call(FCNTL, &[*file, F_GETFD]).is_ok());
    let Some(file) = open else { return Err(nothing()) };
    let name = fs::read_link(format!("/proc/self/fd/{file}"))?;
    // The report, if it goes to a file.
    if name.starts_with("/report") { Err(nothing()) } else { Ok(()) }
}

/// `PTRACE_SEIZE`: does not stop it, and ends with this process.
fn seize(process: usize) -> io::Result<()> {
    done(PTRACE, &[0x4206, process, 0, 0])
}

fn read_memory(process: usize) -> io::Result<()> {
    let mut byte = [0_u8];
    let own = [byte.as_mut_ptr().addr(), 1];
    let foreign = [NOWHERE, 1];
    done(PROCESS_VM_READV, &[process, own.as_ptr().addr(), 1, foreign.as_ptr().addr(), 1, 0])
}

fn take_file() -> io::Result<()> {
    let process = call(PIDFD_OPEN, &[target()?, 0])?;
    let taken = opened(PIDFD_GETFD, &[process, 0, 0]);
    close(process);
    taken
}

fn finit_module() -> io::Result<()> {
    let file = File::open("/proc/self/exe")?;
    let number = usize::try_from(file.as_raw_fd()).expect("a file's number");
    done(FINIT_MODULE, &[number, c"".as_ptr().addr(), 0])
}

/// `BPF_MAP_CREATE` of an array of one number.
fn bpf() -> io::Result<()> {
    let attributes: [u32; 32] = std::array::from_fn(|place| match place {
        0 => 2,
        1 | 2 => 4,
        3 => 1,
        _ => 0,
    });
    opened(BPF, &[0, attributes.as_ptr().addr(), 72])
}

/// A key in this process's own keyring (-2), which goes with it.
fn add_key() -> io::Result<()> {
    let (kind, name) = (c"user".as_ptr().addr(), c"attempt".as_ptr().addr());
    done(ADD_KEY, &[kind, name, b"x".as_ptr().addr(), 1, -2_isize as usize])
}

fn request_key() -> io::Result<()> {
    let (kind, name) = (c"user".as_ptr().addr(), c"attempt".as_ptr().addr());
    done(REQUEST_KEY, &[kind, name, 0, 0])
}

fn io_uring() -> io::Result<()> {
    let mut parameters = [0_u8; 120];
    opened(IO_URING_SETUP, &[1, parameters.as_mut_ptr().addr()])
}

/// A software clock, of the whole machine's first processor.
fn perf_event() -> io::Result<()> {
    let mut attributes = [0_u64; 16];
    // Type 1 is software, in 128 bytes.
    attributes[0] = 1 | 128 << 32;
    opened(
        PERF_EVENT_OPEN,
        &[attributes.as_ptr().addr(), -1_isize as usize, 0, -1_isize as usize, 0],
    )
}

/// To a length of ticks that no clock has (`ADJ_TICK`).
fn adjust_clock() -> io::Result<()> {
    let mut wanted = [0_u64; 32];
    wanted[0] = 0x4000;
    wanted[11] = 1;
    done(ADJTIMEX, &[wanted.as_mut_ptr().addr()])
}

/// A system call in the way of a 32-bit program, in a process of its own: it is killed for it.
#[cfg(target_arch = "x86_64")]
fn other_architecture() -> io::Result<()> {
    let child = call(CLONE, &[SIGCHLD])?;
    if child == 0 {
        let result: u32;
        // SAFETY: `getpid` by the old gate; it touches no memory.
        unsafe {
            std::arch::asm!("int 0x80", inout("eax") 20_u32 => result, options(nostack));
        }
        let status = usize::from(result.cast_signed() <= 0);
        let _ = call(EXIT_GROUP, &[status]);
    }
    match waited_for(child)? {
        0 => Ok(()),
        // `SIGSYS`, with or without a core.
        status if status & 0x7f == 31 => Err(io::Error::other("SIGSYS")),
        // Not built into this kernel: `SIGSEGV`, or no such call.
        _ => Err(io::Error::from_raw_os_error(38)),
    }
}

/// Where only those are found who are in the host's network.
fn host_socket() -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixStream};
    let address = SocketAddr::from_abstract_name(told("SOCKET")?)?;
    UnixStream::connect_addr(&address).map(drop)
}
