//! pause.
#![no_std]
