//! Kubernetes' objects as JSON, and the wire types that stand for them.
//!
//! Reading notes everything that is wrong or has no effect by the field's path; writing gives the
//! same object back, so that what one operator applied another can read. [`field`] holds the one
//! table of fields per type that both directions share.
//!
//! | module | what it reads and writes |
//! |---|---|
//! | [`meta`] | `metadata` |
//! | [`object`], [`status`], [`node`], [`event`] | whole objects, and what nodes say of them |
//! | [`pod`], [`container`], [`env`](mod@env), [`probe`], [`volume`], [`security`] | `spec` of a pod |
//! | [`data`], [`service`] | what `ConfigMap`, Secret and Service hold |
//! | [`resources`], [`quantity`], [`signal`] | amounts and names of signals |
//! | [`findings`], [`path`] | what was found, and where |

pub mod container;
pub mod data;
pub mod env;
pub mod event;
pub mod field;
pub mod findings;
pub mod meta;
pub mod node;
pub mod object;
pub mod path;
pub mod pod;
pub mod probe;
pub mod quantity;
pub mod resources;
pub mod security;
pub mod service;
pub mod signal;
pub mod status;
pub mod volume;
