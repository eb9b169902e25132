//! The device's own key: what is secret lies on flash only in a form that this board can read.
//!
//! The key is made of a random file beside the objects and of what tells the board from others
//! (its serial number), so that a card that was taken out, or a copy of it, tells nobody anything.
//! Whoever can run programs as root on the board itself can read everything that it can.
//!
//! ```text
//! bytes 0..12   nonce, random
//! bytes 12..    ChaCha20-Poly1305 (RFC 8439) of the content, its name as additional data
//! ```

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

use crate::ports::Random;

/// Bytes of the random file.
pub(super) const KEY_LEN: usize = 32;

const NONCE_LEN: usize = 12;

/// Makes keys of this purpose different from any other that may be made of the same file.
const PURPOSE: &[&[u8]] = &[b"mote: secrets on flash, 1"];

/// The key that seals what is secret.
#[derive(Clone)]
pub(super) struct DeviceKey(LessSafeKey);

/// The key as far as there is one, and what the next one will be made of.
#[derive(Debug)]
pub(super) struct Device {
    /// None where no secret was read or written yet.
    pub(super) key: Option<DeviceKey>,
    /// What tells the board from others.
    pub(super) board: Vec<u8>,
}

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceKey")
    }
}

/// A sealed file that this board cannot read: it was changed, or another board wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was sealed by another device, or changed since")]
pub(super) struct Unreadable;

impl DeviceKey {
    /// The key of a board that has this file.
    pub(super) fn new(file: &[u8; KEY_LEN], board: &[u8]) -> Option<Self> {
        let secret = Salt::new(HKDF_SHA256, board).extract(file);
        let key = secret.expand(PURPOSE, &CHACHA20_POLY1305).ok()?;
        Some(Self(LessSafeKey::new(UnboundKey::from(key))))
    }

    /// Seals what is called `name`; none where the cipher refuses, which it does beyond 256 GiB.
    pub(super) fn seal(&self, name: &str, content: &[u8], random: &impl Random) -> Option<Vec<u8>> {
        let nonce = nonce(random);
        let mut sealed =
            Vec::with_capacity(NONCE_LEN + content.len() + CHACHA20_POLY1305.tag_len());
        sealed.extend_from_slice(&nonce);
        let mut text = content.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(nonce, Aad::from(name.as_bytes()), &mut text).ok()?;
        sealed.append(&mut text);
        Some(sealed)
    }

    /// What was sealed under this name.
    pub(super) fn open(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Unreadable)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place(nonce, Aad::from(name.as_bytes()), &mut text);
        let len = opened.map_err(|_| Unreadable)?.len();
        text.truncate(len);
        Ok(text)
    }
}

fn nonce(random: &impl Random) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    let (high, low) = nonce.split_at_mut(8);
    high.copy_from_slice(&random.next().to_le_bytes());
    low.copy_from_slice(&random.next().to_le_bytes()[..4]);
    nonce
}

/// A file for a board that has none.
pub(super) fn new_file(random: &impl Random) -> [u8; KEY_LEN] {
    let mut file = [0; KEY_LEN];
    for part in file.chunks_exact_mut(8) {
        part.copy_from_slice(&random.next().to_le_bytes());
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::KernelRandom;

    #[test]
    fn only_the_same_board_reads_it_and_under_its_name_only() {
        let file = new_file(&KernelRandom);
        let key = |board: &[u8]| DeviceKey::new(&file, board).expect("a key");
        let sealed = key(b"pi").seal("secret/a/b", b"hunter2", &KernelRandom).expect("sealed");
        assert_eq!(sealed.len(), 12 + 7 + 16);
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
        assert_eq!(key(b"pi").open("secret/a/b", &sealed), Ok(b"hunter2".to_vec()));
        assert_eq!(key(b"other").open("secret/a/b", &sealed), Err(Unreadable));
        assert_eq!(key(b"pi").open("secret/a/c", &sealed), Err(Unreadable));
        let other = new_file(&KernelRandom);
        let other = DeviceKey::new(&other, b"pi").expect("a key");
        assert_eq!(other.open("secret/a/b", &sealed), Err(Unreadable));
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(key(b"pi").open("secret/a/b", &changed), Err(Unreadable), "byte {place}");
        }
        assert_eq!(key(b"pi").open("secret/a/b", &sealed[..20]), Err(Unreadable));
    }

    #[test]
    fn the_same_content_is_sealed_differently_each_time() {
        let key = DeviceKey::new(&new_file(&KernelRandom), b"pi").expect("a key");
        let seal = || key.seal("n", b"same", &KernelRandom).expect("sealed");
        assert_ne!(seal(), seal());
    }
}
