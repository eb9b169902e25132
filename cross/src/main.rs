//! `cargo cross`: builds a release for boards.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use mote_cross::check::{self, Size};
use mote_cross::release::{self, Release};
use mote_cross::target::Target;
use mote_cross::workspace;

/// What may be asked for.
const TARGETS: &str = "x86_64, aarch64, armv7, armv6; all where none is named";

/// Builds a release for boards.
#[derive(Debug, Parser)]
#[command(name = "cargo cross", bin_name = "cargo cross")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the programs, static and stripped, and check them
    Build {
        #[arg(value_name = "TARGET", help = TARGETS)]
        targets: Vec<Target>,
    },
}

fn main() -> ExitCode {
    let result = match Options::parse_from(command_line()).command {
        Command::Build { targets } => build(&targets),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command line, without the `--` that cargo's alias ends in where somebody types another.
fn command_line() -> impl Iterator<Item = OsString> {
    let second_is_dashes = |(place, word): &(usize, OsString)| *place == 1 && word == "--";
    env::args_os().enumerate().filter(move |one| !second_is_dashes(one)).map(|(_, word)| word)
}

/// One target that cannot be built keeps none of the others from being built.
fn build(targets: &[Target]) -> Result<()> {
    let targets = if targets.is_empty() { &Target::ALL } else { targets };
    let mut failed = Vec::new();
    for target in targets {
        if let Err(error) = build_one(*target) {
            println!("{}: FAILED: {error:#}", target.name());
            failed.push(target.name());
        }
    }
    if !failed.is_empty() {
        bail!("not built: {}", failed.join(", "));
    }
    Ok(())
}

fn build_one(target: Target) -> Result<()> {
    let release = Release::build(target)?;
    check::starts(&release)?;
    let into = workspace::target_directory()?.join("cross").join(target.name());
    release::collect(&release, &into).context("collect the programs")?;
    println!("{}: {} ({})", target.name(), into.display(), release.route);
    for Size { program, bytes, goal } in check::sizes(&release)? {
        let aimed = match goal {
            Some(goal) if bytes > goal => format!(", {} above the goal", bytes - goal),
            Some(_) => ", within the goal".into(),
            None => String::new(),
        };
        println!("  {program:<10} {bytes:>9} bytes{aimed}");
    }
    Ok(())
}
