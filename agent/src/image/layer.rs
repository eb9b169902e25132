//! One layer's way into the store: read, inflated, unpacked and verified in one pass.
//!
//! The packed bytes must have the descriptor's digest and the unpacked ones the configuration's.
//! Both are known only at the end, so a layer is unpacked aside and becomes part of the store after
//! both have been compared.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::digest::{Digest, Mismatch, Verifying};
use super::manifest::Descriptor;
use super::store::{LayerRecord, Staging, StoreError, Writer};
use super::unpack::{Bounded, Limits, UnpackError, Unpacked, unpack};

/// How much is read and inflated at a time.
const BUFFER: usize = 64 * 1024;

/// Why a layer is not in the store.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The bytes could not be had.
    #[error("read the layer")]
    Read(#[source] io::Error),
    /// The bytes came, and are no layer this node accepts.
    #[error(transparent)]
    Unpack(UnpackError),
    /// Fewer bytes than the manifest promised.
    #[error("it has {actual} bytes, the manifest promises {expected}")]
    Length {
        /// By the manifest.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// The packed bytes are not what the manifest names.
    #[error("packed layer")]
    Packed(#[source] Mismatch),
    /// The unpacked bytes are not what the configuration names.
    #[error("unpacked layer")]
    Content(#[source] Mismatch),
    /// A compression this node does not know.
    #[error("it is compressed with {0}, which this node cannot read")]
    Compression(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LayerError {
    /// Whether the disk is full.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Unpack(error) => error.is_no_space(),
            Self::Store(error) => error.is_no_space(),
            _ => false,
        }
    }

    /// The error of the byte stream beneath, when that is what failed.
    pub fn stream(&self) -> Option<&io::Error> {
        match self {
            Self::Read(error) => Some(error),
            Self::Unpack(error) => error.stream(),
            _ => None,
        }
    }
}

/// Fetches a layer from `blob` into the store.
pub fn fetch(
    blob: &mut dyn Read,
    descriptor: &Descriptor,
    diff_id: Digest,
    writer: &Writer,
    limits: &Limits,
) -> Result<LayerRecord, LayerError> {
    let staging = writer.stage()?;
    // One byte more than promised is enough to know.
    let mut packed = Verifying::new(blob.take(descriptor.size.saturating_add(1)));
    let result = unpack_verified(&mut packed, descriptor.size, diff_id, limits, &staging);
    match result {
        Err(error @ (LayerError::Read(_) | LayerError::Store(_))) => return Err(error),
        Err(LayerError::Unpack(error)) if !error.is_corruption() => {
            return Err(LayerError::Unpack(error));
        }
        _ => {}
    }
    // Whatever is wrong with the content matters less than that it is not the content asked for.
    io::copy(&mut packed, &mut io::sink()).map_err(LayerError::Read)?;
    let (expected, actual) = (descriptor.size, packed.length());
    if expected != actual {
        return Err(LayerError::Length { expected, actual });
    }
    packed.verify(descriptor.digest).map_err(LayerError::Packed)?;
    let unpacked = result?;
    Ok(writer.commit(
        staging,
        LayerRecord {
            diff_id,
            directory: String::new(),
            bytes: unpacked.bytes,
            entries: unpacked.entries,
            opaque_root: unpacked.opaque_root,
        },
    )?)
}

fn unpack_verified(
    packed: &mut dyn Read,
    size: u64,
    diff_id: Digest,
    limits: &Limits,
    staging: &Staging,
) -> Result<Unpacked, LayerError> {
    let decoder = decode(packed)?;
    let mut plain = Verifying::new(Bounded::new(decoder, limits, size));
    let (unpacked, _) =
        unpack(&mut plain, staging.directory()?, limits).map_err(LayerError::Unpack)?;
    // Builders pad archives, and the padding belongs to the digest.
    io::copy(&mut plain, &mut io::sink()).map_err(|e| LayerError::Unpack(UnpackError::Read(e)))?;
    plain.verify(diff_id).map_err(LayerError::Content)?;
    Ok(unpacked)
}

/// Chooses by the first bytes: media types of layers are wrong too often.
fn decode(packed: &mut dyn Read) -> Result<Box<dyn Read + '_>, LayerError> {
    let mut start = Vec::new();
    packed.take(6).read_to_end(&mut start).map_err(LayerError::Read)?;
    let input = BufReader::with_capacity(BUFFER, Cursor::new(start.clone()).chain(packed));
    match start.as_slice() {
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(input))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(LayerError::Compression("zstd")),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Err(LayerError::Compression("xz")),
        [b'B', b'Z', b'h', ..] => Err(LayerError::Compression("bzip2")),
        _ => Ok(Box::new(input)),
    }
}
