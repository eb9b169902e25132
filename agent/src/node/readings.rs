//! What the machine measures of itself, read when somebody asks: nothing runs in between.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use crate::eviction::{Level, Levels, Signal};
use crate::pod::contents::names::{Cluster, NodeFiles};
use crate::usage::NodeSample;
use rustix::fs::StatVfs;
use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, System};

/// One reading. Amounts that could not be read are unknown, and say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Memory that programs can have without swapping, and all, in KiB.
    pub memory_kib: Option<Amount>,
    /// The same for all pods together, of what they may have.
    pub pods_memory_kib: Option<Amount>,
    /// Disk under the state directory, in KiB.
    pub disk_kib: Option<Amount>,
    /// Inodes there.
    pub inodes: Option<Amount>,
    /// Process ids.
    pub pids: Option<Amount>,
}

impl Reading {
    /// What of it is watched.
    pub fn levels(&self) -> Levels {
        let units = |amount: Amount| Level { available: amount.free, capacity: amount.total };
        let kib = |amount: Amount| Level {
            available: amount.free.saturating_mul(1024),
            capacity: amount.total.saturating_mul(1024),
        };
        Levels::default()
            .with(Signal::MemoryAvailable, self.memory_kib.map(kib))
            .with(Signal::AllocatableMemoryAvailable, self.pods_memory_kib.map(kib))
            .with(Signal::NodefsAvailable, self.disk_kib.map(kib))
            .with(Signal::NodefsInodesFree, self.inodes.map(units))
            .with(Signal::PidAvailable, self.pids.map(units))
    }
}

/// What is there, and what of it is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Free for us.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// Where readings come from.
pub struct Instruments {
    system: Option<System>,
    state_dir: PathBuf,
}

impl Instruments {
    /// For the machine we run on.
    pub fn new(state_dir: &Path) -> Self {
        Self { system: System::new().ok(), state_dir: state_dir.to_owned() }
    }

    /// Reads everything that changes.
    pub fn read(&mut self) -> Reading {
        let (disk_kib, inodes) = disk(&self.state_dir);
        let memory_kib = self.memory();
        Reading { memory_kib, pods_memory_kib: None, disk_kib, inodes, pids: pids() }
    }

    /// CPUs that are there.
    pub fn cpus(&mut self) -> u32 {
        let Some(system) = &mut self.system else { return 1 };
        system.refresh_cpu_list(CpuRefreshKind::nothing());
        u32::try_from(system.cpus().len()).unwrap_or(u32::MAX).max(1)
    }

    fn memory(&mut self) -> Option<Amount> {
        let system = self.system.as_mut()?;
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let total = system.total_memory() / 1024;
        (total > 0).then(|| Amount { free: system.available_memory() / 1024, total })
    }
}

/// Bytes and inodes, for programs that are not root's: the reserve is not ours to fill.
fn disk(path: &Path) -> (Option<Amount>, Option<Amount>) {
    let Ok(found) = rustix::fs::statvfs(path) else { return (None, None) };
    let (kib, inodes) = amounts(&found);
    (Some(kib), inodes)
}

/// KiB and inodes of a file system, the latter where it has a fixed number of them.
pub(crate) fn amounts(found: &StatVfs) -> (Amount, Option<Amount>) {
    let kib = |blocks: u64| blocks.saturating_mul(found.f_frsize) / 1024;
    let bytes = Amount { free: kib(found.f_bavail), total: kib(found.f_blocks) };
    // Some file systems (btrfs) have no fixed number of inodes and say 0.
    let inodes = Amount { free: found.f_favail, total: found.f_files };
    (bytes, (inodes.total > 0).then_some(inodes))
}

/// Processes and threads against the lower of the two bounds on them.
fn pids() -> Option<Amount> {
    let loadavg = small_file("/proc/loadavg").ok()?;
    let used = loadavg.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    let bounds = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    let total =
        bounds.iter().filter_map(|path| small_file(path).ok()?.trim().parse().ok()).min()?;
    Some(Amount { free: u64::saturating_sub(total, used), total })
}

/// What the whole node uses now: a few small files, for who asks.
pub fn used(state_dir: &Path) -> NodeSample {
    let (disk, _) = disk(state_dir);
    let bytes = |kib: u64| kib.saturating_mul(1024);
    NodeSample {
        cpu_us: small_file("/proc/stat").ok().and_then(|text| worked_us(&text)),
        memory: small_file("/proc/meminfo").ok().and_then(|text| working_set(&text)),
        disk: disk.map(|disk| bytes(disk.total.saturating_sub(disk.free))),
        disk_size: disk.map(|disk| bytes(disk.total)),
        pids: pids().map(|pids| pids.total.saturating_sub(pids.free)),
    }
}

