//! Where the parts of an image come from, once its name is known: a registry or a layout on disk.

use std::io::Read;

use super::error::ImageError;
use super::manifest::{Descriptor, MAX_DOCUMENT};
use super::reference::Reference;
use super::registry::{Registry, RegistryError};

/// Gives the parts of one image by digest. Digests and lengths are the caller's to check.
pub trait Source {
    /// Index, manifest or configuration, at most [`MAX_DOCUMENT`] bytes.
    fn document(&mut self, part: &Part<'_>) -> Result<Vec<u8>, ImageError>;

    /// A layer's bytes, packed, from `offset` on.
    fn layer(
        &mut self,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<Box<dyn Read + '_>, ImageError>;

    /// Whether bytes are dear, so that those of layers are kept where they end too early.
    fn is_remote(&self) -> bool {
        false
    }

    /// What failed, when reading a layer did.
    fn failure(&self, error: &std::io::Error) -> ImageError;

    /// The image's name in error texts.
    fn label(&self) -> String;

    /// Bytes that came over a network so far.
    fn received(&self) -> u64 {
        0
    }
}

/// A document of an image and what it is.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// `index`, `manifest` or `configuration`.
    pub what: &'static str,
    /// Where to find it.
    pub descriptor: &'a Descriptor,
}

/// An image in a registry.
pub struct Remote<'a> {
    registry: &'a mut Registry,
    reference: &'a Reference,
}

impl<'a> Remote<'a> {
    /// The parts of `reference`.
    pub const fn new(registry: &'a mut Registry, reference: &'a Reference) -> Self {
        Self { registry, reference }
    }
}

impl Source for Remote<'_> {
    fn document(&mut self, part: &Part<'_>) -> Result<Vec<u8>, ImageError> {
        let descriptor = part.descriptor;
        if part.what != "configuration" {
            let fetched = self.registry.manifest(self.reference, Some(descriptor.digest));
            return fetched
                .map(|fetched| fetched.bytes)
                .map_err(|error| error.for_image(self.reference));
        }
        let mut bytes = Vec::new();
        let blob = self.registry.blob(self.reference, descriptor, 0);
        let read = blob.take(MAX_DOCUMENT).read_to_end(&mut bytes);
        read.map(|_| bytes).map_err(|error| self.failure(&error))
    }

    fn layer(
        &mut self,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<Box<dyn Read + '_>, ImageError> {
        Ok(Box::new(self.registry.blob(self.reference, descriptor, offset)))
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn failure(&self, error: &std::io::Error) -> ImageError {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<RegistryError>());
        match inner {
            Some(inner) => inner.for_image(self.reference),
            None => ImageError::Unreachable {
                host: self.reference.endpoint().to_owned(),
                cause: super::error::Cause::of(error),
            },
        }
    }

    fn label(&self) -> String {
        self.reference.to_string()
    }

    fn received(&self) -> u64 {
        self.registry.received()
    }
}
