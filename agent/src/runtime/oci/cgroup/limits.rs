//! What to write into which cgroup file. PURE.
//!
//! One curve turns CPU shares into the weight of cgroup v2, for pods and for containers, so that
//! their ratios hold on every level. It is the curve of current OCI runtimes: 1024 shares are
//! weight 100, which is what every service of the machine has, too.

use super::detect::Controller;
use crate::runtime::Limits;

/// Length of the period that quotas refer to, in microseconds.
const PERIOD_US: u64 = 100_000;

/// Smallest quota that the kernel takes, in microseconds.
const MIN_QUOTA_US: u64 = 1000;

/// Smallest and greatest CPU shares.
const SHARES: (u64, u64) = (2, 262_144);

/// Which node of the tree is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// All pods. Where its memory runs out one process is killed, or one container, and not everybody.
    Node,
    /// A pod: the sum of its containers, and `mote-pause`.
    Pod,
    /// One container.
    Container,
}

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Belongs to this controller; without it there is no such file.
    pub(super) controller: Controller,
    /// Name in the cgroup's directory.
    pub(super) file: &'static str,
    /// Text to write.
    pub(super) value: String,
    /// The kernel may be built without it.
    pub(super) optional: bool,
}

impl Setting {
    fn required(controller: Controller, file: &'static str, value: &impl ToString) -> Self {
        Self { controller, file, value: value.to_string(), optional: false }
    }

    fn optional(controller: Controller, file: &'static str, value: &impl ToString) -> Self {
        Self { controller, file, value: value.to_string(), optional: true }
    }
}

/// CPU shares of v1 (2..=262144) as the weight of v2 (1..=10000).
pub fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(SHARES.0, SHARES.1);
    if shares == SHARES.1 {
        return 10_000;
    }
    #[allow(clippy::cast_precision_loss, reason = "at most 18 bits")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the curve stays within 1..=10000"
    )]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight.clamp(1, 10_000)
}

/// The settings of a node on cgroup v2, in the order in which to write them.
pub(super) fn v2(limits: &Limits, level: Level) -> Vec<Setting> {
    use Controller::{Cpu, Memory, Pids};
    let mut settings = Vec::with_capacity(6);
    if let Some(shares) = limits.cpu_shares {
        settings.push(Setting::required(Cpu, "cpu.weight", &weight(shares)));
    }
    if let Some(quota) = limits.cpu_quota_us {
        let quota = quota.max(MIN_QUOTA_US);
        settings.push(Setting::required(Cpu, "cpu.max", &format_args!("{quota} {PERIOD_US}")));
    }
    if level != Level::Pod {
        // An older agent may have set it for all pods.
        let together = u8::from(level == Level::Container);
        settings.push(Setting::optional(Memory, "memory.oom.group", &together));
        settings.push(Setting::optional(Memory, "memory.swap.max", &0));
    }
    if let Some(bytes) = limits.memory_bytes {
        settings.push(Setting::required(Memory, "memory.max", &bytes));
    }
    if let Some(pids) = limits.pids {
        settings.push(Setting::required(Pids, "pids.max", &pids));
    }
    settings
}

/// The settings of a node on cgroup v1, in the order in which to write them.
pub(super) fn v1(limits: &Limits, level: Level) -> Vec<Setting> {
    use Controller::{Cpu, Memory, Pids};
    let mut settings = Vec::with_capacity(6);
    if let Some(shares) = limits.cpu_shares {
        settings.push(Setting::required(Cpu, "cpu.shares", &shares.clamp(SHARES.0, SHARES.1)));
    }
    if let Some(quota) = limits.cpu_quota_us {
        settings.push(Setting::required(Cpu, "cpu.cfs_period_us", &PERIOD_US));
        settings.push(Setting::required(Cpu, "cpu.cfs_quota_us", &quota.max(MIN_QUOTA_US)));
    }
    if let Some(bytes) = limits.memory_bytes {
        settings.push(Setting::required(Memory, "memory.limit_in_bytes", &bytes));
        if level != Level::Pod {
            // Memory and swap together: no swap on top of the limit.
            settings.push(Setting::optional(Memory, "memory.memsw.limit_in_bytes", &bytes));
        }
    }
    if let Some(pids) = limits.pids {
        settings.push(Setting::required(Pids, "pids.max", &pids));
    }
    settings
}

/// The count of `oom_kill` in `memory.events` (v2) or `memory.oom_control` (v1).
pub(super) fn oom_kills(text: &str) -> u64 {
    let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse().ok();
    text.lines().find_map(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(settings: &[Setting]) -> Vec<(&str, &str)> {
        settings.iter().map(|setting| (setting.file, setting.value.as_str())).collect()
    }

    #[test]
    fn weight_follows_the_curve_of_oci_runtimes() {
        let expected = [(0, 1), (2, 1), (10, 4), (512, 59), (1024, 100), (2048, 174)];
        for (shares, weight_expected) in expected {
            assert_eq!(weight(shares), weight_expected, "{shares} shares");
        }
        assert_eq!(weight(262_144), 10_000);
        assert_eq!(weight(u64::MAX), 10_000);
        assert!((2..262_144).step_by(997).all(|shares| weight(shares) <= weight(shares + 1)));
    }

    #[test]
    fn nothing_asked_is_nothing_limited() {
        assert!(v1(&Limits::default(), Level::Pod).is_empty());
        assert!(v2(&Limits::default(), Level::Pod).is_empty());
    }

    #[test]
    fn container_limits_on_both_versions() {
        let limits = Limits {
            cpu_shares: Some(1),
            cpu_quota_us: Some(10),
            memory_bytes: Some(1 << 20),
            pids: Some(7),
        };
        let expected = [
            ("cpu.weight", "1"),
            ("cpu.max", "1000 100000"),
            ("memory.oom.group", "1"),
            ("memory.swap.max", "0"),
            ("memory.max", "1048576"),
            ("pids.max", "7"),
        ];
        assert_eq!(text(&v2(&limits, Level::Container)), expected);
        assert!(text(&v2(&limits, Level::Node)).contains(&("memory.oom.group", "0")));
        let expected = [
            ("cpu.shares", "2"),
            ("cpu.cfs_period_us", "100000"),
            ("cpu.cfs_quota_us", "1000"),
            ("memory.limit_in_bytes", "1048576"),
            ("memory.memsw.limit_in_bytes", "1048576"),
            ("pids.max", "7"),
        ];
        assert_eq!(text(&v1(&limits, Level::Container)), expected);
    }

    #[test]
    fn oom_kills_are_counted_on_both_versions() {
        let events = "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(oom_kills(events), 2);
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\n"), 0);
    }
}
