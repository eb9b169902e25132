//! QEMU's Raspberry Pi 3B, booted from an image of a card as it would be flashed.
//!
//! The emulator has no firmware: what that would read of the boot partition (kernel, what it unpacks, device tree,
//! command line) is read here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache;
use super::machine::Machine;
use super::qemu::Qemu;
use crate::debian::run;
use crate::image::{Fat, boot};

/// Its device tree, as Debian's kernel names it.
const DEVICE_TREE: &str = "bcm2837-rpi-3-b.dtb";

/// What a kernel is told beside that: its serial line, which Bluetooth would take, is the last console, the one
/// that systemd speaks on; the emulated watchdog resets the board as soon as it is started.
const EMULATED: &str = "console=ttyAMA0 modprobe.blacklist=hci_uart,bcm2835_wdt panic=-1";

/// The smallest card that it is given. The emulator takes powers of two alone.
const LEAST: u64 = 4 << 30;

/// The board with its card.
#[derive(Debug)]
pub struct Raspi3b {
    qemu: Qemu,
    card: PathBuf,
    kernel: PathBuf,
    initramfs: PathBuf,
    device_tree: PathBuf,
    cmdline: String,
}

impl Raspi3b {
    /// One with a card that was just flashed: `directory` holds it from now on.
    pub fn with(image: &Path, directory: &Path) -> Result<Self> {
        let card = directory.join("card.img");
        let mut copy = Command::new("cp");
        run(copy.args(["--sparse=always", "--reflink=auto"]).arg(image).arg(&card))?;
        let file = File::options().write(true).open(&card)?;
        file.set_len(file.metadata()?.len().next_power_of_two().max(LEAST))?;
        Self::found(directory)
    }

    /// The one whose card is in `directory` already.
    pub fn found(directory: &Path) -> Result<Self> {
        let card = directory.join("card.img");
        let partition = Fat::of(&card)?;
        let config = partition.read("config.txt")?;
        let (kernel, initramfs) = boot::kernel(&config).context("config.txt names no kernel")?;
        let take = |name: &str| partition.take(name, directory);
        Ok(Self {
            qemu: Qemu::provide(&cache()?)?,
            kernel: take(kernel)?,
            initramfs: take(initramfs)?,
            device_tree: take(DEVICE_TREE)?,
            cmdline: partition.read("cmdline.txt")?.trim().to_owned(),
            card,
        })
    }

    /// The emulator, with its serial console and more of a network's options, each after a comma.
    pub fn command(&self, serial: &str, network: &str) -> Command {
        let mut command = self.qemu.command(Machine::CortexA53);
        command.args(["-machine", "raspi3b", "-accel", "tcg,thread=multi", "-no-reboot"]);
        command.args(["-display", "none", "-serial", serial]);
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initramfs);
        command.arg("-dtb").arg(&self.device_tree);
        command.args(["-append", &format!("{} {EMULATED}", self.cmdline)]);
        command.args([
            "-drive",
            &format!("file={},if=sd,format=raw,cache=unsafe", self.card.display()),
        ]);
        // Its own network is behind USB as well.
        command.args(["-netdev", &format!("user,id=net{network}")]);
        command.args(["-device", "usb-net,netdev=net"]);
        command
    }
}

/// Where a board for a person is kept.
pub fn directory() -> Result<PathBuf> {
    let directory = crate::workspace::target_directory()?.join("cross/boards/raspi3b");
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    Ok(directory)
}
