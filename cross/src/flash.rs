//! Writes an image to a card, and reads it back.
//!
//! What a device is, is read from `/sys` and `/proc` and judged by [`refusals`], which is PURE: a disk
//! that somebody uses is not written to, and one that cannot be taken out only if that is asked for.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Advice, OFlags, fadvise, major, minor};

use crate::image::table;

/// Bytes at a time: a multiple of what cards erase at once.
const CHUNK: usize = 4 << 20;

/// What is known of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// It is a part of a disk.
    pub partition: bool,
    /// It, or its medium, can be taken out.
    pub removable: bool,
    /// It cannot be written to: a card's little switch.
    pub read_only: bool,
    /// Where file systems of it are mounted.
    pub mounted: Vec<String>,
    /// It is used otherwise: swap, RAID, encryption.
    pub held: bool,
    /// Its size.
    pub bytes: u64,
}

/// Why a device is not written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An image is a whole disk.
    Partition,
    /// It cannot be written.
    ReadOnly,
    /// The image does not fit.
    TooSmall {
        /// What the image needs.
        image: u64,
        /// What there is.
        device: u64,
    },
    /// It may be the machine's own disk.
    NotRemovable,
    /// Somebody would lose files that are open.
    Mounted(Vec<String>),
    /// The kernel uses it.
    Held,
}

impl Refusal {
    /// Whether a person who knows better may do it all the same. Nobody knows better what becomes of
    /// files that are in use.
    pub fn may_be_forced(&self) -> bool {
        *self == Self::NotRemovable
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition => f.write_str("it is a partition, and an image is a whole disk"),
            Self::ReadOnly => f.write_str("it is write-protected"),
            Self::TooSmall { image, device } => {
                write!(f, "the image has {image} bytes, it has {device}")
            }
            Self::NotRemovable => f.write_str("it is a disk that cannot be taken out"),
            Self::Mounted(places) => write!(f, "it is mounted on {}", places.join(", ")),
            Self::Held => f.write_str("it is in use (swap, RAID, encryption)"),
        }
    }
}

/// Everything that speaks against writing an image of `image` bytes to a device.
pub fn refusals(facts: &Facts, image: u64) -> Vec<Refusal> {
    let mut found = Vec::new();
    if facts.partition {
        found.push(Refusal::Partition);
    }
    if facts.read_only {
        found.push(Refusal::ReadOnly);
    }
    if facts.bytes < image {
        found.push(Refusal::TooSmall { image, device: facts.bytes });
    }
    if !facts.removable {
        found.push(Refusal::NotRemovable);
    }
    if !facts.mounted.is_empty() {
        found.push(Refusal::Mounted(facts.mounted.clone()));
    }
    if facts.held {
        found.push(Refusal::Held);
    }
    found
}

/// Writes `image` to `device` and compares what is there then with it.
pub fn flash(image: &Path, device: &Path, force: bool) -> Result<()> {
    let mut source = File::open(image).with_context(|| format!("open {}", image.display()))?;
    check(&mut source).with_context(|| format!("{} is no image of a disk", image.display()))?;
    // What is judged is what is written to, whatever the name means meanwhile.
    let target = open(device)?;
    let facts = examine(&target, device)?;
    let against = refusals(&facts, source.metadata()?.len());
    let forced = |refusal: &Refusal| force && refusal.may_be_forced();
    if !against.iter().all(forced) {
        let may = !force && against.iter().all(Refusal::may_be_forced);
        let hint = if may { "; --force is for those who know better" } else { "" };
        let told = against.iter().filter(|refusal| !forced(refusal)).map(ToString::to_string);
        let told: Vec<_> = told.collect();
        bail!("{} is not written to: {}{hint}", device.display(), told.join("; "));
    }
    write(&mut source, &target).with_context(|| format!("write {}", device.display()))?;
    compare(&mut source, &target).with_context(|| format!("verify {}", device.display()))
}

/// Whether it begins as a disk does: one that is still packed does not.
fn check(source: &mut File) -> Result<()> {
    let mut sector = vec![0; table::SECTOR];
    let length = fill(source, &mut sector)?;
    source.rewind()?;
    table::check(&sector[..length]).context("is it still packed?")
}

/// Opens a device to look at, without waiting for what is none.
fn open(device: &Path) -> Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits())?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(device);
    file.with_context(|| format!("open {}", device.display()))
}

/// Opens what is open once more, in another way.
fn again(device: &File, options: &OpenOptions) -> Result<File> {
    Ok(options.open(format!("/proc/self/fd/{}", device.as_raw_fd()))?)
}

fn write(source: &mut File, device: &File) -> Result<()> {
    // With `O_EXCL` the kernel itself refuses a device that somebody has mounted meanwhile.
    let flags = i32::try_from(OFlags::EXCL.bits())?;
    let mut target = again(device, OpenOptions::new().write(true).custom_flags(flags))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = fill(source, &mut chunk)?;
        if length == 0 {
            break;
        }
        target.write_all(&chunk[..length])?;
    }
    target.sync_all()?;
    // What is read next comes from the card, not from memory.
    fadvise(&target, 0, None, Advice::DontNeed)?;
    Ok(())
}