/// Time that all CPUs worked, of `proc_stat(5)`: for users, nice ones, the kernel, interrupts of both
/// kinds. Time in guests is users' already, and what a hypervisor took was no work of ours.
fn worked_us(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else { return None };
    // A hundredth of a second each, on every architecture that Linux has in common with us.
    let sum = [user, nice, system, irq, softirq].into_iter().try_fold(0_u64, u64::checked_add)?;
    sum.checked_mul(10_000)
}

/// Bytes that are neither free nor inactive pages of files, of `proc_meminfo(5)`: cAdvisor's working set
/// of the root cgroup, which v2 does not count.
fn working_set(meminfo: &str) -> Option<u64> {
    let kib = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let used = kib("MemTotal")?.saturating_sub(kib("MemFree")?);
    Some(used.saturating_sub(kib("Inactive(file)")?).saturating_mul(1024))
}

fn small_file(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(4096).read_to_string(&mut text)?;
    Ok(text)
}

/// The addresses that packets to the world come from: those of the default routes' interfaces.
///
/// Connecting a datagram socket sends nothing; it makes the kernel choose route and source. The
/// destinations are reserved for documentation (RFC 5737, RFC 3849), so no route of its own leads
/// there.
pub fn addresses() -> Vec<IpAddr> {
    let towards = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let source = |(local, remote): (&str, &str)| {
        let socket = UdpSocket::bind(local)?;
        socket.connect(remote)?;
        socket.local_addr()
    };
    let found = towards.into_iter().filter_map(|pair| source(pair).ok());
    found
        .map(|address| address.ip())
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
        .collect()
}

/// Longest file about names that is read: longer ones are lists of what is not to be found.
const MAX_NAMES: u64 = 64 * 1024;

/// Whom systemd's resolver asks, where the node asks that one.
const BEYOND: &str = "/run/systemd/resolve/resolv.conf";

/// Where the node's own programs find names. What is not there says nothing.
#[derive(Clone, Debug)]
pub struct NameFiles {
    /// Whom they ask.
    pub resolv_conf: PathBuf,
    /// Who answers for services and pods.
    pub cluster: Option<Cluster>,
}

impl NameFiles {
    /// Reads them.
    pub fn read(&self) -> NodeFiles {
        let read = |path: &Path| {
            let mut text = Vec::new();
            let file = File::open(path).map(|file| file.take(MAX_NAMES));
            // What of it could be read counts.
            let _ = file.and_then(|mut file| file.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        };
        NodeFiles {
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            hosts: read(Path::new("/etc/hosts")),
            resolver: read(&self.resolv_conf),
            beyond: read(Path::new(BEYOND)),
            cluster: self.cluster.clone(),
        }
    }

    /// Those that say whom to ask.
    pub fn paths(&self) -> [&Path; 2] {
        [&self.resolv_conf, Path::new(BEYOND)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut instruments = Instruments::new(directory.path());
        let reading = instruments.read();
        let memory = reading.memory_kib.expect("memory");
        assert!(memory.total > 32 * 1024 && memory.free <= memory.total, "{memory:?}");
        let disk = reading.disk_kib.expect("disk");
        assert!(disk.total > 0 && disk.free <= disk.total, "{disk:?}");
        let pids = reading.pids.expect("pids");
        assert!(pids.free > 0 && pids.free < pids.total, "{pids:?}");
        assert!(instruments.cpus() >= 1);
    }

    #[test]
    fn use_of_the_whole_node_is_what_works_and_what_does_not_come_back_by_itself() {
        let stat = "cpu  100 20 30 4000 500 6 7 99 50 0\ncpu0 1 1 1\n";
        assert_eq!(worked_us(stat), Some(1_630_000));
        assert_eq!((worked_us("cpu 1 2 3\n"), worked_us("intr 1\n")), (None, None));
        let meminfo =
            "MemTotal:  1000 kB\nMemFree:   300 kB\nInactive:  150 kB\nInactive(file):  100 kB\n";
        assert_eq!(working_set(meminfo), Some(600 * 1024));
        assert_eq!(working_set("MemTotal: 1000 kB\n"), None);
        let directory = tempfile::tempdir().expect("temporary directory");
        let used = used(directory.path());
        assert!(used.cpu_us.is_some_and(|us| us > 0), "{used:?}");
        assert!(used.memory.is_some_and(|bytes| bytes > 1 << 20), "{used:?}");
        assert!(used.disk <= used.disk_size && used.pids.is_some_and(|pids| pids > 0), "{used:?}");
    }

    #[test]
    fn addresses_are_ones_that_others_can_use() {
        assert!(addresses().iter().all(|ip| !ip.is_loopback() && !ip.is_unspecified()));
    }
}
