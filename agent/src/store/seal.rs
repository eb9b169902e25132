//! The envelope around each file, so that damage is noticed and never acted upon.
//!
//! ```text
//! bytes 0..4   "mote"
//! byte 4       version of the envelope and of what it holds (1)
//! bytes 5..13  first eight bytes of the SHA-256 of version and content
//! bytes 13..   content (postcard)
//! ```

use ring::digest::{Context, Digest, SHA256, digest};
use serde::Serialize;
use serde::de::DeserializeOwned;

const MAGIC: &[u8; 4] = b"mote";
const VERSION: u8 = 1;

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    /// Too short, or not one of ours.
    #[error("file is none of this agent's")]
    Foreign,
    /// Written by a newer agent.
    #[error("file has version {found}, this agent knows {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// The content is not what was written.
    #[error("file does not have the checksum that it was written with")]
    Damaged,
    /// The checksum is right, the content makes no sense.
    #[error("file does not decode: {0}")]
    Content(#[from] postcard::Error),
}

/// First eight bytes of the SHA-256.
pub(super) fn short_hash(bytes: &[u8]) -> [u8; 8] {
    shortened(digest(&SHA256, bytes))
}

/// The version counts too: one that rotted would make an old file look like a newer agent's, which
/// nobody sets aside.
fn checksum(version: u8, content: &[u8]) -> [u8; 8] {
    let mut context = Context::new(&SHA256);
    context.update(&[version]);
    context.update(content);
    shortened(context.finish())
}

fn shortened(digest: Digest) -> [u8; 8] {
    let mut short = [0; 8];
    for (to, from) in short.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    short
}

/// Bytes before the content.
const HEAD: usize = 13;

/// The file that holds `content`.
pub(super) fn seal<T: Serialize>(content: &T) -> Result<Vec<u8>, SealError> {
    let content = postcard::to_allocvec(content)?;
    Ok([head(&content).as_slice(), &content].concat())
}

/// What stands before some content.
pub(super) fn head(content: &[u8]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let sum = checksum(VERSION, content);
    let parts = MAGIC.iter().chain([&VERSION]).chain(&sum);
    head.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
    head
}

/// What a file holds.
pub(super) fn unseal<T: DeserializeOwned>(file: &[u8]) -> Result<T, SealError> {
    let rest = file.strip_prefix(MAGIC).ok_or(SealError::Foreign)?;
    let (version, rest) = rest.split_first().ok_or(SealError::Foreign)?;
    let (hash, content) = rest.split_first_chunk::<8>().ok_or(SealError::Foreign)?;
    if *hash != checksum(*version, content) {
        return Err(SealError::Damaged);
    }
    if *version != VERSION {
        return Err(SealError::Version { found: *version });
    }
    Ok(postcard::from_bytes(content)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_single_changed_byte_goes_unnoticed() {
        let file = seal(&("content", 7_u32)).unwrap();
        assert_eq!(unseal::<(String, u32)>(&file), Ok(("content".to_owned(), 7)));
        for place in 0..file.len() {
            let mut changed = file.clone();
            changed[place] ^= 1;
            let newer = |error: &SealError| matches!(error, SealError::Version { .. });
            let error = unseal::<(String, u32)>(&changed).expect_err("it was changed");
            assert!(!newer(&error), "byte {place}: {error}");
        }
        for len in 0..file.len() {
            assert!(unseal::<(String, u32)>(&file[..len]).is_err(), "{len} bytes");
        }
    }
}
