//! Answers pods' questions about names: those of this node's services and pods itself, for all others it
//! asks whom the node asks.
//!
//! ```text
//! pod -- 169.254.1.1 --> door -----> answer (PURE) --> zone (PURE)          service, pod
//!        127.254.1.1 <--   |             |
//! node's own programs      |             v
//!                          +----- desk: cache (PURE), upstream (PURE) --> exchange --> resolv.conf's servers
//! ```
//! One task, which does nothing while nobody asks. What is under way, who waits for it, what is kept and what
//! is connected is bounded, for all and for each pod, and everybody has a turn ([`turns`]), so that one that
//! floods it keeps nobody else from answers for long, and takes no memory. Nobody outside of the node is
//! answered ([`door`]).
//!
//! Pods ask over IPv4, which all of them have; answers are of both families.

pub mod answer;
pub mod cache;
mod connection;
mod desk;
pub mod door;
mod exchange;
pub mod fuzz;
pub mod question;
pub mod reply;
mod serve;
#[cfg(test)]
mod tests;
mod turns;
pub mod upstream;
pub mod zone;

pub use serve::Resolver;
