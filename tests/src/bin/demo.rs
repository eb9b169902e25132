//! `cargo demo`: see [`mote_tests::demo`].

use std::process::ExitCode;

use clap::Parser;
use mote_tests::command_line;
use mote_tests::demo::{Options, run};

fn main() -> ExitCode {
    run(&Options::parse_from(command_line())).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
