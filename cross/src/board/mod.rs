//! Virtual boards: whole machines with a kernel of their own, in an emulator.
//!
//! Debian's kernel, busybox, and the agent as it is shipped, in a file system that the kernel unpacks.
//! Nothing is installed for it: [`debian`] fetches what is missing below the target directory, once.
//!
//! | module | what it stands for |
//! |---|---|
//! | [`machine`] | which machines there are |
//! | [`debian`] | packages that are unpacked and not installed |
//! | [`qemu`] | the emulator |
//! | [`kernel`] | a kernel and its modules |
//! | [`cpio`], [`initramfs`] | the board's file system |
//! | [`console`] | a board for a person to look at |
//! | [`raspi3b`] | another machine: it boots from an image of a card |

pub mod console;
pub mod cpio;
pub mod debian;
pub mod initramfs;
pub mod kernel;
pub mod machine;
pub mod qemu;
pub mod raspi3b;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::debian::run;
use crate::workspace;
use debian::Archive;
use initramfs::GuestFile;
use kernel::Kernel;
use machine::Machine;
use qemu::Qemu;

/// Size of a board's flash, for `mke2fs`. A sparse file: only what is written takes place.
const FLASH: &str = "512M";

/// Memory of a board, MiB: a small real one, and two fit any build machine.
pub const MEMORY: &str = "512";

/// Where a board finds what listens on this machine's loopback interface.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Everything a machine is made of, but for the agent: fetched and ready.
#[derive(Debug)]
pub struct Parts {
    /// Which machine.
    pub machine: Machine,
    /// Its kernel.
    pub kernel: Kernel,
    qemu: Qemu,
    busybox: PathBuf,
}

impl Parts {
    /// Finds the parts below `cache`, or fetches them. Several processes may ask at once.
    pub fn provide(machine: Machine, cache: &Path) -> Result<Self> {
        fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
        let lock = File::create(cache.join("lock"))?;
        lock.lock().context("wait for another that fetches packages")?;
        let qemu = Qemu::provide(cache)?;
        let root = cache.join(machine.debian());
        if !root.is_dir() {
            fetch(machine, cache, &root)
                .with_context(|| format!("fetch a kernel for {machine}"))?;
        }
        let busybox = ["bin/busybox", "usr/bin/busybox"].map(|name| root.join(name));
        let busybox = busybox.into_iter().find(|path| path.is_file()).context("no busybox")?;
        Ok(Self { machine, qemu, kernel: Kernel::open(&root)?, busybox })
    }

    /// The static busybox for this machine.
    pub fn busybox(&self) -> Result<Vec<u8>> {
        initramfs::read(&self.busybox)
    }

    /// Writes what boots begin with: the first file system, with these files.
    pub fn pack(&self, files: &[GuestFile], file_system: &Path) -> Result<()> {
        initramfs::write(file_system, &self.kernel, self.busybox()?, files)
    }

    /// The emulator as this machine, with processors and memory, and nothing connected.
    fn emulator(&self) -> Command {
        let mut command = self.qemu.command(self.machine);
        command.args(self.machine.options());
        // Hardware virtualisation differs from machine to machine; the emulator's own translation is
        // the same everywhere. Its cache of translated code is a gigabyte unless told otherwise.
        command.args(["-accel", "tcg,thread=multi,tb-size=64", "-smp", "2", "-m", MEMORY]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        command
    }

    /// The emulator, connected. The kernel names devices by the order in which they are: a port, the
    /// network, random numbers, the flash.
    pub fn wired(&self, wiring: &Wiring<'_>) -> Command {
        let Wiring { serial, port, network, flash, file_system, kernel_options } = wiring;
        let mut command = self.emulator();
        command.args(["-serial", serial]).args(*port);
        command.args(["-netdev", &format!("user,id=net{network}")]);
        command.args(["-device", "virtio-net-pci,netdev=net,romfile="]);
        command.args(["-device", "virtio-rng-pci"]);
        command.args(["-drive", &format!("{flash},id=flash,if=none,format=raw")]);
        command.args(["-device", "virtio-blk-pci,drive=flash"]);
        command.arg("-kernel").arg(self.kernel.image()).arg("-initrd").arg(file_system);
        let (console, options) = (self.machine.console(), self.machine.kernel_options());
        command.arg("-append").arg(format!("console={console} {kernel_options} {options}"));
        command
    }
}

/// What the emulator of a board is connected to, as QEMU's options say it.
#[derive(Clone, Copy, Debug)]
pub struct Wiring<'a> {
    /// The serial console.
    pub serial: &'a str,
    /// A port of the board beside its console, where it has one: options of `virtserialport`'s.
    pub port: &'a [&'a str],
    /// More of the network than that the board reaches this machine, each after a comma.
    pub network: &'a str,
    /// Where the flash is, without its id.
    pub flash: &'a str,
    /// What the kernel unpacks.
    pub file_system: &'a Path,
    /// What the kernel is told beside its console.
    pub kernel_options: &'a str,
}

/// Makes the flash of a board that was never switched on.
pub fn format(flash: &Path) -> Result<()> {
    let mut make = Command::new("mke2fs");
    run(make.args(["-q", "-t", "ext4"]).arg(flash).arg(FLASH))
        .context("make a file system (package e2fsprogs)")
}

/// Where the parts of boards are kept: in the target directory, for every profile.
pub fn cache() -> Result<PathBuf> {
    Ok(workspace::target_directory()?.join("boards"))
}

fn fetch(machine: Machine, cache: &Path, root: &Path) -> Result<()> {
    let archive = Archive::foreign(&cache.join("debian"), machine.debian())?;
    let kernel = archive.first_dependency(&machine.kernel_package())?;
    let packages = [archive.fetch(&kernel)?, archive.fetch("busybox-static")?];
    debian::unpack(&packages, root)
}
