//! A blob as a stream of bytes that survives broken connections.
//!
//! Whoever reads never notices a cut: the download goes on where it stopped. A registry that does
//! not understand ranges sends the blob again and what is known already is skipped. Bytes are
//! counted and nothing else is promised of them; digests are the reader's to check.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_RANGE;

use super::Registry;
use super::error::RegistryError;
use super::transport::{protocol, within};
use crate::digest::Digest;
use crate::manifest::Descriptor;
use crate::reference::Reference;

/// Connections in a row that brought nothing new, after which a download is given up for now.
///
/// Whatever else one brings is progress, be it one packet: there are lines that hold no connection
/// for longer. The image will be asked for again, and goes on with what came.
const MAX_FAILURES: u32 = 5;
/// How long bytes are waited for before it is looked at how many came.
const STRETCH: Duration = Duration::from_mins(1);
/// Bytes that must have come by then, 256 a second: a quarter of what GPRS brings at its worst. At
/// less a mebibyte takes more than an hour. Another mirror may be nearer, one that means to hold us up
/// gets no further than this, and a line that is no better goes on at the next try.
const MIN_STRETCH: u64 = 256 * 60;

/// Reads one blob.
pub struct BlobReader<'a> {
    registry: &'a mut Registry,
    reference: &'a Reference,
    digest: Digest,
    size: u64,
    /// Bytes given to the reader.
    offset: u64,
    /// Bytes of the current answer that the reader has already.
    skip: u64,
    body: Option<Incoming>,
    /// It was refused from the middle, and is asked for from the start.
    no_ranges: bool,
    chunk: Bytes,
    failures: u32,
    /// Where the current connection began.
    resumed_at: u64,
    stretch: Stretch,
}

/// How bytes came lately.
#[derive(Debug, Default)]
struct Stretch {
    /// Time that was spent waiting for them; what the reader does with them does not count.
    waited: Duration,
    /// New ones.
    came: u64,
}

impl Stretch {
    /// At the end of a stretch: the bytes that came, if they were too few.
    fn ends_poor(&mut self) -> Option<u64> {
        if self.waited < STRETCH {
            return None;
        }
        let Self { came, .. } = std::mem::take(self);
        (came < MIN_STRETCH).then_some(came)
    }
}

impl<'a> BlobReader<'a> {
    pub(super) fn new(
        registry: &'a mut Registry,
        reference: &'a Reference,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Self {
        Self {
            registry,
            reference,
            digest: descriptor.digest,
            size: descriptor.size,
            offset,
            skip: 0,
            body: None,
            no_ranges: false,
            chunk: Bytes::new(),
            failures: 0,
            resumed_at: offset,
            stretch: Stretch::default(),
        }
    }

    /// Whom the bytes come from.
    fn host(&self) -> String {
        let endpoint = self.registry.route.endpoint();
        endpoint.map_or_else(|_| self.reference.endpoint().to_owned(), |at| at.origin.to_string())
    }

