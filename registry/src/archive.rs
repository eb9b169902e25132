//! An image layout in one file (a tar archive of an OCI image layout), written from front to back.
//!
//! The same entries in the same order give the same bytes: no entry has a time or an owner.

use std::io::{self, Write};

use serde::Serialize;
use tar::{EntryType, Header};

use crate::digest::Digest;
use crate::manifest::Descriptor;
use crate::media_type::OCI_INDEX;

/// Archives are made of blocks of this size.
const BLOCK: u64 = 512;
/// Two empty blocks end an archive.
const END: [u8; 1024] = [0; 1024];

/// Most images of one archive: more than that no node takes from one.
pub const MAX_IMAGES: usize = 256;

/// The entry that says what this is, and what it holds.
pub const MARKER: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
/// The entry that lists the images.
pub const INDEX: &str = "index.json";

/// The entry of a blob.
pub fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// What the entry `index.json` holds.
pub fn index(manifests: &[Descriptor]) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Written<'a> {
        schema_version: u32,
        media_type: &'static str,
        manifests: &'a [Descriptor],
    }
    serde_json::to_vec(&Written { schema_version: 2, media_type: OCI_INDEX, manifests })
}

/// Bytes that an entry takes in an archive.
pub const fn room_of(size: u64) -> u64 {
    // A registry may say any size.
    (size.saturating_add(BLOCK - 1) / BLOCK).saturating_add(1).saturating_mul(BLOCK)
}

/// Bytes that end an archive.
pub const ROOM_OF_END: u64 = END.len() as u64;

/// An archive that is being written. What is written to it is content of the entry that was begun
/// last.
pub struct Archive<W> {
    output: W,
    length: u64,
    /// Bytes of the entry that are still to come.
    missing: u64,
}

impl<W: Write> Archive<W> {
    /// Begins one.
    pub const fn new(output: W) -> Self {
        Self { output, length: 0, missing: 0 }
    }

    /// Bytes of the last entry that are still to come.
    pub const fn missing(&self) -> u64 {
        self.missing
    }

    /// Writes a whole entry.
    pub fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.begin(name, content.len() as u64)?;
        self.write_all(content)
    }

    /// Begins an entry of `size` bytes, which follow.
    pub fn begin(&mut self, name: &str, size: u64) -> io::Result<()> {
        self.pad()?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_path(name)?;
        header.set_cksum();
        self.put(header.as_bytes())?;
        self.missing = size;
        Ok(())
    }

    /// Ends it; gives what it was written to, and its length.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.pad()?;
        self.put(&END)?;
        self.output.flush()?;
        Ok((self.output, self.length))
    }

    /// Fills the last block of the last entry.
    fn pad(&mut self) -> io::Result<()> {
        if self.missing > 0 {
            let text = format!("an entry lacks {} bytes", self.missing);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let padding = self.length.next_multiple_of(BLOCK) - self.length;
        let padding = usize::try_from(padding).unwrap_or(0);
        self.put(END.get(..padding).unwrap_or_default())
    }

    fn put(&mut self, data: &[u8]) -> io::Result<()> {
        self.output.write_all(data)?;
        self.length += data.len() as u64;
        Ok(())
    }
}

impl<W: Write> Write for Archive<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() as u64 > self.missing {
            let text = "an entry has more bytes than was said";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let count = self.output.write(data)?;
        self.length += count as u64;
        self.missing -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_as_long_as_was_said() {
        let contents: [(&str, &[u8]); 4] = [("a", b""), ("b", b"x"), ("c", &[7; 512]), MARKER];
        let mut archive = Archive::new(Vec::new());
        for (name, content) in contents {
            archive.file(name, content).unwrap();
        }
        let (bytes, length) = archive.finish().unwrap();
        let said: u64 = contents.iter().map(|(_, content)| room_of(content.len() as u64)).sum();
        assert_eq!((bytes.len() as u64, length), (said + ROOM_OF_END, said + ROOM_OF_END));
        let mut read = tar::Archive::new(bytes.as_slice());
        for (entry, (name, content)) in read.entries().unwrap().zip(contents) {
            let mut entry = entry.unwrap();
            assert_eq!(entry.path().unwrap().to_str(), Some(name));
            assert_eq!(entry.header().mtime().unwrap(), 0);
            let mut found = Vec::new();
            entry.read_to_end(&mut found).unwrap();
            assert_eq!(found, content);
        }
    }

    #[test]
    fn the_room_of_any_size_can_be_told() {
        assert_eq!([0, 1, 512, 513].map(room_of), [512, 1024, 1024, 1536]);
        assert_eq!(room_of(u64::MAX), u64::MAX);
    }

    #[test]
    fn an_entry_has_as_many_bytes_as_was_said() {
        let mut archive = Archive::new(Vec::new());
        archive.begin("a", 2).unwrap();
        assert!(archive.write_all(b"abc").is_err());
        archive.write_all(b"a").unwrap();
        assert_eq!(archive.missing(), 1);
        assert!(archive.begin("b", 0).is_err() && archive.finish().is_err());
    }
}
