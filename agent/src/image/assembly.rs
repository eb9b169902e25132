//! Brings one image into the store, part by part, from wherever its parts are.
//!
//! ```text
//! name -> index -> manifest for this platform -> configuration -> layers -> name in the store
//! ```
//! A wrong platform is noticed before a layer is fetched, layers that are here already are not
//! fetched at all, and the name is written last: an image that has a name is complete.

use std::io::{self, Read};
use std::path::PathBuf;

use mote_registry::digest::{Digest, Mismatch};
use mote_registry::manifest::{
    Configuration, Descriptor, Document, MAX_DOCUMENT, MAX_NESTING, Manifest, ManifestError,
};
use mote_registry::platform::Platform;

use super::error::{Cause, ImageError};
use super::layer::{self, LayerError};
use super::room::Room;
use super::source::{Part, Source};
use super::store::{NameRecord, Partial, Resuming, StoreError, Writer};
use super::unpack::Limits;

/// Bytes that make a pull that failed one that got further. A registry that sends a packet at each
/// try is not worth asking every ten seconds.
const PROGRESS: u64 = 4 * 1024;

/// Turns the parts of images into images.
pub struct Assembly<'a> {
    /// Where they go.
    pub writer: &'a Writer,
    /// What this node runs.
    pub platform: &'a Platform,
    /// What a layer may ask for.
    pub limits: &'a Limits,
    /// Hears how far it is.
    pub progress: &'a mut dyn FnMut(Progress),
}

/// How far a pull is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Packed bytes of layers that were read.
    pub bytes: u64,
    /// Packed bytes of all layers that are missing.
    pub total: u64,
    /// Those of `bytes`, and of tries that came to nothing, that were not kept from before.
    pub received: u64,
}

/// The document that a name stands for.
pub struct Top {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its digest, verified.
    pub digest: Digest,
    /// The media type that came with it, or nothing.
    pub media_type: String,
}

/// A manifest that was chosen, and the bytes that have its digest.
struct Chosen {
    manifest: Manifest,
    bytes: Vec<u8>,
    digest: Digest,
}

