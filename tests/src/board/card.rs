//! A flash card as it is when the power fails: what was written and not flushed may be there or
//! not, or be there in part, in whatever order the card came to it.
//!
//! Reads see every write at once. [`Card::flush`] makes all of them last, and a write that is asked
//! to last does so by itself. [`Card::cut`] decides what becomes of the others: some are lost, some
//! are kept, some are torn between two sectors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::random::Random;

/// What a card writes whole or not at all.
pub const SECTOR: usize = 512;

/// So many sectors at the beginning are written whole or not at all. The superblock of ext4 lies
/// there, which has a checksum and no second chance: the file system counts on it, and no program
/// could do anything about it.
const HEAD: u64 = 8;

/// Of so many writes one is torn by a cut.
const TORN: usize = 4;

/// Parts of which a cut keeps none to all, of the writes that it does not tear.
const PARTS: usize = 4;

/// A card.
#[derive(Debug)]
pub struct Card {
    /// What is on it for good.
    file: File,
    size: u64,
    /// What was written to each sector since the last flush, oldest first.
    unflushed: BTreeMap<u64, Vec<Arc<Write>>>,
    writes: u64,
    flushes: u64,
}

/// What was asked in one go.
#[derive(Debug)]
struct Write {
    number: u64,
    /// Its first sector.
    start: u64,
    /// Nothing where it is all zeros.
    data: Option<Vec<u8>>,
}

/// Whether a write must be there when it is said to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// At once ("force unit access").
    Now,
    /// With the next flush.
    Later,
}

/// What a cut did to the writes that were not flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// So many there were.
    pub writes: usize,
    /// Of which nothing is left.
    pub lost: usize,
    /// Of which a part may be left.
    pub torn: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    Torn,
}

impl Card {
    /// The card whose contents a file has.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size, unflushed: BTreeMap::new(), writes: 0, flushes: 0 })
    }

    /// Its size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// How often it was flushed.
    pub const fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Reads what was written last.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let sectors = self.sectors(offset, buffer.len())?;
        self.file.read_exact_at(buffer, offset)?;
        for (sector, writes) in self.unflushed.range(sectors.clone()) {
            let place = usize::try_from(sector - sectors.start).unwrap_or(usize::MAX) * SECTOR;
            if let (Some(to), Some(write)) = (buffer.get_mut(place..place + SECTOR), writes.last())
            {
                to.copy_from_slice(write.sector(*sector));
            }
        }
        Ok(())
    }

    /// Writes.
    pub fn write(&mut self, offset: u64, data: Vec<u8>, lasting: Lasting) -> io::Result<()> {
        let sectors = self.sectors(offset, data.len())?;
        self.take(sectors, Some(data), lasting)
    }

    /// Writes zeros.
    pub fn zero(&mut self, offset: u64, length: usize, lasting: Lasting) -> io::Result<()> {
        let sectors = self.sectors(offset, length)?;
        self.take(sectors, None, lasting)
    }

    /// Makes everything last that was written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        for (sector, writes) in std::mem::take(&mut self.unflushed) {
            if let Some(write) = writes.last() {
                self.keep(sector, write)?;
            }
        }
        Ok(())
    }

    /// The power fails.
    pub fn cut(&mut self, random: &mut Random) -> io::Result<Loss> {
        // From a card that had just begun to one that was about to finish.
        let kept = random.below(PARTS + 1);
        self.end(kept, random)
    }

    /// The power fails when the card was halfway through what it was given.
    pub fn cut_halfway(&mut self, random: &mut Random) -> io::Result<Loss> {
        self.end(PARTS / 2, random)
    }

    fn end(&mut self, kept: usize, random: &mut Random) -> io::Result<Loss> {
        let mut ends = Ends { random, kept, fates: BTreeMap::new() };
        let mut head = None;
        for (sector, writes) in std::mem::take(&mut self.unflushed) {
            let left = if sector < HEAD {
                let left = head.get_or_insert_with(|| ends.left(&writes)).clone();
                left.filter(|left| writes.iter().any(|write| write.number == left.number))
            } else {
                ends.left(&writes)
            };
            if let Some(write) = left {
                self.keep(sector, &write)?;
            }
        }
        let count = |wanted: Fate| ends.fates.values().filter(|fate| **fate == wanted).count();
        let (lost, torn) = (count(Fate::Lost), count(Fate::Torn));
        Ok(Loss { writes: ends.fates.len(), lost, torn })
    }

    fn take(
        &mut self,
        sectors: std::ops::Range<u64>,
        data: Option<Vec<u8>>,
        lasting: Lasting,
    ) -> io::Result<()> {
        self.writes += 1;
        let write = Arc::new(Write { number: self.writes, start: sectors.start, data });
        for sector in sectors {
            if lasting == Lasting::Now {
                // What was there before must not come after it.
                self.unflushed.remove(&sector);
                self.keep(sector, &write)?;
            } else {
                self.unflushed.entry(sector).or_default().push(Arc::clone(&write));
            }
        }
        Ok(())
    }

    fn keep(&self, sector: u64, write: &Write) -> io::Result<()> {
        self.file.write_all_at(write.sector(sector), sector * SECTOR as u64)
    }

    /// The sectors of a place, which must be on the card and begin and end with one.
    fn sectors(&self, offset: u64, length: usize) -> io::Result<std::ops::Range<u64>> {
        let sector = SECTOR as u64;
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.size);
        match end {
            Some(end) if offset.is_multiple_of(sector) && end.is_multiple_of(sector) => {
                Ok(offset / sector..end / sector)
            }
            _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
    }
}

