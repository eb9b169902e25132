//! What is to be in an archive: for each image its index, manifests and configurations, as the
//! registry has them, and the layers that they name.
//!
//! Of an image for several platforms the index is kept whole, with the manifests of some: its
//! digest is the one that the registry knows, so a node that asks whether its image is the newest
//! has nothing to fetch. An image layout may lack what it refers to, and importers skip it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use mote_registry::Fetched;
use mote_registry::archive::{self, MARKER, ROOM_OF_END, room_of};
use mote_registry::digest::Digest;
use mote_registry::manifest::{
    Annotations, Configuration, Descriptor, Document, Index, Links, MAX_DOCUMENT, MAX_NESTING,
    Manifest,
};
use mote_registry::platform::Platform;
use mote_registry::reference::Reference;

use super::error::SaveError;

/// Most bytes of documents of one archive: they are held in memory. Those of an image for ten
/// platforms have some 200 KiB.
const MAX_DOCUMENTS: u64 = 32 * 1024 * 1024;

/// Gives documents, verified.
pub(super) trait Documents {
    /// What a reference stands for now.
    fn top(&mut self, reference: &Reference) -> Result<Fetched, SaveError>;

    /// An index or a manifest.
    fn manifest(&mut self, of: &Reference, descriptor: &Descriptor) -> Result<Vec<u8>, SaveError>;

    /// A configuration, or any other small blob.
    fn blob(&mut self, of: &Reference, descriptor: &Descriptor) -> Result<Vec<u8>, SaveError>;
}

/// For what images are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// For the one that there is.
    Only,
    /// For all.
    All,
    /// For these.
    These(Vec<Platform>),
}

/// What is to be in an archive.
#[derive(Default)]
pub(super) struct Plan {
    /// Every blob, in the order in which they are written.
    pub(super) parts: BTreeMap<Digest, Part>,
    /// The images, by name.
    pub(super) images: BTreeMap<String, Saved>,
    /// Bytes of documents.
    held: u64,
}

/// A blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// One that is here already.
    Document(Vec<u8>),
    /// A layer: who has it, and its length.
    Layer(Reference, Box<Descriptor>),
}

/// An image of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    /// Its index or manifest.
    pub(super) top: Descriptor,
    /// For what it is there.
    pub(super) platforms: BTreeSet<String>,
}

impl Plan {
    /// Adds an image.
    pub(super) fn add(
        &mut self,
        documents: &mut dyn Documents,
        reference: &Reference,
        wanted: &Wanted,
    ) -> Result<(), SaveError> {
        let Fetched { bytes, content_type, .. } = documents.top(reference)?;
        let (platforms, seen) = (BTreeSet::new(), BTreeSet::new());
        let mut choice = Choice { plan: self, documents, reference, platforms, seen };
        let document = choice.parse(&bytes, &content_type)?;
        let name = reference.to_string();
        let annotations = Annotations { ref_name: Some(name.clone()), image_name: Some(name) };
        let mut top = Descriptor::of(&bytes);
        top.media_type = document.media_type(&bytes, &content_type);
        top.annotations = Some(annotations);
        choice.keep(bytes.clone())?;
        match (wanted, document) {
            (Wanted::All, document) => choice.everything(&bytes, document)?,
            (Wanted::Only, document) => choice.descend(document, None)?,
            (Wanted::These(platforms), document) => {
                for platform in platforms {
                    choice.descend(document.clone(), Some(platform))?;
                }
            }
        }
        let platforms = choice.platforms;
        self.images.insert(reference.to_string(), Saved { top, platforms });
        Ok(())
    }

    /// What lists the images.
    pub(super) fn index(&self) -> serde_json::Result<Vec<u8>> {
        let tops: Vec<_> = self.images.values().map(|saved| saved.top.clone()).collect();
        archive::index(&tops)
    }

    /// Bytes of the archive.
    pub(super) fn length(&self, index: &[u8]) -> u64 {
        let parts = self.parts.values().map(Part::size);
        let others = [index.len() as u64, MARKER.1.len() as u64];
        parts.chain(others).map(room_of).fold(ROOM_OF_END, u64::saturating_add)
    }

    /// Bytes that are still to be fetched.
    pub(super) fn to_fetch(&self) -> u64 {
        let layers = self.parts.values().filter(|part| matches!(part, Part::Layer(..)));
        layers.map(Part::size).fold(0, u64::saturating_add)
    }
}

impl Part {
    /// Its length.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Document(bytes) => bytes.len() as u64,
            Self::Layer(_, descriptor) => descriptor.size,
        }
    }
}

/// The one image of an index.
fn only<'a>(index: &'a Index, reference: &Reference) -> Result<&'a Descriptor, SaveError> {
    let images: Vec<_> = index.images().collect();
    let candidates = if images.is_empty() { index.manifests.iter().collect() } else { images };
    match candidates.as_slice() {
        [one] => Ok(one),
        _ => Err(SaveError::Several { reference: reference.to_string(), offered: index.offers() }),
    }
}

