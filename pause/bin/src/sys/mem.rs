//! The memory functions that compiled code calls and the C library would have brought.
//!
//! Byte by byte: nothing long is ever copied here, output goes from pipe to file without a copy.
//! The empty `asm!` keeps the compiler from recognising each loop as a call of itself.

use core::arch::asm;

/// Ends an iteration in a way the optimiser cannot see through.
#[inline(always)]
fn opaque() {
    // SAFETY: no instruction.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

// SAFETY: callers keep to C's contract for `memcpy`; so does the body. The name is ours to give,
// no other library is linked.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    for at in 0..len {
        // SAFETY: both ranges are `len` bytes long.
        unsafe { to.add(at).write(from.add(at).read()) };
        opaque();
    }
    to
}

// SAFETY: as above, for `memmove`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if to.cast_const() <= from {
        // SAFETY: copying upwards, what is overwritten has been read.
        return unsafe { memcpy(to, from, len) };
    }
    for at in (0..len).rev() {
        // SAFETY: both ranges are `len` bytes long; copying downwards, what is overwritten has
        // been read.
        unsafe { to.add(at).write(from.add(at).read()) };
        opaque();
    }
    to
}

// SAFETY: as above, for `memset`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    for at in 0..len {
        // SAFETY: the range is `len` bytes long.
        unsafe { to.add(at).write(byte.to_le_bytes()[0]) };
        opaque();
    }
    to
}

// SAFETY: as above, for `memcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    for at in 0..len {
        // SAFETY: both ranges are `len` bytes long.
        let (left, right) = unsafe { (left.add(at).read(), right.add(at).read()) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
        opaque();
    }
    0
}

// SAFETY: as above, for `bcmp`, which asks less than `memcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(left, right, len) }
}

// SAFETY: as above, for `strlen`.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut len = 0;
    // SAFETY: the text ends with a NUL, and no byte behind it is read.
    while unsafe { text.add(len).read() } != 0 {
        len += 1;
        opaque();
    }
    len
}
