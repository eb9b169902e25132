//! What is watched, and what it looked like.

use std::fmt;

/// Something that may run short, by the kubelet's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// Memory that programs can have without swapping.
    MemoryAvailable,
    /// What pods may still have of what all of them may have together.
    AllocatableMemoryAvailable,
    /// Room on the file system of the state directory, images included.
    NodefsAvailable,
    /// Inodes there.
    NodefsInodesFree,
    /// Process ids.
    PidAvailable,
}

impl Signal {
    /// All of them; those of memory first, since memory runs short fastest.
    pub const ALL: [Self; 5] = [
        Self::MemoryAvailable,
        Self::AllocatableMemoryAvailable,
        Self::NodefsAvailable,
        Self::NodefsInodesFree,
        Self::PidAvailable,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MemoryAvailable => "memory.available",
            Self::AllocatableMemoryAvailable => "allocatableMemory.available",
            Self::NodefsAvailable => "nodefs.available",
            Self::NodefsInodesFree => "nodefs.inodesFree",
            Self::PidAvailable => "pid.available",
        }
    }

    /// What is short where it is low.
    pub const fn resource(self) -> Resource {
        match self {
            Self::MemoryAvailable | Self::AllocatableMemoryAvailable => Resource::Memory,
            Self::NodefsAvailable => Resource::EphemeralStorage,
            Self::NodefsInodesFree => Resource::Inodes,
            Self::PidAvailable => Resource::Pids,
        }
    }

    /// The condition that it makes.
    pub const fn pressure(self) -> Pressure {
        match self.resource() {
            Resource::Memory => Pressure::Memory,
            Resource::EphemeralStorage | Resource::Inodes => Pressure::Disk,
            Resource::Pids => Pressure::Pid,
        }
    }
}

/// What pods use and the node has too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Memory, in bytes.
    Memory,
    /// Room on disk, in bytes.
    EphemeralStorage,
    /// Inodes.
    Inodes,
    /// Processes and threads.
    Pids,
}

impl Resource {
    /// As the kubelet's messages name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::EphemeralStorage => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }
}

/// A condition of the node that says that something is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// `MemoryPressure`.
    Memory,
    /// `DiskPressure`.
    Disk,
    /// `PIDPressure`.
    Pid,
}

impl Pressure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Pid];

    /// The condition's type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
            Self::Pid => "PIDPressure",
        }
    }
}

/// The pressures that hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressures([bool; Pressure::ALL.len()]);

impl Pressures {
    /// Those of which `holds` is true.
    pub fn of(holds: impl Fn(Pressure) -> bool) -> Self {
        Self(Pressure::ALL.map(holds))
    }

    /// Whether this one holds.
    pub const fn has(self, pressure: Pressure) -> bool {
        self.0[pressure as usize]
    }

    /// Whether a new pod is taken: the kubelet's rules of admission. A critical one always is, one
    /// without any request only while memory is not short, and nobody where anything else is.
    pub fn admits(self, critical: bool, best_effort: bool) -> bool {
        let others = self.has(Pressure::Disk) || self.has(Pressure::Pid);
        critical || !(others || best_effort && self.has(Pressure::Memory))
    }
}

/// As the kubelet lists them.
impl fmt::Display for Pressures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = Pressure::ALL.into_iter().filter(|pressure| self.has(*pressure));
        let names: Vec<_> = held.map(Pressure::as_str).collect();
        write!(f, "[{}]", names.join(" "))
    }
}

/// What there is of something, and what of it is left: bytes, inodes or processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// What is left.
    pub available: u64,
    /// All of it.
    pub capacity: u64,
}

/// One look at everything that is watched. What could not be read is unknown, and says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels([Option<Level>; Signal::ALL.len()]);

impl Levels {
    /// Notes a signal.
    #[must_use]
    pub const fn with(mut self, signal: Signal, level: Option<Level>) -> Self {
        self.0[signal as usize] = level;
        self
    }

    /// What a signal looked like.
    pub const fn get(&self, signal: Signal) -> Option<Level> {
        self.0[signal as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admission_is_the_kubelets() {
        let held = |which: &[Pressure]| Pressures::of(|pressure| which.contains(&pressure));
        // Pressures, then whether best effort, others and critical ones are taken.
        let rows: [(&[Pressure], bool, bool); 5] = [
            (&[], true, true),
            (&[Pressure::Memory], false, true),
            (&[Pressure::Disk], false, false),
            (&[Pressure::Pid], false, false),
            (&[Pressure::Memory, Pressure::Disk], false, false),
        ];
        for (which, best_effort, others) in rows {
            let held = held(which);
            assert_eq!(held.admits(false, true), best_effort, "{which:?}");
            assert_eq!(held.admits(false, false), others, "{which:?}");
            assert!(held.admits(true, true) && held.admits(true, false));
        }
        let all = held(&Pressure::ALL);
        assert_eq!(all.to_string(), "[MemoryPressure DiskPressure PIDPressure]");
    }
}
