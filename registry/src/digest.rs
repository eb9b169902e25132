//! SHA-256 digests: parsed, printed, and computed while bytes pass by.
//!
//! Content addressing is the store's only defence against a registry, a proxy or a card that
//! changes bytes, so nothing that claims a digest is used before [`Verifying`] has seen its end.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// Bytes of a SHA-256 digest.
const LEN: usize = 32;

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; LEN]);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The algorithm is missing or not one we can verify.
    #[error("digest {0:?} is not sha256, the only algorithm that is verified here")]
    Algorithm(String),
    /// Wrong length, or a character outside `0-9a-f`.
    #[error("digest {0:?} is not followed by 64 lower-case hexadecimal digits")]
    Hex(String),
}

impl Digest {
    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; LEN]) -> Self {
        Self(bytes)
    }

    /// The digest of `data`.
    pub fn of(data: &[u8]) -> Self {
        Hasher::default().chain(data).finish()
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// The hexadecimal part alone: a file name.
    pub fn hex(&self) -> String {
        use fmt::Write;
        let mut text = String::with_capacity(2 * LEN);
        for byte in self.0 {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Parses the hexadecimal part alone.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        let error = || DigestError::Hex(shorten(hex));
        let mut bytes = [0; LEN];
        if hex.len() != 2 * LEN {
            return Err(error());
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else { return Err(error()) };
            let digit = |c: u8| match c {
                b'0'..=b'9' => Some(c - b'0'),
                b'a'..=b'f' => Some(c - b'a' + 10),
                _ => None,
            };
            *byte = digit(*high).ok_or_else(error)? << 4 | digit(*low).ok_or_else(error)?;
        }
        Ok(Self(bytes))
    }
}

/// The start of a text that is about to be quoted in an error.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex =
            text.strip_prefix("sha256:").ok_or_else(|| DigestError::Algorithm(shorten(text)))?;
        Self::from_hex(hex)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes a digest piece by piece.
#[derive(Clone)]
pub struct Hasher(Context);

impl Default for Hasher {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Hasher {
    /// Takes in more bytes.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Takes in more bytes, for building in one expression.
    #[must_use]
    pub fn chain(mut self, data: &[u8]) -> Self {
        self.update(data);
        self
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Digest {
        let mut bytes = [0; LEN];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

/// What was read is not what its digest promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, {length} bytes arrived with {actual}")]
pub struct Mismatch {
    /// The digest that was promised.
    pub expected: Digest,
    /// The digest of what came.
    pub actual: Digest,
    /// How many bytes came.
    pub length: u64,
}

/// A reader that computes the digest of all that passes through it.
pub struct Verifying<R> {
    inner: R,
    hasher: Hasher,
    length: u64,
}

impl<R: Read> Verifying<R> {
    /// Watches what is read from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::default(), length: 0 }
    }

    /// How many bytes have passed.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Compares what has passed with what was promised.
    pub fn verify(self, expected: Digest) -> Result<(), Mismatch> {
        let actual = self.hasher.finish();
        if actual == expected {
            Ok(())
        } else {
            Err(Mismatch { expected, actual, length: self.length })
        }
    }
}

impl<R: Read> Read for Verifying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.length += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(b""));
    }

    #[test]
    fn other_algorithms_and_spellings_are_refused() {
        assert!(matches!("sha512:00".parse::<Digest>(), Err(DigestError::Algorithm(_))));
        assert!(matches!("sha256:00".parse::<Digest>(), Err(DigestError::Hex(_))));
        assert!(matches!(EMPTY.to_uppercase().parse::<Digest>(), Err(DigestError::Algorithm(_))));
        let upper = EMPTY.replace("e3b0", "E3B0");
        assert!(matches!(upper.parse::<Digest>(), Err(DigestError::Hex(_))));
    }

    #[test]
    fn reader_notices_one_changed_byte() {
        let mut reader = Verifying::new(&b"hello"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        let error = reader.verify(Digest::of(b"hellO")).unwrap_err();
        assert_eq!((error.actual, error.length), (Digest::of(b"hello"), 5));
    }
}
