//! Sums of what names stand for.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use flate2::Crc;
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

/// Bytes that are read at once.
const BUFFER: usize = 64 * 1024;

/// The unit of what is left out of a file with holes.
const BLOCK: usize = 4096;

/// CRC-32 of a file.
pub(super) fn sum_of(
    directory: BorrowedFd<'_>,
    name: &[u8],
    tick: &mut dyn FnMut(),
) -> io::Result<u32> {
    let mut file = open(directory, name)?;
    let mut crc = Crc::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(crc.sum());
        }
        crc.update(buffer.get(..count).unwrap_or_default());
        tick();
    }
}

/// CRC-32 of a link's target.
pub(super) fn sum_of_target(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<u32> {
    let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
    let mut crc = Crc::new();
    crc.update(target.as_bytes());
    Ok(crc.sum())
}

/// CRC-32 of a file with holes, which may be larger than any card: of each block that is not all
/// zeros, after its place. So it does not depend on where a file system keeps the holes; they are not
/// read where it tells.
pub(super) fn sum_of_data(
    directory: BorrowedFd<'_>,
    name: &[u8],
    tick: &mut dyn FnMut(),
) -> io::Result<u32> {
    let file = open(directory, name)?;
    let mut crc = Crc::new();
    let mut buffer = vec![0; BUFFER];
    let (mut at, size) = (0, BLOCK as u64);
    loop {
        let start = match rustix::fs::seek(&file, SeekFrom::Data(at)) {
            // Nothing but a hole is left.
            Err(Errno::NXIO) => return Ok(crc.sum()),
            start => start?,
        };
        let end = rustix::fs::seek(&file, SeekFrom::Hole(start))?;
        at = at.max(start / size * size);
        while at < end {
            let count = fill(&file, &mut buffer, at)?;
            if count == 0 {
                return Ok(crc.sum());
            }
            for block in buffer.get(..count).unwrap_or_default().chunks(BLOCK) {
                if at < end && block.iter().any(|byte| *byte != 0) {
                    crc.update(&at.to_le_bytes());
                    crc.update(block);
                }
                // Blocks behind the end have their turn when they are come to.
                at += if at < end { size } else { 0 };
            }
            tick();
        }
    }
}

/// Reads until the buffer or the file is at its end.
fn fill(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut count = 0;
    while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

fn open(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?))
}
