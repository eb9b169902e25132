//! The real runtime: `mote-pause`, cgroups, and helpers that call libcontainer.

pub mod bundle;
pub mod cgroup;
pub mod process;
pub mod sandbox;
