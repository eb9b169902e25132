//! What the store writes down about layers and names, as small JSON files.

use mote_registry::digest::Digest;
use mote_registry::reference::Reference;
use serde::{Deserialize, Serialize};

use crate::image::room::Amount;

/// Largest record that is read back.
pub(super) const MAX_RECORD: u64 = 4096;

/// A layer that is complete. Its record is written last, so a directory without one is rubbish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Digest of the unpacked archive: what the layer is, however it was packed.
    pub diff_id: Digest,
    /// Name of its directory.
    pub directory: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Entries of its archive.
    pub entries: u64,
    /// It hides all layers beneath it.
    pub opaque_root: bool,
    /// What it takes on disk; nothing in records of older versions.
    #[serde(default)]
    pub taken: Amount,
}

impl LayerRecord {
    /// What is free when it goes. Where that was not written down: each name has an inode, and a block
    /// of a directory or of its own.
    pub(super) fn taken(&self) -> Amount {
        if self.taken != Amount::default() {
            return self.taken;
        }
        let bytes = self.bytes.saturating_add(self.entries.saturating_mul(4096));
        Amount { bytes, inodes: self.entries }
    }
}

/// What a name stood for when a registry was last asked, or what an archive brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRecord {
    /// The full reference; none for an image that was imported without a name.
    pub name: Option<String>,
    /// What the registry said the name is: an index or a manifest.
    pub target: Digest,
    /// The manifest for this node's platform.
    pub manifest: Digest,
}

impl NameRecord {
    /// The name of the record's file: names have slashes and may be long.
    pub(super) fn key(&self) -> String {
        match &self.name {
            Some(name) => key(name),
            None => key(&self.manifest.to_string()),
        }
    }

    /// `repository@digest` as the registry knows it, or the digest alone.
    pub(super) fn digest_reference(&self) -> String {
        let reference = self.name.as_deref().and_then(|name| name.parse().ok());
        match reference {
            Some(reference) => Reference::at(&reference, self.target).to_string(),
            None => self.manifest.to_string(),
        }
    }
}

/// The name of the file for a reference's record.
pub(super) fn key(name: &str) -> String {
    Digest::of(name.as_bytes()).hex()
}

/// Candidates for the short name of a layer's directory, in order.
///
/// Eight letters and digits hold 40 bits: overlay's options must fit one page, so names are as
/// short as they can be while an accident stays unlikely. Whoever makes two layers collide on
/// purpose gets the next candidate.
pub(super) fn short_names(digest: &Digest) -> impl Iterator<Item = String> + '_ {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    digest.as_bytes().chunks_exact(5).map(|chunk| {
        let bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let letter = |at: u32| ALPHABET.get((bits >> (5 * at) & 31) as usize).copied();
        (0..8).rev().filter_map(letter).map(char::from).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_short_and_differ() {
        let names: Vec<String> = short_names(&Digest::of(b"x")).collect();
        assert_eq!(names.len(), 6);
        assert!(names.iter().all(|name| name.len() == 8));
        assert_ne!(names[0], names[1]);
        assert_ne!(names[0], short_names(&Digest::of(b"y")).next().unwrap());
        assert_eq!(short_names(&Digest::from_bytes([0xff; 32])).next().unwrap(), "77777777");
    }

    #[test]
    fn records_of_older_versions_are_read() {
        let diff_id = Digest::of(b"x");
        let old = format!(
            r#"{{"diff_id":"{diff_id}","directory":"abcdefgh","bytes":10,"entries":3,
                "opaque_root":false}}"#
        );
        let record: LayerRecord = serde_json::from_str(&old).unwrap();
        assert_eq!(record.taken(), Amount { bytes: 10 + 3 * 4096, inodes: 3 });
        let taken = Amount { bytes: 8192, inodes: 2 };
        assert_eq!(LayerRecord { taken, ..record }.taken(), taken);
    }

    #[test]
    fn digest_reference_has_the_repository_and_what_the_registry_said() {
        let (target, manifest) = (Digest::of(b"index"), Digest::of(b"manifest"));
        let name = Some("r.example/a:1".to_owned());
        let record = NameRecord { name, target, manifest };
        assert_eq!(record.digest_reference(), format!("r.example/a@{target}"));
        assert_eq!(NameRecord { name: None, ..record }.digest_reference(), manifest.to_string());
    }
}
