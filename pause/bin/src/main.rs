//! `mote-pause`: the one process a pod costs.
//!
//! It holds the pod's namespaces, is the parent of its containers, records how they ended and
//! turns their output into log files. It neither knows what a pod is nor decides anything: an
//! agent tells it what to do in the language of [`mote_pause::wire`], and may die and be replaced
//! meanwhile. It sleeps until something happens.
//!
//! Without standard library, C library and heap it is a few pages large; every buffer and table
//! has a fixed size. What can be decided without the kernel is in the library, with its tests.
#![no_std]
#![no_main]

mod clients;
mod exits;
mod fault;
mod launch;
mod logs;
mod namespaces;
mod pause;
mod start;
mod sys;

use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;

use mote_pause::wire::MAX_MESSAGE;

use crate::start::{Tables, start};

/// Exit status if the start failed, and if a panic, which is a bug, ended it (`EX_SOFTWARE`).
const FAILED: i32 = 1;
const PANICKED: i32 = 70;

static mut TABLES: Tables = Tables::EMPTY;
static mut BUFFER: [u8; MAX_MESSAGE] = [0; MAX_MESSAGE];

/// The first Rust code: `stack` is what the kernel left there, argc and the arguments.
extern "C" fn begin(stack: *const usize) -> ! {
    let (tables, buffer) = (&raw mut TABLES, &raw mut BUFFER);
    // SAFETY: called once, by the only thread: nobody else ever names the two statics.
    let (tables, buffer) = unsafe { (&mut *tables, &mut *buffer) };
    // SAFETY: the kernel puts argc here, and behind it as many pointers to C strings that live as
    // long as the process.
    let args = unsafe { core::slice::from_raw_parts(stack.add(1).cast(), stack.read()) };
    // SAFETY: as above.
    let args = args.iter().map(|arg: &*const c_char| unsafe { CStr::from_ptr(*arg) });
    match start(args, tables) {
        Some(mut pause) => pause.serve(buffer),
        None => sys::exit(FAILED),
    }
    sys::exit(0)
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    sys::exit(PANICKED)
}