impl Assembly<'_> {
    /// Makes the image that `top` describes complete and gives it its name.
    pub fn assemble(
        &mut self,
        source: &mut dyn Source,
        top: Top,
        name: Option<String>,
    ) -> Result<NameRecord, ImageError> {
        let target = top.digest;
        let chosen = self.choose(source, top)?;
        let config = &chosen.manifest.config;
        let bytes = self.document(source, &Part { what: "configuration", descriptor: config })?;
        let malformed = |error, source: &dyn Source| explain(error, "configuration", source);
        let configuration = Configuration::parse(&bytes, &chosen.manifest)
            .map_err(|error| malformed(error, source))?;
        configuration.check(self.platform).map_err(|error| malformed(error, source))?;
        self.layers(source, &chosen.manifest, &configuration.rootfs.diff_ids)?;
        let record = NameRecord { name, target, manifest: chosen.digest };
        self.writer
            .put_document(&config.digest, &bytes)
            .and_then(|()| self.writer.put_document(&chosen.digest, &chosen.bytes))
            .and_then(|()| self.writer.put_name(&record))
            .map_err(|error| self.store_error(&error))?;
        Ok(record)
    }

    /// Follows indexes to the manifest for this platform.
    fn choose(&mut self, source: &mut dyn Source, top: Top) -> Result<Chosen, ImageError> {
        let Top { mut bytes, mut digest, mut media_type } = top;
        for _ in 0..MAX_NESTING {
            let document = Document::parse(&bytes, &media_type)
                .map_err(|error| explain(error, "manifest", source))?;
            let mut index = match document {
                Document::Manifest(manifest) => return Ok(Chosen { manifest, bytes, digest }),
                Document::Index(index) => index,
            };
            index.manifests.retain(|offered| source.has(offered));
            let next =
                index.select(self.platform).map_err(|error| explain(error, "index", source))?;
            bytes = self.document(source, &Part { what: "manifest", descriptor: next })?;
            digest = next.digest;
            media_type.clone_from(&next.media_type);
        }
        Err(ImageError::Malformed {
            what: "index".to_owned(),
            reference: source.label(),
            cause: Cause::from_text("indexes are nested too deep"),
        })
    }

    /// Gets a document from the store or the source, verified either way.
    fn document(&self, source: &mut dyn Source, part: &Part<'_>) -> Result<Vec<u8>, ImageError> {
        let Descriptor { digest, size, .. } = part.descriptor;
        if *size > MAX_DOCUMENT {
            return Err(ImageError::Malformed {
                what: part.what.to_owned(),
                reference: source.label(),
                cause: Cause::from_text(format!("it has {size} bytes, more than {MAX_DOCUMENT}")),
            });
        }
        let present = self.writer.store().document(digest);
        if let Some(bytes) = present.map_err(|error| self.store_error(&error))? {
            return Ok(bytes);
        }
        let mismatch = loop {
            let bytes = source.document(part)?;
            let actual = Digest::of(&bytes);
            if actual == *digest {
                return Ok(bytes);
            }
            let wrong = Mismatch { expected: *digest, actual, length: bytes.len() as u64 };
            if !source.tries_another(&wrong) {
                break wrong;
            }
        };
        Err(ImageError::DigestMismatch {
            what: format!("{} of {}", part.what, source.label()),
            cause: Cause::of(&mismatch),
        })
    }

    /// Fetches the layers that are not here.
    fn layers(
        &mut self,
        source: &mut dyn Source,
        manifest: &Manifest,
        diff_ids: &[Digest],
    ) -> Result<(), ImageError> {
        let mut missing: Vec<(&Descriptor, Digest)> = Vec::new();
        for (descriptor, diff_id) in manifest.layers.iter().zip(diff_ids) {
            let known = missing.iter().any(|(_, other)| other == diff_id);
            let present = self.writer.store().layer(diff_id);
            if !known && present.map_err(|error| self.store_error(&error))?.is_none() {
                missing.push((descriptor, *diff_id));
            }
        }
        let sizes = missing.iter().map(|(descriptor, _)| descriptor.size);
        let total = sizes.fold(0, u64::saturating_add);
        self.check_space(total, source)?;
        let mut progress = Progress { total, ..Progress::default() };
        (self.progress)(progress);
        for (place, (descriptor, diff_id)) in missing.into_iter().enumerate() {
            let beneath = diff_ids.iter().take_while(|other| **other != diff_id);
            let lowers = self.directories(beneath)?;
            let part = Missing { descriptor, diff_id, lowers };
            let fetched = self.layer(source, &part, &mut progress);
            // Those before it are here to stay.
            fetched.map_err(|error| if place > 0 { error.after_progress() } else { error })?;
        }
        Ok(())
    }

    /// Where layers lie that are here, topmost first.
    fn directories<'a>(
        &self,
        diff_ids: impl Iterator<Item = &'a Digest>,
    ) -> Result<Vec<PathBuf>, ImageError> {
        let store = self.writer.store();
        let mut found = Vec::new();
        for diff_id in diff_ids {
            let layer = store.layer(diff_id).map_err(|error| self.store_error(&error))?;
            found.extend(layer.map(|layer| store.directory(&layer)));
        }
        found.reverse();
        Ok(found)
    }

    /// Gets a layer, as often as there is reason to hope that another try brings it.
    fn layer(
        &mut self,
        source: &mut dyn Source,
        part: &Missing<'_>,
        progress: &mut Progress,
    ) -> Result<(), ImageError> {
        let Descriptor { digest, size, .. } = part.descriptor;
        let (before, mut keeps, mut first) = (progress.bytes, source.is_remote(), true);
        loop {
            let partial = keeps.then(|| self.writer.partial(digest, *size, self.limits.reserve));
            // What was kept is used once: where it cannot be removed, it would spoil every try.
            let partial = partial.flatten().filter(|partial| first || partial.kept() == 0);
            let resumes = partial.as_ref().is_some_and(|partial| partial.kept() > 0);
            let Tried { result, of_the_source, took_room, added } =
                self.fetch(source, part, partial, progress)?;
            let Err(error) = result else { return Ok(()) };
            let again = match &error {
                // What was kept took room that the layer needs itself.
                error if error.is_no_space() => std::mem::take(&mut keeps) && took_room,
                // A power cut may have spoiled what was kept.
                _ if resumes => !of_the_source,
                LayerError::Packed(wrong) => source.tries_another(wrong),
                _ => false,
            };
            if !again {
                let error = self.explain_layer(&error, part.descriptor, source);
                return Err(if added >= PROGRESS { error.after_progress() } else { error });
            }
            (first, progress.bytes) = (false, before);
        }
    }

    /// One try to get a layer; a partial file stays if it may help the next.
    fn fetch(
        &mut self,
        source: &mut dyn Source,
        Missing { descriptor, diff_id, lowers }: &Missing<'_>,
        partial: Option<Partial>,
        progress: &mut Progress,
    ) -> Result<Tried, ImageError> {
        let offset = partial.as_ref().map_or(0, Partial::kept);
        let mut packed = Resuming::new(partial, source.layer(descriptor, offset)?);
        let report = &mut *self.progress;
        let mut metered = Metered { inner: &mut packed, progress, report };
        let resumed = offset > 0;
        let request = layer::Request { descriptor, diff_id: *diff_id, resumed, lowers };
        let result = layer::fetch(&mut metered, request, self.writer, self.limits);
        let interrupted = |error: &LayerError| is_interruption(error) && !packed.is_unreadable();
        let of_the_source = result.as_ref().is_err_and(interrupted);
        let (took_room, mut added) = (packed.keeps(), 0);
        if of_the_source {
            added = packed.keep();
        } else {
            packed.discard();
        }
        Ok(Tried { result: result.map(drop), of_the_source, took_room, added })
    }

    fn explain_layer(
        &self,
        error: &LayerError,
        descriptor: &Descriptor,
        source: &dyn Source,
    ) -> ImageError {
        if error.is_no_space() {
            return self.disk_full(0);
        }
        // Inflating reports through the same channel; only the source's own errors are its own.
        let foreign = error.stream().filter(|_| !is_content(error));
        match (error, foreign) {
            (_, Some(stream)) => source.failure(stream),
            (LayerError::Packed(_) | LayerError::Content(_), _) => ImageError::DigestMismatch {
                what: format!("layer {} of {}", descriptor.digest, source.label()),
                cause: Cause::of(error),
            },
            (LayerError::Store(error), _) => self.store_error(error),
            _ => {
                ImageError::Layer { layer: descriptor.digest.to_string(), cause: Cause::of(error) }
            }
        }
    }

    /// Refuses early what cannot fit: unpacked layers are never smaller than packed ones.
    fn check_space(&self, packed: u64, source: &dyn Source) -> Result<(), ImageError> {
        let (reserve, store) = (self.limits.reserve, self.writer.store());
        // Where free space cannot be told, writing will.
        let Ok(room) = rustix::fs::statvfs(store.root()).map(Room::from) else { return Ok(()) };
        if packed == 0 || room.has(packed, reserve) {
            return Ok(());
        }
        if !room.could_have(packed, reserve) {
            return Err(ImageError::TooLarge {
                reference: source.label(),
                bytes: packed,
                capacity: room.capacity,
            });
        }
        // What earlier pulls kept is the cheapest room to make, where it is enough.
        let available = room.available.saturating_add(store.partial_bytes());
        if (Room { available, ..room }).has(packed, reserve) {
            self.writer.remove_partials().map_err(|error| self.store_error(&error))?;
            return Ok(());
        }
        Err(self.disk_full(packed.saturating_add(reserve)))
    }

    fn disk_full(&self, needed: u64) -> ImageError {
        ImageError::DiskFull { path: self.writer.store().root().display().to_string(), needed }
    }

    fn store_error(&self, error: &StoreError) -> ImageError {
        if error.is_no_space() {
            return self.disk_full(0);
        }
        ImageError::Store { cause: Cause::of(error) }
    }
}

