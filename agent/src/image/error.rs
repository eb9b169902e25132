//! What can go wrong between an image's name and its layers, in words for whoever must act.
//!
//! Most of these are found in `mote-agent pull` and cross a pipe to the agent, so they carry their
//! causes as text. They are told apart by what a person would do about them.

use mote_registry::chain;
use serde::{Deserialize, Serialize};

use super::ImageId;

pub use super::cause::Cause;

/// Whether asking again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Likely: the network, the registry or this node had a bad moment.
    Soon,
    /// Only after somebody changed something outside the pod: pushed the image, opened the
    /// repository, freed the disk. Worth asking again at the slowest pace.
    Later,
    /// No: the request itself is wrong and stays so until the pod changes.
    Never,
}

/// Why an image is not available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ImageError {
    /// The reference cannot be parsed.
    #[error("image name {reference:?} is not valid")]
    InvalidName {
        /// As the pod spec writes it.
        reference: String,
        /// What is wrong with it.
        #[source]
        cause: Cause,
    },
    /// Policy `Never`, and the image is not here.
    #[error("container image {reference:?} is not present with pull policy of Never")]
    NeverPull {
        /// As the pod spec writes it.
        reference: String,
    },
    /// The copy that is here has lost something, and no other can be had.
    #[error("image {reference} on this node is damaged")]
    Damaged {
        /// As the pod spec writes it.
        reference: String,
        /// What is damaged, and why it cannot be fetched again.
        #[source]
        cause: Cause,
    },
    /// The store has no complete image with this id.
    #[error("image {id} is not in this node's store")]
    NotPresent {
        /// What was asked for.
        id: ImageId,
    },
    /// No image on this node has that name, or an id that begins so.
    #[error("no image {reference:?} is on this node")]
    NoSuchImage {
        /// As it was asked for.
        reference: String,
    },
    /// Ids of several images begin so.
    #[error("{reference:?} names several images: give more of the id")]
    Ambiguous {
        /// As it was asked for.
        reference: String,
    },
    /// It cannot be removed.
    #[error("image {reference} is used by {by}")]
    InUse {
        /// As it was asked for.
        reference: String,
        /// Who needs it.
        by: String,
    },
    /// The registry's name does not resolve.
    #[error("find the address of registry {host}: check the image's host name and the node's DNS")]
    UnknownHost {
        /// Host and port.
        host: String,
        /// What the resolver said.
        #[source]
        cause: Cause,
    },
    /// No connection, or one that broke and could not be resumed.
    #[error("reach registry {host}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the network said.
        #[source]
        cause: Cause,
    },
    /// Nobody was asked: another download takes long.
    #[error("another download of this node has its turn")]
    Busy,
    /// The registry's certificate is not trusted, or the handshake failed.
    #[error(
        "establish TLS with registry {host}: check its certificate, the node's CA file and clock, and \
         whether it speaks plain HTTP (`insecure`)"
    )]
    Tls {
        /// Host and port.
        host: String,
        /// What TLS said.
        #[source]
        cause: Cause,
    },
    /// The registry answers that there is no such repository, tag or digest.
    #[error(
        "image {reference} does not exist in the registry: check repository and tag, or push it"
    )]
    NotFound {
        /// The full reference.
        reference: String,
    },
    /// The registry wants credentials this node does not have.
    #[error("registry {host} denies access to {repository}: it is private or does not exist")]
    Denied {
        /// Host and port.
        host: String,
        /// Repository.
        repository: String,
        /// What the registry said.
        #[source]
        cause: Cause,
    },
    /// What a pod brings to be let in is no docker configuration.
    #[error("use imagePullSecret {name}")]
    PullSecret {
        /// The Secret's name.
        name: String,
        /// What is wrong with it, without what it holds.
        #[source]
        cause: Cause,
    },
    /// Any other answer that is not a success.
    #[error("registry {host} answered {status}")]
    Registry {
        /// Host and port.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What was asked, and what the registry said about it.
        #[source]
        cause: Cause,
    },
    /// Index, manifest or configuration are not what their media type promises.
    #[error("read {what} of image {reference}")]
    Malformed {
        /// Which document.
        what: String,
        /// The full reference.
        reference: String,
        /// What is wrong with it.
        #[source]
        cause: Cause,
    },
    /// There is no variant of the image for this node.
    #[error("image {reference} is not made for this node: it needs {wanted}, there is {offered}")]
    Platform {
        /// The full reference.
        reference: String,
        /// This node's platform.
        wanted: String,
        /// The image's platforms.
        offered: String,
    },
    /// Bytes that do not have the digest that names them.
    #[error("verify {what}: the registry, a proxy or a disk changed it")]
    DigestMismatch {
        /// Which blob.
        what: String,
        /// Both digests.
        #[source]
        cause: Cause,
    },
    /// A layer that is broken, or wants what no layer may have.
    #[error("unpack layer {layer}")]
    Layer {
        /// The layer's digest.
        layer: String,
        /// The entry and the reason.
        #[source]
        cause: Cause,
    },
    /// No room for it.
    #[error("store image: no space or no inodes left; remove images or data from {path}")]
    DiskFull {
        /// The store.
        path: String,
        /// Bytes that must be free for it, where it is known.
        needed: u64,
    },
    /// It would not fit if there was nothing else.
    #[error(
        "image {reference} has {bytes} bytes packed, too many for the {capacity} of the whole disk"
    )]
    TooLarge {
        /// The full reference.
        reference: String,
        /// By its manifest.
        bytes: u64,
        /// Bytes of the store's file system.
        capacity: u64,
    },
    /// The store cannot be read or written.
    #[error("use image store")]
    Store {
        /// What was being done, and what the system said.
        #[source]
        cause: Cause,
    },
    /// An archive or layout directory that is not one.
    #[error("import {path}")]
    Import {
        /// The file or directory.
        path: String,
        /// What is wrong with it.
        #[source]
        cause: Cause,
    },
    /// An image cannot be written to an archive.
    #[error("export image {reference}")]
    Export {
        /// As it was asked for.
        reference: String,
        /// What is wrong.
        #[source]
        cause: Cause,
    },
    /// The line broke, but bytes came, and the next pull goes on with them.
    #[error(transparent)]
    Interrupted(Box<ImageError>),
    /// `mote-agent pull` could not be started, or ended without saying why.
    #[error("run the pull process")]
    Process {
        /// How it ended.
        #[source]
        cause: Cause,
    },
}