    /// Gets the next piece, opening or reopening the download first where needed. `None` if the
    /// connection ended.
    fn next_chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.open()?,
        };
        let host = self.host();
        let Registry { runtime, client, received, pace, .. } = &mut *self.registry;
        let limit = client.transport().timeouts().idle;
        let frame = runtime.block_on(within(&host, limit, body.frame()))?;
        let Some(frame) = frame else { return Ok(None) };
        let frame = frame.map_err(|source| RegistryError::Http { host, source })?;
        self.body = Some(body);
        let chunk = frame.into_data().unwrap_or_default();
        *received += chunk.len() as u64;
        let pause = pace.after(chunk.len(), Instant::now());
        if !pause.is_zero() {
            // The registry waits as well: TCP's windows fill.
            runtime.block_on(async { tokio::time::sleep(pause).await });
        }
        Ok(Some(chunk))
    }

    /// Starts the download where the reader stands; from the start where whoever has it does not
    /// like to be asked for less.
    fn open(&mut self) -> Result<Incoming, RegistryError> {
        let ranged = self.offset > 0 && !self.no_ranges;
        match self.open_at(if ranged { self.offset } else { 0 }) {
            Err(error) if ranged && !error.is_transient() => {
                self.no_ranges = true;
                self.open_at(0)
            }
            opened => opened,
        }
    }

    fn open_at(&mut self, offset: u64) -> Result<Incoming, RegistryError> {
        let settings = self.registry.client.transport().settings();
        self.registry.route.lead_to(self.reference, settings)?;
        let host = self.host();
        let Registry { runtime, client, route, .. } = &mut *self.registry;
        let asked = client.blob(route.endpoint()?, self.reference, &self.digest, offset);
        let response = runtime.block_on(asked)?;
        self.resumed_at = self.offset;
        self.skip = 0;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = response.headers().get(CONTENT_RANGE);
            let range = range.and_then(|value| value.to_str().ok());
            if range.and_then(range_start) != Some(self.offset) {
                return Err(protocol(&host, "it sent another range than asked for"));
            }
        } else {
            self.skip = self.offset;
        }
        let body = response.into_body();
        let begins_at = self.offset - self.skip;
        let promised = body.size_hint().exact().map(|bytes| bytes.saturating_add(begins_at));
        match promised {
            Some(actual) if actual != self.size => {
                Err(RegistryError::Length { host, expected: self.size, actual })
            }
            _ => Ok(body),
        }
    }

    /// Takes in a piece, without what the reader has already.
    fn accept(&mut self, mut chunk: Bytes) -> Result<(), RegistryError> {
        let known = self.skip.min(chunk.len() as u64);
        chunk.advance(usize::try_from(known).unwrap_or(chunk.len()));
        self.skip -= known;
        if chunk.len() as u64 > self.size - self.offset {
            return Err(RegistryError::Length {
                host: self.host(),
                expected: self.size,
                actual: self.offset.saturating_add(chunk.len() as u64),
            });
        }
        self.chunk = chunk;
        Ok(())
    }

    /// Counts a failure and waits, or gives up.
    fn fail(&mut self, error: RegistryError) -> io::Result<()> {
        self.body = None;
        if self.offset > self.resumed_at {
            self.failures = 0;
        }
        self.resumed_at = self.offset;
        self.failures += 1;
        let is_slow = matches!(error, RegistryError::Slow { .. });
        if self.failures > MAX_FAILURES || is_slow || !error.is_transient() {
            // The next one who may have it goes on where this one stopped.
            (self.failures, self.no_ranges) = (0, false);
            self.stretch = Stretch::default();
            self.registry.is_mixed = self.offset > 0;
            return self.registry.pass_over(error).map_err(io::Error::other);
        }
        let timeouts = self.registry.client.transport().timeouts();
        let limit = timeouts.pause * 2_u32.pow(self.failures - 1);
        self.registry.pause(limit);
        Ok(())
    }

    /// Gets a piece; nothing may be new in it.
    fn step(&mut self) -> Result<(), RegistryError> {
        if let Some(chunk) = self.next_chunk()? {
            return self.accept(chunk);
        }
        let (received, size) = (self.offset, self.size);
        Err(RegistryError::Cut { host: self.host(), received, size })
    }

    /// Gets the next piece that is new; what fails on the way is tried again, but not for ever.
    fn advance(&mut self) -> io::Result<()> {
        while self.chunk.is_empty() {
            if let Some(received) = self.stretch.ends_poor() {
                let (host, seconds) = (self.host(), STRETCH.as_secs());
                self.fail(RegistryError::Slow { host, received, seconds })?;
            }
            let begun = Instant::now();
            if let Err(error) = self.step() {
                self.fail(error)?;
            }
            self.stretch.waited += begun.elapsed();
            self.stretch.came += self.chunk.len() as u64;
        }
        Ok(())
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.offset == self.size || buffer.is_empty() {
            return Ok(0);
        }
        self.advance()?;
        let count = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        self.offset += count as u64;
        Ok(count)
    }
}

/// The first byte of `bytes 5-9/10`.
fn range_start(header: &str) -> Option<u64> {
    header.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_that_brings_next_to_nothing_ends_a_download_and_begins_anew() {
        let almost = Duration::from_secs(59);
        let mut stretch = Stretch { waited: almost, came: 0 };
        assert_eq!(stretch.ends_poor(), None, "it is not over");
        stretch = Stretch { waited: STRETCH, came: MIN_STRETCH };
        assert_eq!(stretch.ends_poor(), None, "enough came");
        stretch.waited += almost;
        assert_eq!(stretch.ends_poor(), None, "the next one begins with nothing");
        stretch.waited += Duration::from_secs(1);
        stretch.came = 12;
        assert_eq!(stretch.ends_poor(), Some(12));
        assert_eq!(stretch.waited, Duration::ZERO);
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(range_start("bytes 5-9/10"), Some(5));
        assert_eq!(range_start("bytes */10"), None);
        assert_eq!(range_start("items 5-9/10"), None);
    }
}
