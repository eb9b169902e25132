//! Writes the archive a Linux kernel unpacks into its first file system: cpio in the "newc" form.
//!
//! Only what a board needs: directories, files, symbolic links and the console's device node,
//! which no ordinary user could create in a directory.

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive being written; [`Cpio::finish`] must be called at the end.
#[derive(Debug)]
pub struct Cpio<W> {
    out: W,
    inode: u32,
}

struct Entry<'a> {
    name: &'a str,
    mode: u32,
    device: (u32, u32),
    contents: &'a [u8],
}

impl<W: Write> Cpio<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// A directory; its parents must have been written before.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.entry(&Entry { name, mode: DIRECTORY | 0o755, device: (0, 0), contents: &[] })
    }

    /// A file with its permissions.
    pub fn file(&mut self, name: &str, permissions: u32, contents: &[u8]) -> io::Result<()> {
        self.entry(&Entry { name, mode: FILE | permissions, device: (0, 0), contents })
    }

    /// A symbolic link.
    pub fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        let contents = target.as_bytes();
        self.entry(&Entry { name, mode: LINK | 0o777, device: (0, 0), contents })
    }

    /// A character device.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) -> io::Result<()> {
        let mode = CHARACTER_DEVICE | 0o600;
        self.entry(&Entry { name, mode, device: (major, minor), contents: &[] })
    }

    /// Closes the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry(&Entry { name: "TRAILER!!!", mode: 0, device: (0, 0), contents: &[] })?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.inode += 1;
        let size = |length: usize| u32::try_from(length).map_err(io::Error::other);
        let fields = [
            self.inode,
            entry.mode,
            0, // owner: root
            0, // group: root
            1, // links
            0, // time: none, so that equal contents make equal archives
            size(entry.contents.len())?,
            0, // device that holds the file
            0,
            entry.device.0,
            entry.device.1,
            size(entry.name.len() + 1)?,
            0, // checksum: none in this form
        ];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        let head = 6 + 8 * fields.len();
        self.out.write_all(entry.name.as_bytes())?;
        self.pad(1, head + entry.name.len() + 1)?;
        self.out.write_all(entry.contents)?;
        self.pad(0, entry.contents.len())
    }

    /// `at_least` zero bytes, and as many more as the next multiple of four wants after `length`.
    fn pad(&mut self, at_least: usize, length: usize) -> io::Result<()> {
        let padding = length.next_multiple_of(4) - length;
        self.out.write_all(&[0; 4][..at_least + padding])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_byte_for_byte_what_the_kernel_documents() {
        let mut cpio = Cpio::new(Vec::new());
        cpio.file("etc/x", 0o644, b"hello").expect("write to memory");
        cpio.device("c", 5, 1).expect("write to memory");
        let bytes = cpio.finish().expect("write to memory");
        let expected = concat!(
            "070701",
            "00000001",
            "000081a4",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000005",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000006",
            "00000000",
            "etc/x\0",
            "hello\0\0\0",
            "070701",
            "00000002",
            "00002180",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000005",
            "00000001",
            "00000002",
            "00000000",
            "c\0",
            "070701",
            "00000003",
            "00000000",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "0000000b",
            "00000000",
            "TRAILER!!!\0\0\0\0",
        );
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }
}
