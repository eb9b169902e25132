//! Makes the pull process less important and less able than the agent that started it.
//!
//! Nothing here may fail a pull: an old kernel or a container without some right is no reason to
//! run no image. What must hold in any case, that nothing is written outside a layer, does not rest
//! on this.

use std::fs;

use rustix::fs::Mode;
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::fence;
use super::frame::Request;
use crate::sys::priority;

/// Added to the niceness: pods go first.
const NICE: i32 = 10;
/// If memory runs out, a pull is the cheapest thing to repeat.
const OOM_SCORE_ADJ: &str = "500";

/// What unpacking layers needs: any owner, any mode, devices, file capabilities, and the
/// `trusted` attributes of overlayfs.
const NEEDED: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SYS_ADMIN);

/// Ends this process when its parent ends. False if that has happened already.
pub(super) fn die_with(parent: u32) -> bool {
    let armed = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    let now = rustix::process::getppid().map(|pid| pid.as_raw_pid().cast_unsigned());
    !armed || now == Some(parent)
}

/// Lowers priorities and gives up rights.
pub(super) fn confine(request: &Request) {
    if let Some(cgroup) = &request.cgroup {
        let _ = fs::write(cgroup.join("cgroup.procs"), "0");
    }
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
    let _ = rustix::process::nice(NICE);
    let _ = priority::set_idle_io();
    // Modes of files are set one by one.
    rustix::process::umask(Mode::empty());
    let _ = drop_rights();
    // Last: what is done before it needs other files.
    let _ = fence::enforce(&fence::rules(request), fence::talks(request));
}

fn drop_rights() -> rustix::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    let now = rustix::thread::capabilities(None)?;
    for capability in CapabilitySet::all().iter().filter(|one| !NEEDED.contains(*one)) {
        // The kernel may not know the newest ones.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    let kept = now.permitted.intersection(NEEDED);
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
}
