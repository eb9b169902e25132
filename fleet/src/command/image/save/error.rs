//! Why there is no archive.

use std::io;
use std::path::PathBuf;

use mote_protocol::image::size;
use mote_registry::RegistryError;
use mote_registry::archive::MAX_IMAGES;
use mote_registry::digest::{Digest, Mismatch};
use mote_registry::manifest::ManifestError;
use mote_registry::reference::{Reference, ReferenceError};

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub(super) enum SaveError {
    /// A name cannot be read.
    #[error("image name {name:?} is not valid")]
    Name {
        /// As it was given.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// More than one archive holds.
    #[error("{0} images are more than {MAX_IMAGES}, which is what one archive may hold")]
    TooMany(usize),
    /// A file that was named cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The registry has no such thing.
    #[error("image {reference} not found: the registry has no such repository, tag or digest")]
    NotFound {
        /// The full reference.
        reference: String,
    },
    /// The registry has the image, and not all of it.
    #[error("the registry lacks manifest {digest}, which is part of {reference}")]
    Lacks {
        /// What it lacks.
        digest: Digest,
        /// The full reference.
        reference: String,
    },
    /// The registry wants to know who asks, or knows it.
    #[error("registry {host} denies access to {repository}: it is private or does not exist")]
    Denied {
        /// Host and port.
        host: String,
        /// The repository.
        repository: String,
        /// What it said.
        #[source]
        source: Box<RegistryError>,
    },
    /// It speaks no TLS, or none that is believed.
    #[error(
        "reach registry {host}: check its certificate and your CA file (--ca-file), and whether it \
         speaks plain HTTP (--plain-http {host})"
    )]
    Tls {
        /// Host and port.
        host: String,
        /// What TLS said.
        #[source]
        source: Box<RegistryError>,
    },
    /// The registry could not be asked, or its answer is of no use.
    #[error("fetch {reference}")]
    Fetch {
        /// The full reference.
        reference: String,
        /// What happened.
        #[source]
        source: Box<RegistryError>,
    },
    /// A document is not what it should be.
    #[error("read {what} of {reference}")]
    Document {
        /// Which.
        what: &'static str,
        /// The full reference.
        reference: String,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// A document that nobody would believe.
    #[error("the documents of {reference} have more than {limit} bytes")]
    TooLarge {
        /// The full reference.
        reference: String,
        /// The bound.
        limit: u64,
    },
    /// Indexes within indexes.
    #[error("the indexes of {reference} are nested too deep")]
    Nested {
        /// The full reference.
        reference: String,
    },
    /// It is for others.
    #[error("image {reference} is not made for {wanted}: there is {offered}")]
    Platform {
        /// The full reference.
        reference: String,
        /// What was asked for.
        wanted: String,
        /// What it is made for.
        offered: String,
    },
    /// It is for several, and nobody said for which it is wanted.
    #[error(
        "image {reference} is made for several platforms: choose with --platform, or take all: \
         there is {offered}"
    )]
    Several {
        /// The full reference.
        reference: String,
        /// What it is made for.
        offered: String,
    },
    /// Bytes that do not have the digest that names them.
    #[error("verify {what} of {reference}: the registry or somebody in between changed it")]
    Mismatch {
        /// Which.
        what: String,
        /// The full reference.
        reference: String,
        /// Both digests.
        #[source]
        source: Box<Mismatch>,
    },
    /// Standard output is somebody's screen.
    #[error("an archive is not for a terminal: name a file with -o, or write to a pipe")]
    Terminal,
    /// Any of these, told without the credentials that the registry repeated.
    #[error("{0}")]
    Hidden(String),
    /// There is a directory in the archive's place.
    #[error("{path} is a directory: name a file in it")]
    Directory {
        /// What was named.
        path: PathBuf,
    },
    /// Somebody else writes the same archive.
    #[error("{path} is being written by another `mote image save`")]
    Busy {
        /// What was named.
        path: PathBuf,
    },
    /// There is something else in the archive's place.
    #[error("{path} is no file: to write to a pipe, use `-o -`")]
    NoFile {
        /// What was named.
        path: PathBuf,
    },
    /// It would not fit.
    #[error("no room for {path}: it takes {}, and {} are free", size(*.needed), size(*.free))]
    NoRoom {
        /// The archive.
        path: PathBuf,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// It cannot be written.
    #[error("write {path}")]
    Write {
        /// The archive.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody pressed Ctrl-C, or closed the terminal.
    #[error("interrupted: no archive was written")]
    Interrupted,
    /// No thread, no event loop.
    #[error("fetch images")]
    System(#[source] io::Error),
}

impl SaveError {
    /// What a registry's failure means for whoever wanted the image.
    pub(super) fn of(source: RegistryError, reference: &Reference) -> Self {
        match source {
            RegistryError::NotFound => Self::NotFound { reference: reference.to_string() },
            RegistryError::Denied { ref host, .. } => {
                let (host, repository) = (host.clone(), reference.repository().to_owned());
                Self::Denied { host, repository, source: Box::new(source) }
            }
            RegistryError::Tls { ref host, .. } => {
                Self::Tls { host: host.clone(), source: Box::new(source) }
            }
            source => Self::Fetch { reference: reference.to_string(), source: Box::new(source) },
        }
    }

    /// The same of a manifest that an index names.
    pub(super) fn of_manifest(source: RegistryError, digest: Digest, of: &Reference) -> Self {
        match source {
            RegistryError::NotFound => Self::Lacks { digest, reference: of.to_string() },
            source => Self::of(source, of),
        }
    }

    /// The same of a document.
    pub(super) fn in_document(
        what: &'static str,
        source: ManifestError,
        reference: &Reference,
    ) -> Self {
        let reference = reference.to_string();
        match source {
            ManifestError::Platform { wanted, offered } => {
                Self::Platform { reference, wanted, offered }
            }
            source => Self::Document { what, reference, source },
        }
    }
}
