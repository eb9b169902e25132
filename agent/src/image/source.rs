//! Where the parts of an image come from, once its name is known: a registry or a layout on disk.

use std::error::Error;
use std::io::Read;

use mote_registry::digest::Mismatch;
use mote_registry::manifest::{Descriptor, MAX_DOCUMENT};
use mote_registry::reference::Reference;
use mote_registry::{Registry, RegistryError};

use super::error::{Cause, ImageError};

/// Gives the parts of one image by digest. Digests and lengths are the caller's to check.
pub trait Source {
    /// Index, manifest or configuration, at most [`MAX_DOCUMENT`] bytes.
    fn document(&mut self, part: &Part<'_>) -> Result<Vec<u8>, ImageError>;

    /// Whether it can give a document of an index; those it cannot give are not offered.
    fn has(&self, _document: &Descriptor) -> bool {
        true
    }

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

    /// What it gave last is not what was asked for: whether it may give something else the next time.
    fn tries_another(&mut self, _wrong: &Mismatch) -> bool {
        false
    }

    /// What failed, when reading a layer did.
    fn failure(&self, error: &std::io::Error) -> ImageError;

    /// The image's name in error texts.
    fn label(&self) -> String;
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
                .map_err(|error| for_image(&error, self.reference));
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

    fn tries_another(&mut self, wrong: &Mismatch) -> bool {
        self.registry.tries_another(wrong)
    }

    fn failure(&self, error: &std::io::Error) -> ImageError {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<RegistryError>());
        match inner {
            Some(inner) => for_image(inner, self.reference),
            None => ImageError::Unreachable {
                host: self.reference.endpoint().to_owned(),
                cause: Cause::of(error),
            },
        }
    }

    fn label(&self) -> String {
        self.reference.to_string()
    }
}

/// What a registry's failure means for whoever wanted the image.
pub fn for_image(failure: &RegistryError, reference: &Reference) -> ImageError {
    let cause = Cause::of;
    // The variant's own text says what the image's error says already.
    let below = |error: &RegistryError| match error.source() {
        Some(source) => Cause::of(source),
        None => Cause::of(error),
    };
    match failure {
        RegistryError::Resolve { host, .. } => {
            ImageError::UnknownHost { host: host.clone(), cause: below(failure) }
        }
        RegistryError::Connect { host, .. } => {
            ImageError::Unreachable { host: host.clone(), cause: below(failure) }
        }
        RegistryError::Http { host, .. }
        | RegistryError::Proxy { host, .. }
        | RegistryError::Silent { host, .. }
        | RegistryError::Slow { host, .. }
        | RegistryError::Cut { host, .. } => {
            ImageError::Unreachable { host: host.clone(), cause: cause(failure) }
        }
        RegistryError::Tls { host, .. } => {
            ImageError::Tls { host: host.clone(), cause: below(failure) }
        }
        RegistryError::Authorities { host, .. } => {
            ImageError::Tls { host: host.clone(), cause: cause(failure) }
        }
        RegistryError::NotFound => ImageError::NotFound { reference: reference.to_string() },
        RegistryError::Denied { host, .. } => ImageError::Denied {
            host: host.clone(),
            repository: reference.repository().to_owned(),
            cause: cause(failure),
        },
        RegistryError::Status { host, status, path, text } => ImageError::Registry {
            host: host.clone(),
            status: *status,
            cause: Cause::from_text(format!("{path}: {text}")),
        },
        RegistryError::Protocol { host, .. } => ImageError::Malformed {
            what: format!("the answer of {host}"),
            reference: reference.to_string(),
            cause: cause(failure),
        },
        RegistryError::Malformed { .. } => ImageError::Malformed {
            what: "manifest".to_owned(),
            reference: reference.to_string(),
            cause: below(failure),
        },
        RegistryError::Length { .. } => ImageError::DigestMismatch {
            what: format!("a blob of {reference}"),
            cause: cause(failure),
        },
        RegistryError::Mismatch { .. } => ImageError::DigestMismatch {
            what: format!("manifest of {reference}"),
            cause: below(failure),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Retry;

    fn told(failure: &RegistryError) -> ImageError {
        for_image(failure, &"r.example/a/b:1".parse().unwrap())
    }

    fn status(status: u16) -> RegistryError {
        let (path, text) = ("manifest".to_owned(), "later".to_owned());
        RegistryError::Status { host: "r.example".into(), status, path, text }
    }

    #[test]
    fn answers_become_reasons_a_person_can_act_on() {
        let text = "no entry".to_owned();
        let denied = RegistryError::Denied { host: "r.example".into(), text };
        let cases = [
            (RegistryError::NotFound, "does not exist in the registry", Retry::Later),
            (
                denied,
                "denies access to a/b: it is private or does not exist: no entry",
                Retry::Later,
            ),
            (status(503), "answered 503: manifest: later", Retry::Soon),
            (status(429), "answered 429", Retry::Soon),
            (status(400), "answered 400", Retry::Later),
        ];
        for (failure, text, retry) in cases {
            let error = told(&failure);
            assert!(error.message().contains(text), "{}", error.message());
            assert_eq!((error.retry(), error.reason()), (retry, "ErrImagePull"));
        }
    }

    #[test]
    fn who_did_not_answer_is_told_from_who_answered_wrongly() {
        let host = "r.example".to_owned();
        let source = std::io::ErrorKind::ConnectionRefused.into();
        let error = told(&RegistryError::Connect { host, source });
        assert_eq!(error.message(), "reach registry r.example: connection refused");
        assert!(error.is_unreachable() && error.is_silent());
        let host = "r.example".to_owned();
        let error = told(&RegistryError::Cut { host: host.clone(), received: 0, size: 4 });
        assert!(error.is_unreachable() && error.message().contains("after 0 of 4 bytes"));
        let error = told(&RegistryError::Length { host, expected: 8, actual: 5 });
        assert!(matches!(error, ImageError::DigestMismatch { .. }), "{error:?}");
    }
}
