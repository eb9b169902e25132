//! Virtual boards: whole machines with a kernel of their own, in an emulator.
//!
//! What the build machine's kernel cannot show (another processor, cgroup v2 where the machine
//! has v1, out of memory for real) is tested on a board that boots in seconds: Debian's kernel,
//! busybox, and the agent as it is shipped. Nothing is installed for it: [`debian`] fetches what
//! is missing below the target directory, once.
//!
//! | module | what it stands for |
//! |---|---|
//! | [`machine`] | which machines there are |
//! | [`debian`] | packages that are unpacked and not installed |
//! | [`qemu`] | the emulator |
//! | [`kernel`] | a kernel and its modules |
//! | [`cpio`], [`initramfs`] | the board's file system |
//! | [`card`] | a flash card that loses what was not flushed |
//! | [`nbd`] | that card as the emulator has it |
//! | [`guest`] | the running board, and how it is given orders |

pub mod card;
pub mod cpio;
pub mod debian;
pub mod guest;
pub mod initramfs;
pub mod kernel;
pub mod machine;
pub mod nbd;
pub mod qemu;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use debian::Archive;
use guest::{Flash, Guest, Media};
use initramfs::GuestFile;
use kernel::Kernel;
use machine::Machine;
use qemu::Qemu;

/// Size of a board's flash, for `mke2fs`. A sparse file: only what is written takes place.
const FLASH: &str = "512M";

/// Where a board finds what listens on this machine's loopback interface.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Everything a machine is made of, but for the agent: fetched and ready.
#[derive(Debug)]
pub struct Board {
    machine: Machine,
    qemu: Qemu,
    kernel: Kernel,
    busybox: PathBuf,
}

impl Board {
    /// Finds the parts below `cache`, or fetches them. Several processes may ask at once.
    pub fn provide(machine: Machine, cache: &Path) -> Result<Self> {
        fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
        let lock = File::create(cache.join("lock"))?;
        lock.lock().context("wait for another test that fetches packages")?;
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

    /// Boots one with these files. What is its own lies in `directory`: the console's log, and its
    /// flash, which a second boot finds as the first left it. It is given `time` for all it does.
    pub fn boot(&self, files: &[GuestFile], directory: &Path, time: Duration) -> Result<Guest> {
        self.pack(files, directory)?;
        let flash = directory.join("flash.ext4");
        if !flash.exists() {
            format(&flash)?;
        }
        self.start(directory, Flash::File(&flash), time)
    }

    /// Writes what boots from now on begin with to `directory`.
    pub fn pack(&self, files: &[GuestFile], directory: &Path) -> Result<()> {
        initramfs::write(&file_system(directory), &self.kernel, self.busybox()?, files)
    }

    /// Boots one with what was packed, and with this flash.
    pub fn start(&self, directory: &Path, flash: Flash<'_>, time: Duration) -> Result<Guest> {
        let file_system = file_system(directory);
        let media = Media { kernel: self.kernel.image(), file_system: &file_system, flash };
        Guest::boot(self.qemu.command(self.machine), self.machine, &media, directory, time)
    }
}

fn file_system(directory: &Path) -> PathBuf {
    directory.join("initramfs.cpio")
}

/// Makes the flash of a board that was never switched on.
pub fn format(flash: &Path) -> Result<()> {
    let output = Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(flash).arg(FLASH).output();
    let output = output.context("start mke2fs (package e2fsprogs)")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "mke2fs fails: {}", complaint.trim());
    Ok(())
}

/// Where the parts of boards are kept: in the target directory, for every profile.
pub fn cache() -> Result<PathBuf> {
    Ok(mote_cross::workspace::target_directory()?.join("boards"))
}

fn fetch(machine: Machine, cache: &Path, root: &Path) -> Result<()> {
    let archive = Archive::foreign(&cache.join("debian"), machine.debian())?;
    let kernel = archive.first_dependency(&machine.kernel_package())?;
    let packages = [archive.fetch(&kernel)?, archive.fetch("busybox-static")?];
    debian::unpack(&packages, root)
}
