//! Reboots the machine, when the steward says so.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rustix::system::{RebootCommand, reboot};
use tokio::sync::mpsc;
use tracing::warn;

use crate::log::Chain;
use crate::steward::PowerOrder;

/// There where systemd runs the machine (`sd_booted(3)`).
const SYSTEMD: &str = "/run/systemd/system";

/// Where systemd's program is, also where `/usr` is not merged.
const SYSTEMCTL: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];

/// Stack of the thread that waits for the program.
const STACK: usize = 64 * 1024;

/// Carries out orders, for ever; the answer is how asking went. Each has a thread: a program that hangs keeps
/// no later order waiting.
pub(super) async fn serve(
    program: Option<PathBuf>,
    mut orders: mpsc::UnboundedReceiver<PowerOrder>,
) {
    while let Some(answer) = orders.recv().await {
        let program = program.clone();
        let thread = thread::Builder::new().name("mote-power".into()).stack_size(STACK);
        let started = thread.spawn(move || {
            let result = go_down(program.as_deref());
            // Nobody waits for it any more where it took too long.
            let _ = answer.send(result.map_err(|error| Chain(&error).to_string()));
        });
        if let Err(error) = started {
            warn!(error = %Chain(&error), "start a thread that has the machine rebooted");
        }
    }
    // A task that ends would end the agent.
    std::future::pending::<()>().await;
}

fn go_down(program: Option<&Path>) -> io::Result<()> {
    if let Some(program) = program {
        return run(program, &[]);
    }
    if Path::new(SYSTEMD).is_dir() {
        let found = SYSTEMCTL.iter().map(Path::new).find(|path| path.exists());
        let program = found.ok_or_else(|| io::Error::other("there is no systemctl"))?;
        return run(program, &["--no-block", "reboot"]);
    }
    rustix::fs::sync();
    reboot(RebootCommand::Restart)?;
    Ok(())
}

fn run(program: &Path, arguments: &[&str]) -> io::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/");
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let failed = |error| io::Error::other(format!("run {}: {error}", program.display()));
    let status = status.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{} did not reboot the machine: {status}", program.display())))
}