/// An image that is being looked through.
struct Choice<'a> {
    plan: &'a mut Plan,
    documents: &'a mut dyn Documents,
    reference: &'a Reference,
    platforms: BTreeSet<String>,
    /// Documents whose links were followed: those of a hostile index lead to one another.
    seen: BTreeSet<Digest>,
}

impl Choice<'_> {
    fn parse(&self, bytes: &[u8], media_type: &str) -> Result<Document, SaveError> {
        Document::parse(bytes, media_type)
            .map_err(|error| SaveError::in_document("the manifest", error, self.reference))
    }

    /// Takes a document into the archive.
    fn keep(&mut self, bytes: Vec<u8>) -> Result<(), SaveError> {
        if let Entry::Vacant(place) = self.plan.parts.entry(Digest::of(&bytes)) {
            self.plan.held += bytes.len() as u64;
            place.insert(Part::Document(bytes));
        }
        if self.plan.held > MAX_DOCUMENTS { Err(self.too_large(MAX_DOCUMENTS)) } else { Ok(()) }
    }

    fn too_large(&self, limit: u64) -> SaveError {
        SaveError::TooLarge { reference: self.reference.to_string(), limit }
    }

    /// Fetches a document, unless it is here.
    fn fetch(&mut self, descriptor: &Descriptor, is_blob: bool) -> Result<Vec<u8>, SaveError> {
        if descriptor.size > MAX_DOCUMENT {
            return Err(self.too_large(MAX_DOCUMENT));
        }
        if let Some(Part::Document(bytes)) = self.plan.parts.get(&descriptor.digest) {
            return Ok(bytes.clone());
        }
        let bytes = if is_blob {
            self.documents.blob(self.reference, descriptor)?
        } else {
            self.documents.manifest(self.reference, descriptor)?
        };
        self.keep(bytes.clone())?;
        Ok(bytes)
    }

    /// Follows a document to the image for `platform`, as a node of that platform does, or to the
    /// only one that there is.
    fn descend(
        &mut self,
        document: Document,
        platform: Option<&Platform>,
    ) -> Result<(), SaveError> {
        let mut document = document;
        for _ in 0..MAX_NESTING {
            let index = match document {
                Document::Manifest(manifest) => return self.image(&manifest, platform),
                Document::Index(index) => index,
            };
            let unfit = |error| SaveError::in_document("the index", error, self.reference);
            let next = match platform {
                Some(platform) => index.select(platform).map_err(unfit)?,
                None => only(&index, self.reference)?,
            };
            let bytes = self.fetch(next, false)?;
            document = self.parse(&bytes, &next.media_type)?;
        }
        Err(SaveError::Nested { reference: self.reference.to_string() })
    }

    /// Takes one image, which must be for `platform` where one is given.
    fn image(&mut self, manifest: &Manifest, platform: Option<&Platform>) -> Result<(), SaveError> {
        let bytes = self.fetch(&manifest.config, true)?;
        let explain = |error| SaveError::in_document("the configuration", error, self.reference);
        let configuration = Configuration::parse(&bytes, manifest).map_err(explain)?;
        if let Some(platform) = platform {
            configuration.check(platform).map_err(explain)?;
        }
        self.platforms.insert(configuration.platform().shown());
        self.layers(&manifest.layers);
        Ok(())
    }

    fn layers(&mut self, layers: &[Descriptor]) {
        for layer in layers {
            let part = || Part::Layer(self.reference.clone(), Box::new(layer.clone()));
            self.plan.parts.entry(layer.digest).or_insert_with(part);
        }
    }

    /// Takes an image or an index with all that it refers to, whatever that is.
    fn everything(&mut self, bytes: &[u8], document: Document) -> Result<(), SaveError> {
        let index = match document {
            Document::Manifest(manifest) => return self.image(&manifest, None),
            Document::Index(index) => index,
        };
        let named = index.images().filter_map(|image| image.platform.as_ref());
        self.platforms.extend(named.map(Platform::shown));
        self.all_below(bytes, MAX_NESTING - 1)
    }

    fn all_below(&mut self, bytes: &[u8], depth: usize) -> Result<(), SaveError> {
        let links: Links = serde_json::from_slice(bytes)
            .map_err(|error| SaveError::in_document("a manifest", error.into(), self.reference))?;
        if let Some(config) = &links.config {
            self.fetch(config, true)?;
        }
        self.layers(&links.layers);
        if depth == 0 && !links.manifests.is_empty() {
            return Err(SaveError::Nested { reference: self.reference.to_string() });
        }
        for descriptor in &links.manifests {
            if self.seen.insert(descriptor.digest) {
                let bytes = self.fetch(descriptor, false)?;
                self.all_below(&bytes, depth - 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
