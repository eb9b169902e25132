//! The wire contract.
#![no_std]
