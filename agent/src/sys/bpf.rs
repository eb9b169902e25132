//! Small programs that decide for a cgroup which devices may be opened (`bpf(2)`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Commands of `bpf(2)`, and what ours is (`linux/bpf.h`).
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const CGROUP_DEVICE: u32 = 15;
const ATTACH_DEVICE: u32 = 6;
/// Beside what others attached: all of them must allow.
const ALLOW_MULTI: u32 = 2;

/// `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What is done.
    pub code: u8,
    /// Destination in the low half, source in the high one.
    pub registers: u8,
    /// Of a jump or a load.
    pub offset: i16,
    /// A constant.
    pub immediate: i32,
}

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` reads.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The part of `union bpf_attr` that `BPF_PROG_ATTACH` reads.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    program_fd: u32,
    kind: u32,
    flags: u32,
}

/// Loads a program that is asked whenever a process opens or makes a device node.
pub fn load_device_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let attributes = Load {
        prog_type: CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(io::Error::other)?,
        insns: address(program.as_ptr()),
        license: address(license.as_ptr()),
        ..Load::default()
    };
    let fd = bpf(PROG_LOAD, &attributes)?;
    // SAFETY: the kernel has just opened it for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches it to a cgroup (v2) for as long as that is there.
pub fn attach_device_program(cgroup: impl AsFd, program: impl AsFd) -> io::Result<()> {
    let number = |fd: RawFd| fd.cast_unsigned();
    let attributes = Attach {
        target_fd: number(cgroup.as_fd().as_raw_fd()),
        program_fd: number(program.as_fd().as_raw_fd()),
        kind: ATTACH_DEVICE,
        flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &attributes).map(drop)
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    // SAFETY: the attributes are a live structure of the size told, laid out as the kernel's, whose
    // pointers lead to live memory of the lengths told; the kernel reads all of it and writes none.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}
