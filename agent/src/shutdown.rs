//! PURE: how the machine goes down, as its operator decided: `[shutdown]`.

use std::path::PathBuf;
use std::time::Duration;

/// Longest time for pods to end: the unit that waits for them gives a minute more.
pub const MAX_GRACE_S: u64 = 600;

/// Seconds for all pods, unless the configuration says otherwise: those that are not critical get
/// Kubernetes' 30.
pub const GRACE_S: u64 = 40;

/// The same of critical ones.
pub const CRITICAL_S: u64 = 10;

/// What an operator decided of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Operators may reboot the machine over the broker.
    pub reboot: bool,
    /// What is run for that; systemd is asked, or the kernel where there is none, unless it is set.
    pub program: Option<PathBuf>,
    /// How long pods may take to end that are not critical (the kubelet's `shutdownGracePeriod` without
    /// what is kept for the others).
    pub regular: Duration,
    /// How long critical ones may take after them (`shutdownGracePeriodCriticalPods`).
    pub critical: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new(false, None, GRACE_S, CRITICAL_S)
    }
}

impl Shutdown {
    /// What an operator wrote, in seconds; the second time is a part of the first.
    pub const fn new(
        reboot: bool,
        program: Option<PathBuf>,
        grace_s: u64,
        critical_s: u64,
    ) -> Self {
        let regular = Duration::from_secs(grace_s.saturating_sub(critical_s));
        Self { reboot, program, regular, critical: Duration::from_secs(critical_s) }
    }
}
