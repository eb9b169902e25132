//! `cargo bench-node`: see [`mote_tests::bench`].

use std::process::ExitCode;

use clap::Parser;
use mote_tests::bench::{Options, run};
use mote_tests::command_line;

fn main() -> ExitCode {
    run(&Options::parse_from(command_line())).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
