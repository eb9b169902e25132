//! What can go wrong between whoever asks and a registry.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::digest::Mismatch;
use crate::manifest::ManifestError;
use crate::pull_secrets::MalformedSecret;

/// Why nobody can be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// This machine does not let us.
    #[error("prepare to ask registries")]
    System(#[from] io::Error),
    /// A pod brings what opens nothing.
    #[error("use imagePullSecret {}", .0.name)]
    Secret(#[from] MalformedSecret),
}

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The name does not resolve.
    #[error("resolve {host}")]
    Resolve {
        /// Host and port.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No address accepts connections.
    #[error("connect to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the last address said.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake with {host}")]
    Tls {
        /// Host and port.
        host: String,
        /// What TLS said.
        #[source]
        source: io::Error,
    },
    /// No CA to check certificates with, or none of our own to show.
    #[error("use certificates of {path}")]
    Authorities {
        /// Whom they were for.
        host: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The proxy in between does not let us through.
    #[error("proxy {proxy} answered {status} when asked for {host}")]
    Proxy {
        /// Host and port.
        host: String,
        /// The proxy's.
        proxy: String,
        /// HTTP status.
        status: u16,
    },
    /// HTTP broke.
    #[error("exchange HTTP with {host}")]
    Http {
        /// Host and port.
        host: String,
        /// How.
        #[source]
        source: hyper::Error,
    },
    /// Nothing came for too long.
    #[error("{host} sent nothing for {seconds} s")]
    Silent {
        /// Host and port.
        host: String,
        /// How long.
        seconds: u64,
    },
    /// The connection ended before the blob did, too often.
    #[error("{host} ended the connection after {received} of {size} bytes")]
    Cut {
        /// Host and port.
        host: String,
        /// Bytes that came.
        received: u64,
        /// Bytes that should have come.
        size: u64,
    },
    /// Bytes come, but so few that the blob would take days.
    #[error("{host} sent {received} bytes in {seconds} s")]
    Slow {
        /// Host and port.
        host: String,
        /// Bytes that came in that time.
        received: u64,
        /// How long they were waited for.
        seconds: u64,
    },
    /// A blob of another length than the manifest says.
    #[error("{host} has {actual} bytes where the manifest promises {expected}")]
    Length {
        /// Host and port.
        host: String,
        /// By the manifest.
        expected: u64,
        /// By the registry, or at least this many.
        actual: u64,
    },
    /// Not a success and nothing more specific.
    #[error("{host} answered {status} to {path}: {text}")]
    Status {
        /// Host and port.
        host: String,
        /// HTTP status.
        status: u16,
        /// What was asked for.
        path: String,
        /// What the registry said.
        text: String,
    },
    /// 404 for a manifest.
    #[error("no such manifest")]
    NotFound,
    /// 401 or 403, with an anonymous token where the registry gives them.
    #[error("{text}")]
    Denied {
        /// Host and port.
        host: String,
        /// What the registry said.
        text: String,
    },
    /// An answer that breaks the protocol, or asks for what is not done here.
    #[error("{what}")]
    Protocol {
        /// Host and port.
        host: String,
        /// What it did.
        what: String,
    },
    /// Something else than a manifest: the page of a portal, for example.
    #[error("read what {host} sent as manifest")]
    Malformed {
        /// Host and port.
        host: String,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// A document does not have its digest.
    #[error("verify what {host} sent")]
    Mismatch {
        /// Host and port.
        host: String,
        /// Both digests.
        #[source]
        source: Mismatch,
    },
}

impl RegistryError {
    /// Whether the same request may work a moment later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Proxy { .. }
            | Self::Silent { .. }
            | Self::Slow { .. }
            | Self::Cut { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            _ => self.is_broken(),
        }
    }

    /// Whether a connection that was there broke.
    pub(super) fn is_broken(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match self {
            Self::Http { .. } => true,
            // Certificates that are not trusted are another kind.
            Self::Tls { source, .. } => matches!(
                source.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
            ),
            _ => false,
        }
    }

    /// Whether whoever was asked will not give it to this name; another may have it.
    pub(super) const fn is_refusal(&self) -> bool {
        match self {
            Self::NotFound | Self::Denied { .. } => true,
            Self::Status { status, .. } => *status >= 400 && *status < 500 && *status != 429,
            _ => false,
        }
    }
}

/// The texts of `error` and its sources, joined by `: `.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
