//! The node agent of mote: a kubelet for machines too small for a kubelet.
//!
//! Dependencies point one way: `protocol, ports, tree, network <- pod <- {runtime, image, volume} <- reconciler
//! <- supervise <- main`, `protocol <- {link, node, store, events} <- supervise` and `pod <- rollout <-
//! {store, steward}`. Modules that
//! need each other's values get them as arguments or through channels wired in `supervise`.

pub mod arguments;
pub mod config;
pub mod cordon;
pub mod ctl;
pub mod daytime;
pub mod device;
pub mod doctor;
pub mod events;
pub mod eviction;
pub mod exit;
#[doc(hidden)]
pub mod fuzz;
pub mod handler;
pub mod image;
pub mod link;
pub mod log;
pub mod logs;
pub mod metrics;
pub mod network;
pub mod node;
pub mod pod;
pub mod ports;
pub mod probes;
pub mod reconciler;
pub mod resolver;
pub mod rollout;
pub mod runtime;
pub mod services;
pub mod setup;
pub mod shutdown;
pub mod static_pods;
pub mod steward;
pub mod store;
pub mod streams;
pub mod supervise;
pub mod sys;
pub mod tree;
pub mod usage;
pub mod volume;
pub mod world;
