//! How much of the disk a directory takes, as `du` counts.
//!
//! The kernel could count for us only with project quotas, which file systems on boards do not have
//! (ext4 wants them when it is made), and btrfs and f2fs in ways of their own. That the whole file
//! system has not grown says nothing either: what somebody else removed hides what a pod wrote. So
//! trees are walked, one at a time, by a thread that everybody else is served before, and no further
//! than [`Bounds`].

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};

use super::walk::{Bounds, walk};
use super::{Counted, Measured};
use crate::sys::priority;

/// Trees walked at a time: a small board has one card, and that has one head.
pub(super) static WALKS: Semaphore = Semaphore::const_new(1);

/// Stack of the thread that walks: what it is in it keeps elsewhere.
const STACK: usize = 256 * 1024;

/// How long is waited for a walk that has begun. Longer than any takes: then one hangs, in a file
/// system that somebody mounted there. It keeps its turn until it ends: the next would hang as well,
/// and the one after it.
pub(super) const PATIENCE: Duration = Duration::from_mins(3);

/// Measures directories, together. One that is not there takes nothing.
pub async fn usage(directories: Vec<PathBuf>) -> Measured {
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    // Others may be before it, and take what they are given.
    let Ok(turn) = WALKS.acquire().await else {
        return Measured { counted: Counted::Part, ..Measured::default() };
    };
    let began = Instant::now();
    let walked = in_a_thread(directories, Arc::clone(&wanted.0), turn);
    // What cannot be measured takes what it took so far: nothing that is known.
    timeout(PATIENCE, walked).await.ok().flatten().unwrap_or_else(|| Measured {
        counted: Counted::Part,
        took: began.elapsed(),
        ..Measured::default()
    })
}

async fn in_a_thread(
    directories: Vec<PathBuf>,
    goes_on: Arc<AtomicBool>,
    turn: SemaphorePermit<'static>,
) -> Option<Measured> {
    let (answer, answered) = oneshot::channel();
    let work = move || {
        be_last();
        let wanted = || goes_on.load(Ordering::Relaxed);
        let measured = walk(&directories, &Bounds::default(), &wanted);
        drop(turn);
        let _ = answer.send(measured);
    };
    let spawned: io::Result<_> =
        thread::Builder::new().name("disk-usage".into()).stack_size(STACK).spawn(work);
    spawned.ok()?;
    answered.await.ok()
}

/// Lets everybody else have the processor and the disk first. Where the kernel refuses, the walk is
/// as urgent as anything.
fn be_last() {
    const NICEST: i32 = 19;
    // Of a thread, on Linux.
    let _ = rustix::process::setpriority_process(None, NICEST);
    let _ = priority::set_idle_io();
}

/// Somebody waits for the answer. The walk ends soon after nobody does.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
