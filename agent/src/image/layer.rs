//! One layer's way into the store: read, inflated, unpacked and verified in one pass.
//!
//! The packed bytes must have the descriptor's digest and the unpacked ones the configuration's.
//! Both are known only at the end, so a layer is unpacked aside and becomes part of the store after
//! both have been compared.

use std::io::{self, BufReader, Cursor, Read};
use std::path::PathBuf;

use flate2::bufread::MultiGzDecoder;
use mote_registry::digest::{Digest, Mismatch, Verifying};
use mote_registry::manifest::Descriptor;

use super::room::Amount;
use super::store::{LayerRecord, Staging, StoreError, Writer};
use super::unpack::error::EntryError;
use super::unpack::{Bounded, Limits, Sums, UnpackError, Unpacked, unpack};
use super::zstd::Zstd;

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

/// Which layer is to be fetched.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its packed form.
    pub descriptor: &'a Descriptor,
    /// The digest of its unpacked form.
    pub diff_id: Digest,
    /// Its first bytes were kept from an earlier try, and may be what is wrong with it.
    pub resumed: bool,
    /// The layers beneath it, topmost first.
    pub lowers: &'a [PathBuf],
}

/// Fetches a layer from `blob` into the store.
pub fn fetch(
    blob: &mut dyn Read,
    request: Request<'_>,
    writer: &Writer,
    limits: &Limits,
) -> Result<LayerRecord, LayerError> {
    let Request { descriptor, resumed, .. } = request;
    let staging = writer.stage()?;
    // One byte more than promised is enough to know.
    let mut packed = Verifying::new(blob.take(descriptor.size.saturating_add(1)));
    let mut sums = Sums::default();
    let result = unpack_verified(&mut packed, request, limits, &staging, &mut sums);
    match result {
        Err(error @ (LayerError::Read(_) | LayerError::Store(_))) => return Err(error),
        // The rest need not be fetched to know that it must be fetched again.
        Err(LayerError::Unpack(error)) if resumed || !is_of_the_bytes(&error) => {
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
            diff_id: request.diff_id,
            directory: String::new(),
            bytes: unpacked.bytes,
            entries: unpacked.entries + unpacked.implied,
            opaque_root: unpacked.opaque_root,
            taken: Amount::default(),
        },
        &sums,
    )?)
}

/// Whether a layer's bytes are at fault, and not where they come from or where they go to.
fn is_of_the_bytes(error: &UnpackError) -> bool {
    match error {
        UnpackError::Entry { source: EntryError::System { .. }, .. }
        | UnpackError::Root(_)
        | UnpackError::NoSpace { .. } => false,
        _ => error.stream().is_none() || error.is_corruption() || error.is_bomb(),
    }
}

fn unpack_verified(
    packed: &mut dyn Read,
    Request { descriptor, diff_id, lowers, .. }: Request<'_>,
    limits: &Limits,
    staging: &Staging,
    sums: &mut Sums,
) -> Result<Unpacked, LayerError> {
    let decoder = decode(packed)?;
    let mut plain = Verifying::new(Bounded::new(decoder, limits, descriptor.size));
    let (unpacked, _) = unpack(&mut plain, staging.directory()?, limits, (lowers, sums))
        .map_err(LayerError::Unpack)?;
    // Builders pad archives, and the padding belongs to the digest.
    io::copy(&mut plain, &mut io::sink()).map_err(|e| LayerError::Unpack(UnpackError::Read(e)))?;
    plain.verify(diff_id).map_err(LayerError::Content)?;
    Ok(unpacked)
}

/// Inflates a packed layer and counts what comes out, for whoever tries spoiled ones.
#[doc(hidden)]
pub fn inflated(mut packed: &[u8], limits: &Limits) -> Result<u64, LayerError> {
    let size = packed.len() as u64;
    let mut plain = Bounded::new(decode(&mut packed)?, limits, size);
    io::copy(&mut plain, &mut io::sink()).map_err(LayerError::Read)
}

