//! What a hostile container runs: it tries to get out, by real system calls, and says how each
//! attempt ended. Compiled by itself, statically: it is no module of the crate beside it.
//!
//! `try FILE NAME...` makes the attempts of these names, one after the other in this very process,
//! and writes a line for each to the file (`-` is stdout): the name, and `done`, `nothing` (there was
//! nothing to be had) or the error's name. No attempt harms the machine where it is not stopped:
//! what would be final is asked for with arguments that the kernel refuses after it has looked at
//! the caller's rights.
//!
//! `rest` sleeps. `swap DIRECTORY` exchanges `real` for each of the other names in a directory, for
//! ever. `watch FILE` looks at the processes of others, until there is a file `/enough`. `sniff`
//! listens to all interfaces until there is one. `knock ADDRESS` sends a raw datagram. `pry LINK
//! FILE` tries to write to what a link to an open file leads to, and again when there is a file `/go`.
//!
//! The environment tells what is on the host: `MARK` is a file, `TARGET` a process, `SOCKET` a name of
//! an abstract socket, `WORD` what the host says on its loopback.

mod attempts;
mod kernel;
mod races;
mod spaces;
mod wire;

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

fn main() -> io::Result<()> {
    let words: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["try", file, names @ ..] => attempt(&mut writer(file)?, names),
        ["rest"] => loop {
            sleep(Duration::from_secs(1_000_000));
        },
        ["swap", directory] => races::swap(directory),
        ["watch", file] => races::watch(&mut writer(file)?),
        ["pry", link, report] => races::pry(link, report),
        ["sniff"] => wire::sniff(),
        ["knock", address] => wire::knock(address),
        _ => Err(io::Error::other("usage: attacker try|rest|swap|watch|pry|sniff|knock")),
    }
}

fn writer(file: &str) -> io::Result<Box<dyn Write>> {
    Ok(if file == "-" { Box::new(io::stdout()) } else { Box::new(File::create(file)?) })
}

fn attempt(report: &mut dyn Write, names: &[&str]) -> io::Result<()> {
    for name in names {
        let outcome = match attempts::make(name) {
            Some(Ok(())) => "done".to_owned(),
            Some(Err(error)) => kernel::name_of(&error),
            None => "unknown".to_owned(),
        };
        writeln!(report, "{name} {outcome}")?;
    }
    report.flush()
}
