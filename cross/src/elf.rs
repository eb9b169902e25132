//! What is read out of ELF files: machine, interpreter, sections.
//!
//! Little-endian files of both word sizes, the kinds that boards and the machines that build for them
//! run. Offsets come from the file and are never trusted: what lies outside it is an error.

use anyhow::{Context, Result, bail, ensure};

/// `e_machine` of 32-bit ARM.
pub const ARM: u16 = 40;
/// `e_machine` of x86-64.
pub const X86_64: u16 = 62;
/// `e_machine` of 64-bit ARM.
pub const AARCH64: u16 = 183;

/// `p_type` of the segment that names a dynamic linker.
const PT_INTERP: u32 = 3;

/// An ELF file in memory.
#[derive(Clone, Copy, Debug)]
pub struct Elf<'a> {
    bytes: &'a [u8],
    layout: &'static Layout,
}

/// Where fields are, which depends on the size of a word.
#[derive(Debug)]
struct Layout {
    /// Bytes of an offset or a size.
    word: u64,
    /// The table of segments: its offset, the size of an entry, how many there are.
    segments: [u64; 3],
    /// The table of sections, in the same way, and which of them holds the names.
    sections: [u64; 4],
    /// In an entry for a segment: where it is in the file, and its length there.
    segment: [u64; 2],
    /// In an entry for a section: the same.
    section: [u64; 2],
}

const LAYOUT_32: Layout = Layout {
    word: 4,
    segments: [0x1c, 0x2a, 0x2c],
    sections: [0x20, 0x2e, 0x30, 0x32],
    segment: [4, 0x10],
    section: [0x10, 0x14],
};

const LAYOUT_64: Layout = Layout {
    word: 8,
    segments: [0x20, 0x36, 0x38],
    sections: [0x28, 0x3a, 0x3c, 0x3e],
    segment: [8, 0x20],
    section: [0x18, 0x20],
};

impl<'a> Elf<'a> {
    /// Looks at the identification only.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        ensure!(bytes.starts_with(b"\x7fELF"), "not an ELF file");
        let layout = match bytes.get(4..6) {
            Some([1, 1]) => &LAYOUT_32,
            Some([2, 1]) => &LAYOUT_64,
            _ => bail!("not a little-endian ELF file"),
        };
        Ok(Self { bytes, layout })
    }

    /// Which processor it is for.
    pub fn machine(self) -> Result<u16> {
        self.half(0x12)
    }

    /// Whether the kernel must load a dynamic linker to run it.
    pub fn needs_interpreter(self) -> Result<bool> {
        Ok(self.interpreter()?.is_some())
    }

    /// The path of the dynamic linker that the kernel must load to run it.
    pub fn interpreter(self) -> Result<Option<String>> {
        let [table, size, count] = self.layout.segments;
        let (table, size, count) = (self.word(table)?, self.half(size)?, self.half(count)?);
        for number in 0..u64::from(count) {
            let segment = table + number * u64::from(size);
            if self.bytes(segment, 4)? == PT_INTERP.to_le_bytes() {
                let [start, length] = self.layout.segment;
                let path = self.bytes(self.word(segment + start)?, self.word(segment + length)?)?;
                return Ok(Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned()));
            }
        }
        Ok(None)
    }

    /// The contents of a section, if there is one of that name.
    pub fn section(self, name: &str) -> Result<Option<&'a [u8]>> {
        let [_, _, count, names] = self.layout.sections;
        let names = self.section_at(self.half(names)?)?;
        for number in 0..self.half(count)? {
            let header = self.section_header(number)?;
            let start = u32::from_le_bytes(self.array(header)?);
            let found = names
                .get(usize::try_from(start)?..)
                .and_then(|rest| rest.split(|b| *b == 0).next());
            if found == Some(name.as_bytes()) {
                return self.section_at(number).map(Some);
            }
        }
        Ok(None)
    }

    fn section_header(self, number: u16) -> Result<u64> {
        let [table, size, ..] = self.layout.sections;
        let offset = u64::from(number) * u64::from(self.half(size)?);
        self.word(table)?.checked_add(offset).context("an offset is too large")
    }

    fn section_at(self, number: u16) -> Result<&'a [u8]> {
        let header = self.section_header(number)?;
        let [start, length] = self.layout.section;
        self.bytes(self.word(header + start)?, self.word(header + length)?)
    }

    fn half(self, at: u64) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    /// An offset or a size, of the file's own word size.
    fn word(self, at: u64) -> Result<u64> {
        if self.layout.word == 4 {
            return Ok(u32::from_le_bytes(self.array(at)?).into());
        }
        // Beyond this no file reaches, and sums with it stay in range.
        let word = u64::from_le_bytes(self.array(at)?);
        ensure!(word <= u64::from(u32::MAX) * 4096, "an offset is too large");
        Ok(word)
    }

    fn array<const N: usize>(self, at: u64) -> Result<[u8; N]> {
        Ok(self.bytes(at, N.try_into()?)?.try_into()?)
    }

    fn bytes(self, at: u64, length: u64) -> Result<&'a [u8]> {
        let end = at.checked_add(length).context("an offset is too large")?;
        let range = usize::try_from(at)?..usize::try_from(end)?;
        self.bytes.get(range).with_context(|| format!("the file ends before byte {end}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_an_elf_file_with_code() {
        let program = std::fs::read("/proc/self/exe").expect("read the test itself");
        let elf = Elf::parse(&program).expect("parse");
        let expected = if cfg!(target_arch = "aarch64") { AARCH64 } else { X86_64 };
        assert_eq!(elf.machine().expect("machine"), expected);
        assert!(elf.section(".text").expect("sections").is_some_and(|code| !code.is_empty()));
        assert!(elf.section(".no-such").expect("sections").is_none());
        let dynamic = elf.section(".interp").expect("sections").is_some();
        assert_eq!(elf.needs_interpreter().expect("segments"), dynamic);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error_and_no_panic() {
        let program = std::fs::read("/proc/self/exe").expect("read the test itself");
        for length in 0..64 {
            let Ok(elf) = Elf::parse(&program[..length]) else { continue };
            assert!(elf.section(".text").is_err());
            assert!(elf.needs_interpreter().is_err());
        }
    }

    /// A program of 32 bits with one segment, which names a dynamic linker.
    fn small(machine: u16) -> Vec<u8> {
        let mut file = vec![0; 0x34 + 0x20];
        file[..6].copy_from_slice(b"\x7fELF\x01\x01");
        file[0x12..0x14].copy_from_slice(&machine.to_le_bytes());
        file[0x1c] = 0x34;
        file[0x2a] = 0x20;
        file[0x2c] = 1;
        file[0x34] = 3;
        file[0x38] = 0x54;
        let linker = b"/lib/ld-linux-armhf.so.3\0";
        file[0x44] = u8::try_from(linker.len()).expect("short");
        file.extend(linker);
        file
    }

    #[test]
    fn files_of_32_bits_are_read_as_well() {
        let file = small(ARM);
        let elf = Elf::parse(&file).expect("parse");
        assert_eq!(elf.machine().expect("machine"), ARM);
        let linker = elf.interpreter().expect("segments");
        assert_eq!(linker.as_deref(), Some("/lib/ld-linux-armhf.so.3"));
        assert!(Elf::parse(&file[..file.len() - 1]).expect("parse").interpreter().is_err());
    }
}
