//! `mote` against a real broker, with nodes that are played by the test.

mod apply;
mod broker;
mod create;
mod data;
mod delete;
mod describe;
mod doctor;
mod errors;
mod events;
mod fleet;
mod get;
mod logs;
mod node;
mod scale;
mod streams;
mod tls;
mod told;
mod top;
mod used;