impl ImageError {
    /// The reason a waiting container shows, in Kubernetes' words.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } => "InvalidImageName",
            Self::NeverPull { .. } => "ErrImageNeverPull",
            Self::NotPresent { .. } => "ImageInspectError",
            _ => "ErrImagePull",
        }
    }

    /// The same of a pull that brought something, where it was the line that failed.
    #[must_use]
    pub fn after_progress(self) -> Self {
        if self.is_silent() && !self.made_progress() {
            return Self::Interrupted(Box::new(self));
        }
        self
    }

    /// Whether the next try needs to bring less than this one: it is no failure like the last.
    pub const fn made_progress(&self) -> bool {
        matches!(self, Self::Interrupted(_))
    }

    /// Whether asking again may help.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::InvalidName { .. }
            | Self::NoSuchImage { .. }
            | Self::Ambiguous { .. }
            | Self::InUse { .. } => Retry::Never,
            Self::UnknownHost { .. }
            | Self::Unreachable { .. }
            | Self::Busy
            | Self::Tls { .. }
            | Self::NotPresent { .. }
            | Self::Damaged { .. }
            // A proxy or a cable may have changed the bytes; the next try gets others.
            | Self::DigestMismatch { .. }
            | Self::Interrupted(_)
            | Self::Process { .. } => Retry::Soon,
            Self::Registry { status, .. } if *status >= 500 || *status == 429 => Retry::Soon,
            Self::NeverPull { .. }
            | Self::NotFound { .. }
            | Self::Denied { .. }
            | Self::PullSecret { .. }
            | Self::Registry { .. }
            | Self::Malformed { .. }
            | Self::Platform { .. }
            | Self::Layer { .. }
            | Self::DiskFull { .. }
            | Self::TooLarge { .. }
            | Self::Store { .. }
            | Self::Export { .. }
            | Self::Import { .. } => Retry::Later,
        }
    }

    /// Whether the registry could not be asked, so that a copy on disk may stand in: nobody answered,
    /// somebody in between did (a proxy, a portal), or what it has cannot be kept on this card.
    pub const fn is_unreachable(&self) -> bool {
        match self {
            Self::Malformed { .. }
            | Self::DigestMismatch { .. }
            | Self::Busy
            | Self::Store { .. } => true,
            Self::Registry { status, .. } => *status >= 500 || matches!(*status, 407 | 429),
            _ => self.is_silent(),
        }
    }

    /// Whether nobody answered: who asks again at once waits as long as before.
    pub const fn is_silent(&self) -> bool {
        matches!(
            self,
            Self::UnknownHost { .. }
                | Self::Unreachable { .. }
                | Self::Tls { .. }
                | Self::Interrupted(_)
        )
    }

    /// The same with all its texts changed: what must not be told is taken out of them.
    #[must_use]
    pub fn without(self, hide: impl Fn(&str) -> String) -> Self {
        fn walk(value: &mut serde_json::Value, hide: &impl Fn(&str) -> String) {
            match value {
                serde_json::Value::String(text) => *text = hide(text),
                serde_json::Value::Array(all) => all.iter_mut().for_each(|one| walk(one, hide)),
                serde_json::Value::Object(all) => all.values_mut().for_each(|one| walk(one, hide)),
                _ => {}
            }
        }
        let changed = serde_json::to_value(&self).and_then(|mut value| {
            walk(&mut value, &hide);
            serde_json::from_value(value)
        });
        // A kind, or a digest, that a secret happened to be a part of.
        changed.unwrap_or_else(|_| Self::Process { cause: Cause::from_text("it failed") })
    }

    /// The whole chain as one line, for a status or an event.
    pub fn message(&self) -> String {
        chain(self)
    }
}

#[cfg(test)]
mod tests;
