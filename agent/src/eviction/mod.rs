//! What happens when the node runs short of memory, disk or process ids: the kubelet's eviction
//! (`pkg/kubelet/eviction`), as decisions. PURE.
//!
//! ```text
//!   readings --> watch --> conditions, shortage --> rank --> victim, message
//!                  ^                                  ^
//!             thresholds                         what pods use
//! ```
//! | module | what it holds |
//! |---|---|
//! | [`signal`] | what is watched, and what it looked like |
//! | [`threshold`] | where a shortage begins and ends |
//! | [`watch`] | which thresholds are met, since when, and which is acted on |
//! | [`rank`] | which pod goes first, and what is said of it |
//! | [`ceiling`] | from where on pods that take memory are slowed down |
//!
//! The reporter of the node looks and tells the steward, which acts: first it removes what no pod
//! needs, then it ends one pod, waits for its end, and has somebody look again.

mod ceiling;
pub mod rank;
pub mod signal;
pub mod threshold;
pub mod watch;

pub use ceiling::{Ceiling, ceiling};
pub use rank::{Candidate, Eater, LOW_ON_RESOURCE, message, rank};
pub use signal::{Level, Levels, Pressure, Pressures, Resource, Signal};
pub use threshold::{Quantity, Settings, Threshold};
pub use watch::{Breach, Found, Shortage, Watch};
