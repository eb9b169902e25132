//! Whether the card has room, can be written, and will last.

use std::io;
use std::path::Path;

use mote_protocol::doctor::Finding;
use rustix::fs::{StatVfsMountFlags, statvfs};
use serde::{Deserialize, Serialize};

pub(super) use crate::node::board::Wear;
use crate::node::conditions::{short_disk, short_inodes};
use crate::node::readings::{Amount, amounts};

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
    pub(super) fn judge(&self, found: &mut Vec<Finding>) {
        let Some(message) = self.describe() else { return };
        found.push(if self.is_urgent() {
            Finding::problem("DiskWorn", &message, REPLACE)
        } else {
            Finding::hint("DiskWearing", &message, REPLACE)
        });
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
