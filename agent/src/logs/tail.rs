//! Where the last lines of a log begin.

use std::io;

use super::BLOCK;
use super::record::Record;

/// Bytes that are read from any place: a file, or a test's.
pub(super) trait Bytes {
    /// How many there are now.
    fn len(&self) -> io::Result<u64>;

    /// Reads from a place; less than asked for only at the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of its files.
    pub(super) file: usize,
    /// Where in it.
    pub(super) offset: u64,
}

/// Where the last `wanted` lines begin in files that are given oldest first. They are read
/// backwards, a block at a time, and no further than they must be.
///
/// A line counts where it ends. One at the very end that is not finished counts, too.
pub(super) fn begin<B: Bytes>(files: &[B], wanted: u32) -> io::Result<Place> {
    let mut counter = Counter { wanted, found: 0, any: false };
    let mut block = vec![0; BLOCK];
    for (number, file) in files.iter().enumerate().rev() {
        let mut end = whole(file, &mut block)?;
        if wanted == 0 {
            return Ok(Place { file: number, offset: end });
        }
        while end > 0 {
            let begin = end.saturating_sub(BLOCK as u64);
            let len = usize::try_from(end - begin).unwrap_or(BLOCK);
            let Some(slice) = block.get_mut(..len) else { break };
            let read = file.read_at(begin, slice)?;
            let bytes = slice.get(..read).unwrap_or_default();
            // The first line of a block may have begun before it, and comes with the next.
            let first = match bytes.iter().position(|byte| *byte == b'\n') {
                Some(newline) if begin > 0 => newline + 1,
                _ => 0,
            };
            if let Some(back) = counter.count(bytes.get(first..).unwrap_or_default()) {
                return Ok(Place { file: number, offset: end - back as u64 });
            }
            // A block without any newline is no record's: it is passed over whole.
            end = if begin + first as u64 == end { begin } else { begin + first as u64 };
        }
    }
    Ok(Place { file: 0, offset: 0 })
}

/// The end of a file's last whole line: the writer may be in the middle of the next.
fn whole<B: Bytes>(file: &B, block: &mut [u8]) -> io::Result<u64> {
    let mut end = file.len()?;
    while end > 0 {
        let begin = end.saturating_sub(block.len() as u64);
        let len = usize::try_from(end - begin).unwrap_or(block.len());
        let Some(slice) = block.get_mut(..len) else { break };
        let read = file.read_at(begin, slice)?;
        let last = slice.get(..read).and_then(|bytes| bytes.iter().rposition(|b| *b == b'\n'));
        if let Some(last) = last {
            return Ok(begin + last as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

struct Counter {
    wanted: u32,
    found: u32,
    /// A record was seen: what comes before it has an end.
    any: bool,
}

impl Counter {
    /// Counts whole lines backwards; where they are enough, how far back from their end.
    fn count(&mut self, lines: &[u8]) -> Option<usize> {
        let mut back = 0;
        for line in lines.split_inclusive(|byte| *byte == b'\n').rev() {
            let record = Record::parse(line.strip_suffix(b"\n").unwrap_or(line));
            if let Some(record) = record {
                if record.ends_line && self.found == self.wanted {
                    return Some(back);
                }
                if record.ends_line || !self.any {
                    self.found += 1;
                }
                self.any = true;
            }
            back += line.len();
        }
        None
    }
}