impl Write {
    fn sector(&self, sector: u64) -> &[u8] {
        const ZEROS: &[u8] = &[0; SECTOR];
        let Some(data) = &self.data else { return ZEROS };
        let place = usize::try_from(sector - self.start).unwrap_or(usize::MAX) * SECTOR;
        data.get(place..place + SECTOR).expect("a write covers its sectors")
    }
}

/// How the writes end that were not flushed.
struct Ends<'a> {
    random: &'a mut Random,
    /// Parts that are kept.
    kept: usize,
    fates: BTreeMap<u64, Fate>,
}

impl Ends<'_> {
    /// Which of a sector's writes is on the card, if any.
    fn left(&mut self, writes: &[Arc<Write>]) -> Option<Arc<Write>> {
        let mut left = Vec::new();
        for write in writes {
            let fate = match self.fates.get(&write.number) {
                Some(fate) => *fate,
                None => self.fate(),
            };
            self.fates.insert(write.number, fate);
            if fate == Fate::Kept || fate == Fate::Torn && self.random.below(2) == 0 {
                left.push(write);
            }
        }
        // In any order: whichever came to the flash last.
        left.get(self.random.below(left.len())).map(|write| Arc::clone(write))
    }

    fn fate(&mut self) -> Fate {
        if self.random.below(TORN) == 0 {
            Fate::Torn
        } else if self.random.below(PARTS) < self.kept {
            Fate::Kept
        } else {
            Fate::Lost
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: u64 = 200;

    /// An empty card of eight sectors behind those that are written whole.
    fn card() -> (tempfile::NamedTempFile, Card) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len((HEAD + 8) * SECTOR as u64).unwrap();
        let card = Card::open(file.path()).unwrap();
        (file, card)
    }

    fn filled(byte: u8, sectors: usize) -> Vec<u8> {
        vec![byte; sectors * SECTOR]
    }

    fn at(sector: usize) -> u64 {
        HEAD * SECTOR as u64 + (sector * SECTOR) as u64
    }

    /// The first byte of each sector.
    fn look(card: &Card) -> Vec<u8> {
        let mut all = filled(0, 8);
        card.read(at(0), &mut all).unwrap();
        all.chunks(SECTOR).map(|sector| sector[0]).collect()
    }

    /// What a card may hold that was treated so and lost its power.
    fn outcomes(treat: impl Fn(&mut Card)) -> std::collections::BTreeSet<Vec<u8>> {
        let after_cut = |seed: u64| {
            let (_file, mut card) = card();
            treat(&mut card);
            card.cut(&mut Random::new(seed * 977)).unwrap();
            look(&card)
        };
        (0..SEEDS).map(after_cut).collect()
    }

    #[test]
    fn reads_see_what_was_written_last_before_and_after_a_flush() {
        let (_file, mut card) = card();
        card.write(at(1), filled(1, 4), Lasting::Later).unwrap();
        card.write(at(2), filled(2, 1), Lasting::Later).unwrap();
        card.zero(at(4), SECTOR, Lasting::Later).unwrap();
        assert_eq!(look(&card), [0, 1, 2, 1, 0, 0, 0, 0]);
        card.flush().unwrap();
        assert_eq!(look(&card), [0, 1, 2, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn what_was_flushed_is_never_lost() {
        let found = outcomes(|card| {
            card.write(at(0), filled(1, 8), Lasting::Later).unwrap();
            card.write(at(3), filled(2, 2), Lasting::Later).unwrap();
            card.flush().unwrap();
        });
        assert!(found.into_iter().eq([vec![1, 1, 1, 2, 2, 1, 1, 1]]));
    }

    #[test]
    fn what_was_not_flushed_is_lost_or_kept_or_torn() {
        let found = outcomes(|card| card.write(at(0), filled(1, 2), Lasting::Later).unwrap());
        let heads: Vec<_> = found.iter().map(|all| &all[..3]).collect();
        assert_eq!(heads, [[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]]);
    }

    #[test]
    fn writes_come_to_the_flash_in_any_order() {
        let found = outcomes(|card| {
            card.write(at(0), filled(1, 1), Lasting::Later).unwrap();
            card.write(at(0), filled(2, 1), Lasting::Later).unwrap();
        });
        assert!(found.iter().map(|all| all[0]).eq([0, 1, 2]));
    }

    #[test]
    fn a_write_that_is_to_last_is_not_undone_by_an_earlier_one() {
        let found = outcomes(|card| {
            card.write(at(0), filled(1, 2), Lasting::Later).unwrap();
            card.write(at(0), filled(2, 1), Lasting::Now).unwrap();
        });
        assert!(found.iter().all(|all| all[0] == 2));
        assert!(found.iter().map(|all| all[1]).eq([0, 1]));
    }

    #[test]
    fn the_beginning_is_never_torn() {
        for seed in 0..SEEDS {
            let (_file, mut card) = card();
            card.write(0, filled(1, 8), Lasting::Later).unwrap();
            card.write(0, filled(2, 8), Lasting::Later).unwrap();
            card.cut(&mut Random::new(seed * 977)).unwrap();
            let mut head = filled(0, 8);
            card.read(0, &mut head).unwrap();
            assert!(head.iter().all(|byte| *byte == head[0]));
        }
    }

    #[test]
    fn a_cut_tells_what_it_did() {
        let (_file, mut card) = card();
        for sector in 0..8 {
            card.write(at(sector), filled(7, 1), Lasting::Later).unwrap();
        }
        let loss = card.cut(&mut Random::new(5)).unwrap();
        assert_eq!(loss.writes, 8);
        let whole = look(&card).into_iter().map(usize::from).sum::<usize>() / 7;
        assert!((8 - loss.lost - loss.torn..=8 - loss.lost).contains(&whole), "{loss:?} {whole}");
        assert_eq!(card.cut(&mut Random::new(5)).unwrap(), Loss::default());
    }

    #[test]
    fn places_that_are_no_sectors_are_refused() {
        let (_file, mut card) = card();
        assert!(card.write(at(0) + 1, filled(1, 1), Lasting::Later).is_err());
        assert!(card.write(at(7), filled(1, 2), Lasting::Later).is_err());
        assert!(card.zero(at(7), 100, Lasting::Later).is_err());
        assert!(card.read(u64::MAX, &mut [0; SECTOR]).is_err());
    }

    /// Somebody who keeps a number on a card, with or without a flush before they say so.
    fn acknowledged_and_found(seed: u64, flushes: bool) -> (u8, u8) {
        let (_file, mut card) = card();
        let mut random = Random::new(seed * 977);
        let acknowledged = 1 + u8::try_from(random.below(20)).unwrap();
        for number in 1..=acknowledged {
            card.write(at(0), filled(number, 1), Lasting::Later).unwrap();
            if flushes {
                card.flush().unwrap();
            }
        }
        card.cut(&mut random).unwrap();
        (acknowledged, look(&card)[0])
    }

    #[test]
    fn who_does_not_flush_before_they_acknowledge_is_found_out() {
        let lost = |flushes| {
            let outcomes = (0..SEEDS).map(|seed| acknowledged_and_found(seed, flushes));
            outcomes.filter(|(acknowledged, found)| found < acknowledged).count()
        };
        assert_eq!(lost(true), 0);
        assert!(lost(false) > 100, "{} of {SEEDS}", lost(false));
    }
}
