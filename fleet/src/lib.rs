//! The operators' side of mote: the command `mote`, with kubectl's habits.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`command`] | the commands, one module each |
//! | [`context`] | which broker, which fleet, as whom |
//! | [`broker`] | a short conversation with the broker |
//! | [`content`] | what an object consists of, whatever its kind |
//! | [`view`] | a fleet as its retained messages show it; pure |
//! | [`manifest`] | from files to objects that a node can be asked for |
//! | [`kubernetes`] | Kubernetes' objects as JSON, and the wire types that stand for them |
//! | [`output`] | tables, JSON, YAML |
//! | [`failure`] | errors in the words that users of kubectl know |
//!
//! Dependencies point one way: `command` uses everything, `view` and `kubernetes` know the wire
//! types, `broker` knows bytes and topics, and none of them knows a command.

pub mod broker;
pub mod cli;
pub mod command;
pub mod content;
pub mod context;
pub mod failure;
pub mod kubernetes;
pub mod manifest;
pub mod output;
pub mod view;
