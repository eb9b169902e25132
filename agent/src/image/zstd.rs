//! Inflates zstd, frame after frame, in bounded memory.
//!
//! Layers come as one frame or as many, with frames to skip between them (`zstd:chunked`). A frame
//! says how much of its past it refers to, and that much must be held: the bound on it is what
//! keeps a pull small.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Largest window that is accepted: what the format asks every decoder to support, and what the
/// ordinary levels (up to 19) use at most.
const MAX_WINDOW: u64 = 8 * 1024 * 1024;

/// Reads the content of all frames.
pub(super) struct Zstd<R> {
    input: Noting<R>,
    decoder: FrameDecoder,
    within_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    pub(super) fn new(input: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self { input: Noting { inner: input, failure: None }, decoder, within_frame: false }
    }

    /// Begins the next frame; false at the end of the input.
    fn begin(&mut self) -> io::Result<bool> {
        if self.input.inner.fill_buf()?.is_empty() {
            return Ok(false);
        }
        match self.decoder.init(&mut self.input) {
            Ok(()) => self.within_frame = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut (&mut self.input).take(length), &mut io::sink())?;
                if skipped != length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => return Err(self.input.blame(error)),
        }
        Ok(true)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within_frame && !self.begin()? {
                return Ok(0);
            }
            while self.within_frame {
                if self.decoder.can_collect() > 0 {
                    return self.decoder.read(buffer);
                }
                if self.decoder.is_finished() {
                    self.within_frame = false;
                    continue;
                }
                let one = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.decoder.decode_blocks(&mut self.input, one);
                decoded.map_err(|error| self.input.blame(error))?;
            }
        }
    }
}

/// Remembers why its source failed: the decoder's errors do not tell that from broken content.
struct Noting<R> {
    inner: R,
    failure: Option<io::Error>,
}

impl<R> Noting<R> {
    /// The source's failure if there was one; otherwise the content is at fault.
    fn blame(&mut self, error: FrameDecoderError) -> io::Error {
        self.failure.take().unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl<R: Read> Read for Noting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.failure = Some(error);
            kind.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn inflate(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        Zstd::new(BufReader::with_capacity(100, packed)).read_to_end(&mut data)?;
        Ok(data)
    }

    fn pack(data: &[u8]) -> Vec<u8> {
        compress_to_vec(data, CompressionLevel::Fastest)
    }

    #[test]
    fn frames_follow_each_other_and_some_are_skipped() {
        let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let long = vec![b'x'; 300_000];
        let packed = [pack(b"one"), skipped.clone(), pack(&long), skipped].concat();
        assert_eq!(inflate(&packed).unwrap(), [b"one", long.as_slice()].concat());
        assert_eq!(inflate(&[]).unwrap(), b"");
    }

    #[test]
    fn broken_frames_are_content_at_fault() {
        let packed = pack(&vec![b'x'; 300_000]);
        for broken in
            [&packed[..packed.len() / 2], &packed[1..], &[0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1]]
        {
            let kind = inflate(broken).unwrap_err().kind();
            let is_content =
                matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
            assert!(is_content, "{kind:?}");
        }
    }

    #[test]
    fn frames_with_a_large_window_are_refused_before_memory_is_taken() {
        // No single segment, window exponent 21: two GiB.
        let header = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0];
        let error = inflate(&header).unwrap_err();
        assert!(error.to_string().contains("8388608"), "{error}");
    }

    #[test]
    fn a_source_that_fails_is_named() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("cable"))
            }
        }
        let packed = pack(&vec![b'x'; 300_000]);
        let half = packed[..packed.len() / 2].chain(Failing);
        let error = Zstd::new(BufReader::new(half)).read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "cable");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut data in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = inflate(&data);
            data.splice(0..0, [0x28, 0xb5, 0x2f, 0xfd]);
            let _ = inflate(&data);
        }
    }
}
