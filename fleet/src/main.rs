//! `mote`: reads the command line, runs the command, ends with its exit code.

use std::io;
use std::process::ExitCode;

use clap::Parser as _;
use mote_fleet::cli::Cli;
use mote_fleet::command::{self, Outcome};
use mote_fleet::output::console::Console;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let help = !error.use_stderr();
            // Nobody is left to tell where this fails.
            let _ = error.print();
            return if help { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    let mut console = Console::standard();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(command::run(cli, &mut console)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Ok(Outcome::Exited(code)) => ExitCode::from(code),
        // Who reads the output has seen enough (`mote get pods | head`).
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = console.fail(&error);
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
