//! The real runtime: `mote-pause`, cgroups, and helpers that call libcontainer.

pub mod cgroup;
