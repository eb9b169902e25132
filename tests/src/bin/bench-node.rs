//! `cargo bench-node`: see [`mote_tests::bench`].

use std::process::ExitCode;

use clap::Parser;
use mote_tests::bench::{Options, run};

fn main() -> ExitCode {
    run(&Options::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
