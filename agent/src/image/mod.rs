//! Container images: where they come from, how they are kept, what the runtime gets to see.
//!
//! [`Images`] is the port the reconciler uses. Behind it stand two halves of one module: the
//! agent's side reads the [`store`](Images::list) and starts `mote-agent pull`; that child talks to
//! registries, parses archives and writes to the store, and its memory is gone when it exits. The
//! agent itself never reads a byte that a registry or a layer chose, except digests it has checked
//! and small JSON it bounds.
//!
//! An image on disk is one directory per layer, shared between images and used as it is by
//! overlayfs, so that starting a container copies nothing.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mote_registry::PullSecrets;
use mote_registry::config::ImageConfig;
use mote_registry::digest::Digest;

pub mod assembly;
pub mod cause;
pub mod error;
pub mod export;
pub mod gc;
pub mod layer;
pub mod layout;
pub mod pull;
pub mod puller;
mod reserved;
pub mod room;
pub mod source;
pub mod store;
pub mod told;
pub mod unpack;
mod zstd;

pub use error::{ImageError, Retry};
pub use puller::{News, Puller, PullerConfig};
pub use room::Amount;

/// Where container images come from, as the reconciler sees it.
pub trait Images {
    /// Makes the image present on this node as the policy asks, and names what it got.
    ///
    /// Concurrent calls for one reference share one pull; dropping the last of them ends it.
    fn ensure(&self, request: &ImageRequest) -> impl Future<Output = Result<Ensured, ImageError>>;

    /// The image's configuration and its layer directories, lowest first.
    ///
    /// Fails with [`ImageError::NotPresent`] when the store lost it.
    fn resolve(&self, id: &ImageId) -> impl Future<Output = Result<Image, ImageError>>;

    /// Every image in the store.
    fn list(&self) -> impl Future<Output = Result<Vec<ImageSummary>, ImageError>>;

    /// Brings the images of an OCI layout or archive into the store, or of every one in a
    /// directory.
    fn import(&self, path: &Path) -> impl Future<Output = Result<Imported, ImageError>>;

    /// Writes an image, by name or id, to an archive, and gives the archive's length.
    fn export(&self, reference: &str, path: &Path)
    -> impl Future<Output = Result<u64, ImageError>>;

    /// Compares every layer with what was unpacked once. What is damaged is fetched again when it
    /// is needed.
    fn verify(&self) -> impl Future<Output = Result<Verified, ImageError>>;

    /// Removes images that nobody needs. To be waited for to its end.
    fn sweep(&self, sweep: Sweep) -> impl Future<Output = Result<Swept, ImageError>>;
}

/// What an import brought.
#[derive(Debug, Default)]
pub struct Imported {
    /// The images, by every name they have.
    pub images: Vec<(ImageId, Option<String>)>,
    /// What could not be imported from a directory that also held other things.
    pub skipped: Vec<ImageError>,
}

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Layers that were compared.
    pub layers: u64,
    /// Others, of which nobody knows what they held.
    pub unknown: u64,
    /// Those that are damaged, each with its images and its first damage, for a person.
    pub damaged: Vec<String>,
}

/// Images that are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// Which.
    pub what: What,
    /// What must stay.
    pub in_use: InUse,
    /// When that was found out: who asked for an image since then needs it, too.
    pub asked: Instant,
}

/// Which images are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// As many as the thresholds say, where the disk is too full.
    Excess,
    /// As many as the thresholds say, since something found no room. None where even all of them
    /// would not be enough for it.
    Room {
        /// Bytes that it needs free, where it is known.
        needed: u64,
    },
    /// All that nobody needs.
    All,
    /// These, by name or id. Where one cannot go, none does.
    Named(Vec<String>),
}

/// What is needed, and by whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// By identity: what runs, ran last, or ran before its image was changed.
    pub images: BTreeMap<ImageId, String>,
    /// By full reference: what pods ask for.
    pub references: BTreeMap<String, String>,
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Images, with all their names.
    pub images: Vec<ImageSummary>,
    /// Names whose image has others.
    pub names: Vec<String>,
    /// What of layers is free now.
    pub freed: Amount,
    /// What was to be freed.
    pub wanted: Amount,
}

/// What a container asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRequest {
    /// The image as the pod spec writes it, not yet parsed: `busybox`, `ghcr.io/a/b:1@sha256:...`.
    pub reference: String,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// `imagePullSecrets` of whoever wants it.
    pub secrets: PullSecrets,
    /// Whoever asks waits as long as other downloads take, also where there is a copy: a person, who
    /// wants to know what the registry has. The start of a container does not wait long.
    pub waits: bool,
}

/// When to ask the registry for an image, in the words of Kubernetes' `imagePullPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PullPolicy {
    /// Ask every time. An unreachable registry is no reason not to start a container whose image
    /// is here: the copy on disk is used and the outcome says so.
    Always,
    /// Ask only when the image is not on this node.
    IfNotPresent,
    /// Never ask.
    Never,
}

/// An image's identity: the digest of the manifest chosen for this node's platform.
///
/// The manifest names its configuration and layers by digest, so two images with one id are the
/// same in every byte.
pub type ImageId = Digest;

/// What [`Images::ensure`] achieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// The image that is now present.
    pub id: ImageId,
    /// How it came to be.
    pub source: Source,
}

/// How an image came to be present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It was here already; no registry was asked, or the registry confirmed that it is current.
    Present,
    /// It was fetched.
    Pulled {
        /// Bytes that came over the network, layers that were here already not counted.
        bytes: u64,
        /// Bytes of the whole image as it travels.
        size: u64,
        /// From the start of the pull to its end, without waiting for other pulls.
        duration: Duration,
    },
    /// The policy asked for the registry, the registry could not be asked, and the copy on disk is
    /// used instead. Worth an event: the image may be out of date.
    FallbackStale {
        /// Why the registry could not be asked, for a person.
        reason: String,
    },
}

/// An image as the runtime needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The image's identity.
    pub id: ImageId,
    /// What the image asks of whoever runs it.
    pub config: ImageConfig,
    /// One directory per layer, lowest first; all have the same parent directory and short names,
    /// so a mount made from there fits many of them into the one page of its options.
    pub layers: Vec<PathBuf>,
    /// `registry/repository@sha256:...` as the registry knows it, or the bare digest for an image
    /// that was imported without a name. Kubernetes shows it as `imageID`.
    pub digest_reference: String,
}

/// One line of an image list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// The image's identity.
    pub id: ImageId,
    /// Full references that name it, sorted.
    pub names: Vec<String>,
    /// Bytes of its layers on disk, before sharing.
    pub bytes: u64,
}