/// A layer that is not here.
struct Missing<'a> {
    descriptor: &'a Descriptor,
    diff_id: Digest,
    /// The layers beneath it, topmost first.
    lowers: Vec<PathBuf>,
}

/// One try to get a layer.
struct Tried {
    result: Result<(), LayerError>,
    /// It failed by where it comes from: what came of it so far is good.
    of_the_source: bool,
    /// What came was being kept until the end.
    took_room: bool,
    /// Bytes that the next pull has and this one had not.
    added: u64,
}

/// Whether a layer failed by where it comes from: what came of it so far is good.
fn is_interruption(error: &LayerError) -> bool {
    error.stream().is_some() && !is_content(error) && !error.is_no_space()
}

/// Whether a layer failed by what it holds rather than by where it comes from.
fn is_content(error: &LayerError) -> bool {
    match error {
        LayerError::Unpack(error) => error.is_corruption() || error.is_bomb(),
        _ => false,
    }
}

fn explain(error: ManifestError, what: &str, source: &dyn Source) -> ImageError {
    match error {
        ManifestError::Platform { wanted, offered } => {
            ImageError::Platform { reference: source.label(), wanted, offered }
        }
        error => ImageError::Malformed {
            what: what.to_owned(),
            reference: source.label(),
            cause: Cause::of(&error),
        },
    }
}

/// Tells how much was read.
struct Metered<'a, 'b> {
    inner: &'a mut Resuming<'b>,
    progress: &'a mut Progress,
    report: &'a mut dyn FnMut(Progress),
}

impl Read for Metered<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let is_new = !self.inner.is_replaying();
        let count = self.inner.read(buffer)?;
        self.progress.bytes += count as u64;
        if is_new {
            self.progress.received += count as u64;
        }
        // On a thin line a few bytes are news. Whoever hears it tells it no oftener than it wants.
        (self.report)(*self.progress);
        Ok(count)
    }
}
