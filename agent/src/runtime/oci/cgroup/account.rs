//! What the kernel counts of a group, and what is done when its memory comes to a bound.

use std::fs;
use std::path::PathBuf;

use super::group::{Group, write};
use super::{CgroupError, limits, usage};
use crate::runtime::Usage;

/// Memory that a group uses, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Without the pages of files that nobody used lately, as the kubelet counts.
    pub used: u64,
    /// What of that the kernel could take back all the same: other pages of files, and some of its own. Only
    /// v2 tells.
    pub droppable: u64,
}

impl Group {
    /// How many of its processes the kernel's OOM killer ended; 0 where it does not count.
    pub fn oom_kills(&self) -> u64 {
        let file = if self.hierarchies.is_v2() {
            self.hierarchies.unified().map(|hierarchy| (hierarchy, "memory.events"))
        } else {
            self.hierarchies.v1("memory").map(|hierarchy| (hierarchy, "memory.oom_control"))
        };
        let path = file.map(|(hierarchy, name)| hierarchy.mount.join(&self.path).join(name));
        let text = path.and_then(|path| fs::read_to_string(path).ok());
        limits::oom_kills(&text.unwrap_or_default())
    }

    /// What is used in it and below.
    pub fn usage(&self) -> Usage {
        let number = |controller, v2, v1| usage::number(&self.read(controller, v2, v1)?);
        let cpu_us = if self.hierarchies.is_v2() {
            self.read("cpu", "cpu.stat", "").and_then(|text| usage::field(&text, "usage_usec"))
        } else {
            number("cpuacct", "", "cpuacct.usage").map(|nanoseconds| nanoseconds / 1000)
        };
        Usage {
            memory: self.memory().map(|memory| memory.used),
            pids: number("pids", "pids.current", "pids.current"),
            cpu_us,
        }
    }

    /// Memory that is used in it and below.
    pub fn memory(&self) -> Option<Memory> {
        let all = self.read("memory", "memory.current", "memory.usage_in_bytes")?;
        let stat = self.read("memory", "memory.stat", "memory.stat").unwrap_or_default();
        let idle = usage::inactive_file(&stat, self.hierarchies.is_v2());
        let used = usage::number(&all)?.saturating_sub(idle);
        Some(Memory { used, droppable: usage::droppable(&stat) })
    }

    /// How much memory it may have; none where it is not bounded.
    pub fn memory_limit(&self) -> Option<u64> {
        let text = self.read("memory", "memory.max", "memory.limit_in_bytes")?;
        // v1 has no word for "no limit", but a number near its greatest.
        usage::number(&text).filter(|limit| *limit < u64::MAX / 4)
    }

    /// How much may be used in it and below before who takes more is slowed down; none where that is not
    /// bounded, or this machine has no such bound, as with v1.
    pub fn slowed_above(&self) -> Option<u64> {
        usage::number(&fs::read_to_string(self.unified_file("memory.high")?).ok()?)
    }

    /// Sets that bound, or takes it away. What is above it is dropped first, which can take its time.
    pub fn slow_above(&self, bytes: Option<u64>) -> Result<(), CgroupError> {
        let Some(file) = self.unified_file("memory.high") else { return Ok(()) };
        let value = bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
        write(&file, &value)
    }

    /// The file that changes where its own memory comes to a bound; only v2 has it.
    pub fn own_memory_events(&self) -> Option<PathBuf> {
        self.unified_file("memory.events.local")
    }

    fn unified_file(&self, name: &str) -> Option<PathBuf> {
        let unified = self.hierarchies.unified().filter(|_| self.hierarchies.is_v2())?;
        Some(unified.mount.join(&self.path).join(name))
    }

    /// A file of a controller, by its name on v2 and on v1.
    fn read(&self, controller: &str, v2: &str, v1: &str) -> Option<String> {
        let (hierarchy, file) = if self.hierarchies.is_v2() {
            (self.hierarchies.unified()?, v2)
        } else {
            (self.hierarchies.v1(controller)?, v1)
        };
        fs::read_to_string(hierarchy.mount.join(&self.path).join(file)).ok()
    }
}
