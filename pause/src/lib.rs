//! What `mote-pause` decides and says, without the kernel it does it with.
//!
//! `mote-pause` is the one process a pod costs: it holds the pod's namespaces, is the parent of
//! its containers, records how they ended and turns their output into log files. Its binary
//! (`pause/bin`) consists of this library and system calls. Nothing here allocates, blocks, reads
//! a clock or can panic on foreign input, so all of it is tested on the host like any library;
//! the agent links it too, for [`wire`].
#![cfg_attr(not(test), no_std)]

pub mod children;
pub mod log;
pub mod stamp;
pub mod text;
pub mod wire;
