//! Virtual boards: whole machines with a kernel of their own, in an emulator.
//!
//! What the build machine's kernel cannot show (another processor, cgroup v2 where the machine
//! has v1, out of memory for real) is tested on a board that boots in seconds: Debian's kernel,
//! busybox, and the agent as it is shipped. Nothing is installed for it: `mote_cross::board` fetches what
//! is missing below the target directory, once.
//!
//! | module | what it stands for |
//! |---|---|
//! | `machine`, `initramfs` | which machines there are, and what lies on them: `mote_cross::board` |
//! | [`card`] | a flash card that loses what was not flushed |
//! | [`nbd`] | that card as the emulator has it |
//! | [`guest`] | the running board, and how it is given orders |

pub mod card;
pub mod guest;
pub mod nbd;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_cross::board::Parts;
pub use mote_cross::board::{HOST, cache, format, initramfs, machine};

use guest::{Flash, Guest, Media};
use initramfs::GuestFile;
use machine::Machine;

/// What a kernel is told whose flash holds a whole system. Interfaces are called `eth0` and so on.
const SYSTEM: &str = "mote=systemd net.ifnames=0";

/// A service that obeys the host, for whole systems: its unit, and its program.
pub const ORDERS: [(&str, &str); 2] = [
    (
        "etc/systemd/system/host-orders.service",
        "[Unit]\nDescription=orders of the host\n\
         [Service]\nExecStart=/bin/sh /usr/local/lib/orders\n\
         ExecStopPost=/bin/systemctl poweroff --force\n",
    ),
    ("usr/local/lib/orders", initramfs::ORDERS),
];

/// What `e2fsck` says of a file system that it could not repair: exit code 4, and whatever is above.
const UNREPAIRED: i32 = 4;

/// Repairs the file system of a board that is off, as Debian and Raspberry Pi OS do before they mount it
/// (`fsck.repair=yes`). A kernel that finds the last commit of a journal torn between two sectors refuses
/// to mount: of a block that is half written it cannot say that it was never committed.
pub fn repair(flash: &Path) -> Result<()> {
    let output = Command::new("e2fsck").arg("-y").arg(flash).output();
    let output = output.context("run e2fsck (package e2fsprogs)")?;
    let repaired = output.status.code().is_some_and(|code| code < UNREPAIRED);
    ensure!(repaired, "e2fsck: {}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// Everything a machine is made of, but for the agent: fetched and ready.
#[derive(Debug)]
pub struct Board(Parts);

impl Board {
    /// Finds the parts below `cache`, or fetches them. Several processes may ask at once.
    pub fn provide(machine: Machine, cache: &Path) -> Result<Self> {
        Parts::provide(machine, cache).map(Self)
    }

    /// The static busybox for this machine.
    pub fn busybox(&self) -> Result<Vec<u8>> {
        self.0.busybox()
    }

    /// Boots one with these files. What is its own lies in `directory`: the console's log, and its
    /// flash, which a second boot finds as the first left it. It is given `time` for all it does.
    pub fn boot(&self, files: &[GuestFile], directory: &Path, time: Duration) -> Result<Guest> {
        self.boot_with(files, directory, "", time)
    }

    /// The same, with more options of the kernel.
    pub fn boot_with(
        &self,
        files: &[GuestFile],
        directory: &Path,
        options: &str,
        time: Duration,
    ) -> Result<Guest> {
        self.pack(files, directory)?;
        let flash = directory.join("flash.ext4");
        if !flash.exists() {
            format(&flash)?;
        }
        self.start_with(directory, Flash::File(&flash), options, time)
    }

    /// Boots a whole system, with its own service manager, that this flash holds. It answers as other boards do
    /// once it has [`ORDERS`].
    pub fn start_system(&self, directory: &Path, flash: &Path, time: Duration) -> Result<Guest> {
        self.pack(&[], directory)?;
        self.start_with(directory, Flash::File(flash), SYSTEM, time)
    }

    /// All modules of its kernel.
    pub fn modules(&self) -> &Path {
        self.0.kernel.tree()
    }

    /// Writes what boots from now on begin with to `directory`.
    pub fn pack(&self, files: &[GuestFile], directory: &Path) -> Result<()> {
        self.0.pack(files, &file_system(directory))
    }

    /// Boots one with what was packed, and with this flash.
    pub fn start(&self, directory: &Path, flash: Flash<'_>, time: Duration) -> Result<Guest> {
        self.start_with(directory, flash, "", time)
    }

    fn start_with(
        &self,
        directory: &Path,
        flash: Flash<'_>,
        options: &str,
        time: Duration,
    ) -> Result<Guest> {
        let file_system = file_system(directory);
        let media = Media { file_system: &file_system, flash, options };
        Guest::boot(&self.0, &media, directory, time)
    }
}

fn file_system(directory: &Path) -> PathBuf {
    directory.join("initramfs.cpio")
}
