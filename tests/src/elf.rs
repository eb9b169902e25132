//! What the tests read out of ELF files: machine, interpreter, sections.
//!
//! Only 64-bit little-endian files, the kind every machine here runs. Offsets come from the file
//! and are never trusted: what lies outside it is an error.

use anyhow::{Context, Result, ensure};

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
}

impl<'a> Elf<'a> {
    /// Looks at the identification only.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        ensure!(bytes.starts_with(b"\x7fELF"), "not an ELF file");
        ensure!(bytes.get(4..6) == Some(&[2, 1]), "not a 64-bit little-endian ELF file");
        Ok(Self { bytes })
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
        let table = self.word(0x20)?;
        let (size, count) = (self.half(0x36)?, self.half(0x38)?);
        for number in 0..u64::from(count) {
            let segment = table + number * u64::from(size);
            if self.bytes(segment, 4)? == PT_INTERP.to_le_bytes() {
                let (start, len) = (self.word(segment + 8)?, self.word(segment + 0x20)?);
                let path = self.bytes(start, len)?;
                return Ok(Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned()));
            }
        }
        Ok(None)
    }

    /// The contents of a section, if there is one of that name.
    pub fn section(self, name: &str) -> Result<Option<&'a [u8]>> {
        let names = self.section_at(self.half(0x3e)?)?;
        for number in 0..self.half(0x3c)? {
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
        Ok(self.word(0x28)? + u64::from(number) * u64::from(self.half(0x3a)?))
    }

    fn section_at(self, number: u16) -> Result<&'a [u8]> {
        let header = self.section_header(number)?;
        self.bytes(self.word(header + 0x18)?, self.word(header + 0x20)?)
    }

    fn half(self, at: u64) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    fn word(self, at: u64) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(at)?))
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
}
