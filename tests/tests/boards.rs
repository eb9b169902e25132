//! mote on whole machines: a kernel of its own, cgroup v2, another processor.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_tests::artifact;
use mote_tests::board::guest::Guest;
use mote_tests::board::initramfs::{self, GuestFile};
use mote_tests::board::machine::Machine;
use mote_tests::board::{self, Board};

/// All a board may take, from power on.
const TIME: Duration = Duration::from_mins(4);

/// The most an emulator may take, MiB.
const MEMORY: u64 = 1024;

#[test]
#[ignore = "boots a virtual machine: cargo verify --only boards"]
fn x86_64_with_cgroup_v2() -> Result<()> {
    tour(Machine::Pc)
}

#[test]
#[ignore = "boots a virtual machine: cargo verify --only boards"]
fn aarch64_with_cgroup_v2() -> Result<()> {
    tour(Machine::CortexA53)
}

fn tour(machine: Machine) -> Result<()> {
    let agent = artifact::agent(machine.target())?;
    let board = Board::provide(machine, &board::cache()?)?;
    let directory = tempfile::tempdir()?;
    let mut guest = boot(&board, &agent, directory.path())?;
    controllers_are_those_of_cgroup_v2(&mut guest)?;
    overlays_can_be_mounted(&mut guest)?;
    guest.run("mote-agent --version").context("run the agent")?;
    let peak = guest.peak_memory_kib()? / 1024;
    println!("{machine}: the emulator took {peak} MiB at most");
    ensure!(peak <= MEMORY, "the emulator took {peak} MiB, more than {MEMORY}");
    guest.leave()
}

fn boot(board: &Board, agent: &Path, directory: &Path) -> Result<Guest> {
    let files = [GuestFile::program("bin/mote-agent", initramfs::read(agent)?)];
    board.boot(&files, directory, TIME)
}

fn controllers_are_those_of_cgroup_v2(guest: &mut Guest) -> Result<()> {
    let controllers = guest.run("cat /sys/fs/cgroup/cgroup.controllers")?;
    for wanted in ["cpu", "memory", "pids"] {
        let found = controllers.split_whitespace().any(|name| name == wanted);
        ensure!(found, "no {wanted} among {controllers}");
    }
    Ok(())
}

fn overlays_can_be_mounted(guest: &mut Guest) -> Result<()> {
    guest.run("cd /tmp && mkdir lower upper work merged && echo below >lower/file")?;
    let options = "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work";
    guest.run(&format!("mount -t overlay -o {options} overlay /tmp/merged"))?;
    guest.run("echo above >/tmp/merged/file")?;
    let both = guest.run("cat /tmp/lower/file /tmp/upper/file")?;
    ensure!(both == "below\nabove", "the overlay mixes up its layers: {both}");
    guest.run("umount /tmp/merged")?;
    Ok(())
}
