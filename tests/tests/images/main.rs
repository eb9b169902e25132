//! Images: pulled from a real registry and imported from archives by the real `mote-agent pull`,
//! seen through the port that the agent itself uses.

mod bench;
mod debian;
mod differential;
mod hostile;
mod import;
mod process;
mod pull;
mod room;
mod tree;
