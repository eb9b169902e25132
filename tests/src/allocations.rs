//! An allocator that counts, per thread.
//!
//! The one `unsafe` of this crate: the standard library lets a program watch its allocations only
//! through [`GlobalAlloc`]. Everything is passed on to the system's allocator unchanged.
//!
//! A test binary installs it with `#[global_allocator]`; in all others the counters stay at zero.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with counters beside it.
#[derive(Debug)]
pub struct Counting;

/// What one thread allocated while [`count`] watched it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Calls that gave out memory.
    pub allocations: u64,
    /// Bytes given out in all.
    pub bytes: u64,
    /// Most bytes held at one time, above what was held at the start.
    pub peak: u64,
}

#[derive(Clone, Copy, Default)]
struct Counters {
    allocations: u64,
    bytes: u64,
    held: i64,
    peak: i64,
}

thread_local! {
    static COUNTERS: Cell<Counters> = const {
        Cell::new(Counters { allocations: 0, bytes: 0, held: 0, peak: 0 })
    };
}

/// Runs `work` and counts what this thread allocated meanwhile.
pub fn count<R>(work: impl FnOnce() -> R) -> (R, Count) {
    let before = COUNTERS.get();
    COUNTERS.set(Counters { peak: before.held, ..before });
    let result = work();
    let after = COUNTERS.get();
    let peak = u64::try_from(after.peak - before.held).unwrap_or(0);
    let allocations = after.allocations - before.allocations;
    (result, Count { allocations, bytes: after.bytes - before.bytes, peak })
}

fn record(given: usize, taken: usize) {
    // A thread that is ending has no counters any more: what it frees then is not missed.
    let _ = COUNTERS.try_with(|cell| {
        let mut counters = cell.get();
        counters.allocations += u64::from(given > 0);
        counters.bytes += given as u64;
        // No allocation exceeds isize::MAX bytes (Layout guarantees it).
        counters.held += given.cast_signed() as i64 - taken.cast_signed() as i64;
        counters.peak = counters.peak.max(counters.held);
        cell.set(counters);
    });
}

// SAFETY: every call goes to `System` with the caller's own arguments; counting touches only a
// thread-local `Cell` that needs neither allocation nor destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        record(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        record(0, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        record(size, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`, which is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
