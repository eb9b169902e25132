//! The one instruction that leaves the process, and the few that enter it.

use core::arch::{asm, naked_asm};

/// Where the kernel begins: passes the address of argc, argv and environment on.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {}", sym crate::begin);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x29, xzr", "mov x30, xzr", "mov x0, sp", "bl {}", sym crate::begin);
    #[cfg(target_arch = "arm")]
    naked_asm!("mov fp, #0", "mov lr, #0", "mov r0, sp", "bl {}", sym crate::begin);
}

/// Calls the kernel.
///
/// # Safety
///
/// As for the system call `number` with these arguments.
#[inline(always)]
pub(super) unsafe fn syscall(number: u32, args: [usize; 6]) -> isize {
    let [a0, a1, a2, a3, a4, a5] = args;
    let result;
    // SAFETY: the instruction and registers of the kernel's x86-64 convention; it preserves all
    // others.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a0, in("rsi") a1, in("rdx") a2,
            in("r10") a3, in("r8") a4, in("r9") a5, lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    // SAFETY: the instruction and registers of the kernel's AArch64 convention.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a0 => result, in("x1") a1, in("x2") a2,
            in("x3") a3, in("x4") a4, in("x5") a5, options(nostack));
    }
    // SAFETY: the instruction and registers of the kernel's EABI convention; r7 cannot be named
    // as an operand (it is a frame pointer in Thumb code) and is put back.
    #[cfg(target_arch = "arm")]
    unsafe {
        asm!("mov {keep}, r7", "mov r7, {number}", "svc 0", "mov r7, {keep}",
            keep = out(reg) _, number = in(reg) number, inlateout("r0") a0 => result,
            in("r1") a1, in("r2") a2, in("r3") a3, in("r4") a4, in("r5") a5, options(nostack));
    }
    result
}
