//! A board for a person to look at: its serial console is this terminal, its agent is a node of the
//! fleet whose broker this machine, or another, has.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::initramfs::{self, GuestFile};
use super::machine::Machine;
use super::raspi3b::{self, Raspi3b};
use super::{Parts, Wiring, cache, format};
use crate::release;
use crate::workspace;

/// What the kernel is told beside its console: `init.sh` is for a person then.
const KERNEL_OPTIONS: &str = "quiet panic=-1 mote=console";

/// How the board belongs to a fleet.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The fleet.
    pub fleet: String,
    /// The broker, as the board sees it.
    pub broker: String,
    /// TCP ports of the board that are this machine's as well, at its loopback.
    pub forward: Vec<u16>,
}

/// Builds the agent, boots a board with it, and gives it the terminal until it is switched off.
pub fn run(machine: Machine, membership: &Membership) -> Result<()> {
    boot(machine, &release::agent(machine.target())?, membership)
}

/// The same with an agent that is built already.
pub fn boot(machine: Machine, agent: &Path, membership: &Membership) -> Result<()> {
    let parts = Parts::provide(machine, &cache()?)?;
    let directory = workspace::target_directory()?.join("cross/boards").join(machine.to_string());
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let file_system = directory.join("initramfs.cpio");
    let files = [
        GuestFile::program("bin/mote-agent", initramfs::read(agent)?),
        GuestFile::data("etc/mote/agent.toml", configuration(machine, membership)),
    ];
    parts.pack(&files, &file_system)?;
    // What a boot left there the next one finds: the node is the same.
    let flash = directory.join("flash.ext4");
    if !flash.exists() {
        format(&flash)?;
    }
    let mut emulator = parts.wired(&Wiring {
        serial: "mon:stdio",
        port: &[],
        network: &network(&membership.forward),
        flash: &format!("file={}", flash.display()),
        file_system: &file_system,
        kernel_options: KERNEL_OPTIONS,
    });
    let status = emulator.status().context("start the emulator")?;
    ensure!(status.success(), "the emulator ends: {status}");
    Ok(())
}

/// A Raspberry Pi 3B with the card that it had last, or with one that was just flashed with this image.
pub fn run_card(image: Option<&Path>, forward: &[u16]) -> Result<()> {
    let directory = raspi3b::directory()?;
    let board = match image {
        Some(image) => Raspi3b::with(image, &directory),
        None => Raspi3b::found(&directory),
    };
    let board = board.context("put a card into the board: --image FILE, of `cargo cross image`")?;
    let status = board.command("mon:stdio", &network(forward)).status();
    let status = status.context("start the emulator")?;
    ensure!(status.success(), "the emulator ends: {status}");
    Ok(())
}

fn configuration(machine: Machine, membership: &Membership) -> String {
    let Membership { fleet, broker, .. } = membership;
    format!(
        "node = \"board-{}\"\nfleet = {fleet:?}\n[broker]\nurl = {broker:?}\n",
        machine.debian()
    )
}

fn network(forward: &[u16]) -> String {
    let ports = forward.iter().map(|port| format!(",hostfwd=tcp:127.0.0.1:{port}-:{port}"));
    ports.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_a_node_of_the_fleet_that_was_named() {
        let membership = Membership {
            fleet: "home".into(),
            broker: "mqtt://10.0.2.2:1883".into(),
            forward: vec![8080, 22],
        };
        assert_eq!(
            configuration(Machine::CortexA53, &membership),
            "node = \"board-arm64\"\nfleet = \"home\"\n[broker]\nurl = \"mqtt://10.0.2.2:1883\"\n"
        );
        assert_eq!(
            network(&membership.forward),
            ",hostfwd=tcp:127.0.0.1:8080-:8080,hostfwd=tcp:127.0.0.1:22-:22"
        );
    }
}
