//! Images: pulled from a real registry and imported from archives by the real `mote-agent pull`,
//! seen through the port that the agent itself uses.

mod access;
mod bench;
mod damage;
mod differential;
mod hostile;
mod import;
mod injection;
mod kill;
mod laptop;
mod link;
mod odd;
mod process;
mod pull;
mod room;
mod save;
mod tree;