/// Chooses by the first bytes: media types of layers are wrong too often.
fn decode(packed: &mut dyn Read) -> Result<Box<dyn Read + '_>, LayerError> {
    let mut start = Vec::new();
    packed.take(6).read_to_end(&mut start).map_err(LayerError::Read)?;
    let input = BufReader::with_capacity(BUFFER, Cursor::new(start.clone()).chain(packed));
    match start.as_slice() {
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(input))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Ok(Box::new(Zstd::new(input)))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Err(LayerError::Compression("xz")),
        [b'B', b'Z', b'h', ..] => Err(LayerError::Compression("bzip2")),
        _ => Ok(Box::new(input)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;
    use crate::image::store::Store;
    use mote_registry::chain;

    /// A tar archive with one file of zeros.
    fn archive(size: usize) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(size as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, "zeros", vec![0; size].as_slice()).unwrap();
        builder.into_inner().unwrap()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// Fetches `packed` as what `promised` describes and gives the error's text, after checking
    /// that nothing of it is left.
    fn outcome(
        packed: &[u8],
        promised: &Descriptor,
        diff_id: Digest,
        limits: Limits,
    ) -> Result<LayerRecord, String> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let writer = Writer::lock(&store).unwrap();
        let request = Request { descriptor: promised, diff_id, resumed: false, lowers: &[] };
        let result = fetch(&mut &*packed, request, &writer, &limits);
        assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        assert_eq!(store.layer(&diff_id).unwrap().is_some(), result.is_ok());
        result.map_err(|error| chain(&error))
    }

    fn limits() -> Limits {
        Limits { reserve: 0, ..Limits::default() }
    }

    #[test]
    fn layers_are_taken_packed_or_not_in_one_piece_or_many() {
        let plain = archive(5000);
        let (front, back) = plain.split_at(700);
        let zstd = |data| compress_to_vec(data, CompressionLevel::Fastest);
        let pieces = [gzip(front), gzip(back)].concat();
        for packed in [plain.clone(), gzip(&plain), pieces, zstd(plain.as_slice())] {
            let layer = outcome(&packed, &Descriptor::of(&packed), Digest::of(&plain), limits());
            assert_eq!(layer.unwrap().bytes, 5000);
        }
    }

    #[test]
    fn content_that_is_not_the_configurations_is_refused() {
        let packed = gzip(&archive(5000));
        let error = outcome(&packed, &Descriptor::of(&packed), Digest::of(b"other"), limits());
        assert!(error.unwrap_err().starts_with("unpacked layer: expected sha256:"));
    }

    #[test]
    fn a_wrong_digest_counts_more_than_what_it_breaks() {
        let plain = archive(5000);
        let good = gzip(&plain);
        let mut spoiled = good.clone();
        spoiled[20..].fill(0xff);
        let error = outcome(&spoiled, &Descriptor::of(&good), Digest::of(&plain), limits());
        assert!(error.unwrap_err().starts_with("packed layer: expected sha256:"));
        // Broken as promised: then the breakage is the reason.
        let error = outcome(&spoiled, &Descriptor::of(&spoiled), Digest::of(&plain), limits());
        let error = error.unwrap_err();
        assert!(error.contains("deflate stream"), "{error}");
    }

    #[test]
    fn whose_layer_it_is_counts_more_than_what_it_asks_for() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.as_mut_bytes()[..4].copy_from_slice(b"../x");
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
        let hostile = builder.into_inner().unwrap();
        let error = outcome(&hostile, &Descriptor::of(&hostile), Digest::of(&hostile), limits());
        assert!(error.unwrap_err().contains("`..`"));
        // Of another layer than the one that was asked for: then nobody asked for it.
        let promised = Descriptor { digest: Digest::of(b"other"), ..Descriptor::of(&hostile) };
        let error = outcome(&hostile, &promised, Digest::of(b"other"), limits());
        assert!(error.unwrap_err().starts_with("packed layer: expected sha256:"));
    }

    #[test]
    fn layers_of_another_length_are_refused() {
        let plain = archive(5000);
        let packed = gzip(&plain);
        for length in [packed.len() - 3, 10, 0] {
            let error =
                outcome(&packed[..length], &Descriptor::of(&packed), Digest::of(&plain), limits());
            let text = format!("it has {length} bytes, the manifest promises {}", packed.len());
            assert_eq!(error.unwrap_err(), text);
        }
        let longer = [packed.as_slice(), b"more"].concat();
        let error = outcome(&longer, &Descriptor::of(&packed), Digest::of(&plain), limits());
        assert!(error.unwrap_err().contains(&format!("it has {} bytes", packed.len() + 1)));
    }

    #[test]
    fn bombs_are_refused_by_ratio_and_by_size() {
        let plain = archive(3_000_000);
        let packed = gzip(&plain);
        let diff_id = Digest::of(&plain);
        let small = Limits { bytes: 1_000_000, ..limits() };
        let error = outcome(&packed, &Descriptor::of(&packed), diff_id, small).unwrap_err();
        assert!(error.contains("3000000 bytes, more than 1000000"), "{error}");
        // The file alone is small enough; what is around it is not.
        let many = Limits { bytes: 3_000_100, ..limits() };
        let error = outcome(&packed, &Descriptor::of(&packed), diff_id, many).unwrap_err();
        assert!(error.contains("it unpacks to more than 3000100 bytes"), "{error}");
        assert_eq!(limits().unpacked(1000), Limits::FREE_RATIO_BYTES + 200_000);
        assert_eq!(limits().unpacked(u64::MAX), limits().bytes);
    }

    #[test]
    fn other_compressions_are_named() {
        for (start, name) in [(&b"\xfd7zXZ\0xx"[..], "xz"), (b"BZh9xxxx", "bzip2")] {
            let error = outcome(start, &Descriptor::of(start), Digest::of(b""), limits());
            assert!(error.unwrap_err().contains(name));
        }
    }
}
