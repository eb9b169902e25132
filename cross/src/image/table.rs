//! The table of partitions in the first sector of a card. PURE.

use anyhow::{Context, Result, bail, ensure};

/// Bytes of a sector, as the table counts.
pub const SECTOR: usize = 512;

/// Where the four entries begin, and how long each is.
const ENTRIES: usize = 446;
const ENTRY: usize = 16;

/// Kinds with a FAT file system.
const FAT: [u8; 3] = [0x0b, 0x0c, 0x0e];
/// Linux.
const LINUX: u8 = 0x83;
/// A card with another kind of table, of which this one only keeps others away.
const PROTECTIVE: u8 = 0xee;

/// A part of an image, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub length: u64,
}

/// The two partitions of a Raspberry Pi's card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// What the firmware reads: FAT.
    pub boot: Partition,
    /// What Linux boots from.
    pub root: Partition,
}

/// Whether a first sector has a table.
pub fn check(sector: &[u8]) -> Result<()> {
    ensure!(sector.get(510..512) == Some(&[0x55, 0xaa]), "there is no table of partitions");
    Ok(())
}

impl Card {
    /// A first sector that says so, of a card with this number.
    pub fn sector(&self, number: u32) -> Result<[u8; SECTOR]> {
        let mut sector = [0; SECTOR];
        sector[ENTRIES - 6..ENTRIES - 2].copy_from_slice(&number.to_le_bytes());
        let kinds = [(FAT[1], self.boot), (LINUX, self.root)];
        for (entry, (kind, partition)) in sector[ENTRIES..].chunks_exact_mut(ENTRY).zip(kinds) {
            // Beyond what cylinders can count: everybody reads the numbers of sectors.
            entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
            entry[4] = kind;
            entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
            for (place, bytes) in [(8, partition.start), (12, partition.length)] {
                let sectors =
                    u32::try_from(bytes / SECTOR as u64).context("a card of that size")?;
                entry[place..place + 4].copy_from_slice(&sectors.to_le_bytes());
            }
        }
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        Ok(sector)
    }

    /// Reads the first sector of an image of `length` bytes.
    pub fn read(sector: &[u8], length: u64) -> Result<Self> {
        check(sector)?;
        let bytes = SECTOR as u64;
        let mut boot = None;
        let mut root = None;
        for entry in sector[ENTRIES..510].chunks_exact(ENTRY) {
            let number = |at: usize| -> Result<u64> {
                Ok(u32::from_le_bytes(entry[at..at + 4].try_into()?).into())
            };
            let start = number(8)? * bytes;
            let partition = Partition { start, length: number(12)? * bytes };
            match entry[4] {
                PROTECTIVE => {
                    bail!("the table of partitions is a GPT, and a Raspberry Pi's is not")
                }
                kind if FAT.contains(&kind) && boot.is_none() => boot = Some(partition),
                LINUX if root.is_none() => root = Some(partition),
                _ => {}
            }
        }
        let card = Self {
            boot: boot.context("there is no partition with FAT for the firmware")?,
            root: root.context("there is no partition for Linux")?,
        };
        for Partition { start, length: size } in [card.boot, card.root] {
            let inside = start >= bytes && size > 0 && start + size <= length;
            ensure!(
                inside,
                "a partition reaches beyond the image: is it cut off, or still packed?"
            );
        }
        Ok(card)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(entries: &[(u8, u32, u32)]) -> [u8; 512] {
        let mut sector = [0; 512];
        for (place, (kind, start, length)) in entries.iter().enumerate() {
            let entry = &mut sector[ENTRIES + place * ENTRY..][..ENTRY];
            entry[4] = *kind;
            entry[8..12].copy_from_slice(&start.to_le_bytes());
            entry[12..16].copy_from_slice(&length.to_le_bytes());
        }
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    #[test]
    fn the_two_partitions_of_a_card_are_found() {
        let card = Card::read(&sector(&[(0x0c, 8, 16), (0x83, 24, 40)]), 64 * 512).expect("a card");
        assert_eq!(card.boot, Partition { start: 8 * 512, length: 16 * 512 });
        assert_eq!(card.root, Partition { start: 24 * 512, length: 40 * 512 });
    }

    #[test]
    fn a_sector_that_was_written_is_read() {
        let boot = Partition { start: 4 << 20, length: 512 << 20 };
        let root = Partition { start: 516 << 20, length: 3 << 30 };
        let card = Card { boot, root };
        let sector = card.sector(0x6d6f_7465).expect("a sector");
        assert_eq!(Card::read(&sector, 4 << 30).expect("a card"), card);
        assert_eq!(sector[440..444], *b"etom");
        let large = Partition { length: 4096 << 30, ..root };
        assert!(Card { boot, root: large }.sector(1).is_err());
    }

    #[test]
    fn what_is_no_card_is_refused_with_its_reason() {
        let error =
            |sector: &[u8], length| Card::read(sector, length).expect_err("refused").to_string();
        assert_eq!(error(&[0; 512], 512), "there is no table of partitions");
        assert_eq!(error(b"xz", 2), "there is no table of partitions");
        let gpt = sector(&[(PROTECTIVE, 1, 1)]);
        assert!(error(&gpt, 1024).contains("GPT"));
        let short = sector(&[(0x0c, 8, 16), (0x83, 24, u32::MAX)]);
        assert!(error(&short, 64 * 512).contains("cut off"));
        assert!(error(&sector(&[(0x0c, 8, 16)]), 64 * 512).contains("for Linux"));
    }
}
