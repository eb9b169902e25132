//! Work that is counted, not timed: the same on a loaded machine and on a slow one.
//!
//! | test | counts |
//! |---|---|
//! | `status::*` | bytes of statuses on the wire, allocations of encoding and reading them |
//! | `sizes::*` | bytes of the programs as they are shipped |
//! | `work::*` | system calls per pod start, instructions of deciding, wakeups of a node at rest |
//!
//! `tests/budget.toml` says what each may be. More than a tenth above it fails: either it can be
//! had for less, or the budget changes in the same commit, with the reason in its comment.

mod budget;
mod sizes;
mod status;
mod work;

use mote_tests::allocations::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
