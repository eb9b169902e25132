//! Whether the card has room, can be written, and will last.

use std::fs;
use std::io;
use std::path::Path;

use mote_protocol::doctor::Finding;
use rustix::fs::{StatVfsMountFlags, statvfs};
use serde::{Deserialize, Serialize};

use super::kernel::text;
use crate::node::conditions::{short_disk, short_inodes};
use crate::node::readings::{Amount, amounts};

/// Most disks that are looked at.
const MAX_DISKS: usize = 16;

/// What to do about a card that wears out.
const REPLACE: &str = "copy it to a new card soon; `mote-agent ctl images verify` tells what of the \
                       images is damaged already";

/// What was seen of the file system of the state directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Disk {
    pub(super) directory: String,
    /// What the file system says, or why it does not.
    pub(super) room: Result<Room, String>,
}

/// Its room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Room {
    pub(super) kib: Option<Amount>,
    pub(super) inodes: Option<Amount>,
    pub(super) read_only: bool,
}

/// What an eMMC says of its own end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wear {
    pub(super) disk: String,
    /// `life_time`, the worse of its two numbers: tenths of its life that are used up, from 1; 11 is
    /// more than all.
    pub(super) life: Option<u8>,
    /// `pre_eol_info`: 1 is normal, 2 a warning, 3 urgent.
    pub(super) end: Option<u8>,
}

impl Disk {
    /// Looks at the file system that a directory is on, or will be on.
    pub(super) fn read(directory: &Path) -> Self {
        Self { directory: directory.display().to_string(), room: room(directory) }
    }

    pub(super) fn judge(&self, found: &mut Vec<Finding>) {
        let directory = &self.directory;
        let room = match &self.room {
            Ok(room) => room,
            Err(error) => {
                let message = format!("look at the file system of {directory}: {error}");
                let remedy = "`dmesg` tells whether the card answers with errors";
                return found.push(Finding::problem("DiskUnreadable", &message, remedy));
            }
        };
        if room.read_only {
            let message = format!("the file system of {directory} is read-only");
            let remedy = "the kernel does that to a card with errors: `dmesg` tells. Otherwise \
                          mount it for writing (`mount -o remount,rw`, /etc/fstab)";
            found.push(Finding::problem("DiskReadOnly", &message, remedy));
        }
        let remedy = "`mote-agent ctl images prune` removes images that no pod needs; else make \
                      room";
        if let Some(short) = room.kib.and_then(short_disk) {
            let message = format!("the file system of {directory} is nearly full: {short}");
            found.push(Finding::problem("DiskFull", &message, remedy));
        }
        if let Some(short) = room.inodes.and_then(short_inodes) {
            let message = format!("the file system of {directory} has few inodes left: {short}");
            found.push(Finding::problem("InodesExhausted", &message, remedy));
        }
    }
}

impl Wear {
    /// What the eMMCs below `root` (`/`) say; SD cards say nothing.
    pub(super) fn read(root: &Path) -> Vec<Self> {
        let disks = fs::read_dir(root.join("sys/block")).into_iter().flatten();
        let names = disks.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("mmcblk")).collect();
        names.sort_unstable();
        let told = |disk: String| {
            let device = root.join("sys/block").join(&disk).join("device");
            let numbers = |name: &str| text(&device.join(name)).map(|text| hexadecimal(&text));
            let life = numbers("life_time").and_then(|numbers| numbers.into_iter().max());
            let end = numbers("pre_eol_info").and_then(|numbers| numbers.first().copied());
            (life.is_some() || end.is_some()).then_some(Self { disk, life, end })
        };
        names.into_iter().take(MAX_DISKS).filter_map(told).collect()
    }

    pub(super) fn judge(&self, found: &mut Vec<Finding>) {
        let disk = &self.disk;
        match (self.end, self.life) {
            (Some(3..), _) => {
                let message = format!("{disk} has used up its spare blocks (pre_eol_info: urgent)");
                found.push(Finding::problem("DiskWorn", &message, REPLACE));
            }
            (Some(2), _) => {
                let message = format!("{disk} has used up 80% of its spare blocks (pre_eol_info)");
                found.push(Finding::problem("DiskWorn", &message, REPLACE));
            }
            (_, Some(11..)) => {
                let message = format!("{disk} has outlived what it was made for (life_time)");
                found.push(Finding::problem("DiskWorn", &message, REPLACE));
            }
            (_, Some(life @ 9..)) => {
                let message =
                    format!("{disk} has {}% of its life behind it (life_time)", life * 10);
                found.push(Finding::hint("DiskWearing", &message, REPLACE));
            }
            _ => {}
        }
    }
}

/// That of the nearest directory that is there: the agent makes the others.
fn room(directory: &Path) -> Result<Room, String> {
    for directory in directory.ancestors() {
        match statvfs(directory) {
            Ok(told) => {
                let (kib, inodes) = amounts(&told);
                let read_only = told.f_flag.contains(StatVfsMountFlags::RDONLY);
                return Ok(Room { kib: Some(kib), inodes, read_only });
            }
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(io::Error::from(error).to_string()),
        }
    }
    Err("no such directory".to_owned())
}

/// `0x01 0x0b`.
fn hexadecimal(text: &str) -> Vec<u8> {
    let numbers = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix("0x"));
    numbers.filter_map(|digits| u8::from_str_radix(digits, 16).ok()).collect()
}
