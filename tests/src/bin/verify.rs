//! `cargo verify`: see [`mote_tests::verify`].

use std::process::ExitCode;

use clap::Parser;
use mote_tests::command_line;
use mote_tests::verify::{Options, run};

fn main() -> ExitCode {
    run(&Options::parse_from(command_line())).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(64)
    })
}
