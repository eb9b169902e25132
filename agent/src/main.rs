//! The program `mote-agent`: reads its command line and becomes what it was started for.
//!
//! The helpers (`runtime`, `pull`, `examine`) are dispatched before anything of the agent exists: no
//! asynchronous runtime, no threads, no subscriber.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mote_agent::arguments::{Command, HELP};
use mote_agent::config::{self, Config};
use mote_agent::ctl::client;
use mote_agent::doctor;
use mote_agent::exit::Exit;
use mote_agent::image::pull;
use mote_agent::log::{self, Chain};
use mote_agent::node::machine;
use mote_agent::runtime::op;
use mote_agent::setup::{self, Outcome, PLACES, Places};
use mote_agent::supervise;

fn main() -> ExitCode {
    let command = match Command::parse(env::args_os().skip(1), env::var_os("MOTE_AGENT_CONFIG")) {
        Ok(command) => command,
        Err(error) => return complain(&error, Exit::Usage).into(),
    };
    let exit = match command {
        Command::Runtime(args) => return op::main(&args),
        Command::Pull(args) => return pull::main(args.into_iter()),
        Command::Ctl { config, arguments } => client::main(&config, arguments, doctor::examine),
        Command::Examine { config } => doctor::main(&config),
        Command::Run { config } => run(&config),
        Command::Check { config } => check(&config),
        Command::Halt { config } => halt(&config),
        Command::Setup { config, text } => set_up(config, text),
        Command::Help => print(HELP),
        Command::Version => print(concat!("mote-agent ", env!("CARGO_PKG_VERSION"), "\n")),
    };
    exit.into()
}

fn run(path: &Path) -> Exit {
    match log::level(env::var(log::VARIABLE).ok().as_deref()) {
        Ok(level) => log::install(level),
        Err(error) => return complain(&error, Exit::Config),
    }
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return complain(&error, Exit::Config),
    };
    match supervise::run(config, path) {
        Ok(()) => Exit::Done,
        Err(error) => complain(&error, Exit::Internal),
    }
}

fn check(path: &Path) -> Exit {
    match Config::load(path) {
        Ok(config) => {
            print(&format!("node {} of fleet {}: no errors\n", config.node, config.fleet))
        }
        Err(error) => complain(&error, Exit::Config),
    }
}

fn halt(path: &Path) -> Exit {
    match supervise::halt(path) {
        Ok(killed) => print(&format!("pods ended; {killed} processes had to be killed\n")),
        Err(error) => complain(&error, Exit::Failed),
    }
}

fn set_up(config: PathBuf, text: Option<PathBuf>) -> Exit {
    let usual = || PLACES.iter().map(PathBuf::from).find(|path| path.exists());
    let Some(text) = text.or_else(usual) else { return Exit::Done };
    let state = config::state_dir(&config);
    let serial = machine::serial(Path::new("/")).map(|serial| serial.to_lowercase());
    match setup::apply(&Places { text, config, state, serial }) {
        Ok(Outcome::Made) => print("the configuration was made anew\n"),
        Ok(Outcome::Nothing | Outcome::Unchanged) => Exit::Done,
        Err(error) => complain(&error, Exit::Config),
    }
}

fn print(text: &str) -> Exit {
    // Where stdout is closed nobody reads it.
    let _ = io::stdout().write_all(text.as_bytes());
    Exit::Done
}

fn complain(error: &dyn std::error::Error, exit: Exit) -> Exit {
    let _ = writeln!(io::stderr(), "mote-agent: {}", Chain(error));
    exit
}
