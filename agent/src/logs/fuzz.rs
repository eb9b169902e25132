//! Logs as they lie on the card, without a card.

use std::io;

use super::lines::Lines;
use super::record::Record;
use super::tail::{self, Bytes};

struct Held<'a>(&'a [u8]);

impl Bytes for Held<'_> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..));
        let from = from.unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }
}

/// Reads the last lines of a log in two files, and shows them.
pub fn tail(before: &[u8], current: &[u8], wanted: u32) -> bool {
    let files = [Held(before), Held(current)];
    let place = tail::begin(&files, wanted).expect("memory can be read");
    let shown = files.iter().enumerate().skip(place.file).flat_map(|(number, Held(bytes))| {
        let from = if number == place.file { place.offset } else { 0 };
        let from = usize::try_from(from).expect("a place in memory");
        bytes.get(from..).expect("a place in the file").split(|byte| *byte == b'\n')
    });
    let mut lines = Lines::new(None, true, Some(8 * 1024));
    let (mut text, mut any) = (Vec::new(), false);
    for line in shown {
        let Some(record) = Record::parse(line) else { continue };
        any = true;
        lines.take(&record, &mut text);
    }
    assert!(text.len() <= 8 * 1024, "more than was asked for");
    any
}