fn compare(source: &mut File, device: &File) -> Result<()> {
    source.rewind()?;
    let mut target = again(device, OpenOptions::new().read(true))?;
    let (mut wanted, mut found) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut place = 0;
    loop {
        let length = fill(source, &mut wanted)?;
        if length == 0 {
            return Ok(());
        }
        target.read_exact(&mut found[..length])?;
        let differs = wanted[..length].iter().zip(&found[..length]).position(|(a, b)| a != b);
        if let Some(offset) = differs {
            bail!("byte {} is not what was written: the card is broken", place + offset as u64);
        }
        place += length as u64;
    }
}

/// Reads until the buffer is full or there is no more.
fn fill(source: &mut File, buffer: &mut [u8]) -> Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(length)
}

/// Reads what the kernel knows of a device.
pub fn look(device: &Path) -> Result<Facts> {
    examine(&open(device)?, device)
}

fn examine(device: &File, name: &Path) -> Result<Facts> {
    let metadata = device.metadata().with_context(|| format!("look at {}", name.display()))?;
    let block = metadata.file_type().is_block_device();
    ensure!(block, "{} is no disk", name.display());
    let number = format!("{}:{}", major(metadata.rdev()), minor(metadata.rdev()));
    let directory = fs::canonicalize(format!("/sys/dev/block/{number}"))?;
    let parts = parts(&directory)?;
    let numbers: Vec<_> = parts.iter().map(|part| text(&part.join("dev"))).collect();
    let flag = |name: &str| text(&directory.join(name)) == "1";
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let swapped = |part: &PathBuf| {
        let name = part.file_name().unwrap_or_default().to_string_lossy();
        swaps.lines().any(|line| line.starts_with(&format!("/dev/{name} ")))
    };
    let held = |part: &PathBuf| {
        fs::read_dir(part.join("holders")).is_ok_and(|mut held| held.next().is_some())
    };
    let blocks: u64 = text(&directory.join("size")).parse().context("read its size")?;
    Ok(Facts {
        partition: directory.join("partition").exists(),
        // A slot for cards that is built in: the card can be taken out, not the slot.
        removable: flag("removable") || text(&directory.join("device/type")) == "SD",
        read_only: flag("ro"),
        mounted: mounted(&fs::read_to_string("/proc/self/mountinfo")?, &numbers),
        held: parts.iter().any(|part| held(part) || swapped(part)),
        bytes: blocks * 512,
    })
}

/// A disk and its partitions, as directories of `/sys`.
fn parts(disk: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![disk.to_owned()];
    for entry in fs::read_dir(disk)? {
        let path = entry?.path();
        if path.join("partition").exists() {
            found.push(path);
        }
    }
    Ok(found)
}

/// Where devices of these numbers are mounted.
fn mounted(mountinfo: &str, numbers: &[String]) -> Vec<String> {
    let place = |line: &str| {
        let mut fields = line.split(' ').skip(2);
        let number = fields.next()?;
        let place = fields.nth(1)?;
        numbers.iter().any(|own| own == number).then(|| place.to_owned())
    };
    mountinfo.lines().filter_map(place).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Facts {
        Facts { removable: true, bytes: 1000, ..Facts::default() }
    }

    #[test]
    fn a_card_that_nobody_uses_is_written() {
        assert_eq!(refusals(&card(), 1000), []);
    }

    #[test]
    fn all_that_speaks_against_a_device_is_told() {
        let disk = Facts {
            partition: true,
            removable: false,
            read_only: true,
            mounted: vec!["/home".into()],
            held: true,
            bytes: 999,
        };
        let found = refusals(&disk, 1000);
        let may: Vec<_> = found.iter().map(Refusal::may_be_forced).collect();
        assert_eq!(may, [false, false, false, true, false, false]);
        let said: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(said[2], "the image has 1000 bytes, it has 999");
        assert_eq!(said[4], "it is mounted on /home");
    }

    #[test]
    fn what_is_still_packed_is_no_image_of_a_disk() {
        let mut disk = vec![0; 512];
        disk[510..].copy_from_slice(&[0x55, 0xaa]);
        for (contents, is_one) in [(vec![0xfd; 4096], false), (vec![0x55; 3], false), (disk, true)]
        {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(&contents).and_then(|()| file.rewind()).expect("written");
            assert_eq!(check(&mut file).is_ok(), is_one);
        }
    }

    #[test]
    fn mounts_are_found_by_number_also_those_of_partitions() {
        let lines = "25 1 179:2 / / rw - ext4 /dev/root rw\n\
                     26 25 0:5 / /proc rw - proc proc rw\n\
                     30 25 179:1 / /boot/firmware rw shared:1 - vfat /dev/mmcblk0p1 rw\n";
        let numbers = ["179:0", "179:1", "179:2"].map(String::from);
        assert_eq!(mounted(lines, &numbers), ["/", "/boot/firmware"]);
        assert!(mounted(lines, &numbers[..1]).is_empty());
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        let error = look(Path::new("/dev/null")).expect_err("no disk").to_string();
        assert_eq!(error, "/dev/null is no disk");
    }
}
