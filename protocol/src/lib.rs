//! The wire contract between a mote node and its operators.
//!
//! Names, topics, frames, types and limits; no behaviour, no I/O, no cryptography. The same crate
//! is compiled into the agent on the node and into the tools of its operators, and also builds
//! without the standard library.
//!
//! | module | what it holds |
//! |---|---|
//! | [`name`] | validated names, uids, kinds |
//! | [`topic`] | MQTT topics: format and parse |
//! | [`frame`] | the four bytes around every body, and [`frame::Body`]: which type belongs to which kind |
//! | [`object`] | desired objects: revision, hash, intent |
//! | [`pod`] | a pod's specification |
//! | [`rollout`] | what annotations ask of a pod's changes |
//! | [`status`] | a pod's status |
//! | [`node`] | a node's status, birth, will, heartbeat |
//! | [`event`] | events |
//! | [`command`] | one-shot requests and their answers |
//! | [`cordon`] | keeping pods off a node |
//! | [`doctor`] | what an examination of a node finds |
//! | [`stream`] | what is too long for an answer: logs |
//! | [`usage`] | what a node and its pods use |
//! | [`extension`] | fields of the future |
//! | [`duration`] | durations as Go writes them |
//! | [`text`] | bounded strings that truncate visibly |
//! | [`limits`] | every capacity, with its reason |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod command;
pub mod cordon;
pub mod doctor;
pub mod duration;
pub mod event;
pub mod extension;
pub mod frame;
pub mod image;
pub mod limits;
pub mod name;
pub mod node;
pub mod object;
pub mod pod;
pub mod printed;
pub mod quantity;
pub mod rollout;
pub mod static_pod;
pub mod status;
pub mod stream;
pub mod text;
pub mod topic;
pub mod usage;
