//! What this node is and how it fares: identity, readings, conditions, presence on the broker.
//!
//! | module | what it holds |
//! |---|---|
//! | [`machine`] | facts that hold until the next boot |
//! | [`board`] | what a board says of its supply, its heat and its flash |
//! | [`capacity`] | PURE: what the node has, and what pods can have of it |
//! | [`readings`] | what the machine measures of itself, when asked |
//! | [`conditions`] | PURE: which conditions hold, since when, and why |
//! | [`presence`] | PURE: what to believe of the broker's memory and of other boards |
//! | [`reporter`] | the task that puts them together: birth, node status, heartbeat |

pub mod board;
pub mod capacity;
pub mod conditions;
pub mod machine;
pub mod presence;
pub mod readings;
pub mod reporter;
