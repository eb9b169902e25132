//! A registry client: what a node needs of the OCI distribution protocol, and no more.
//!
//! It is blocking on the outside and drives its own little event loop on the inside: `mote-agent
//! pull` is one thread that inflates and writes what it reads, so an interface of futures would
//! only be waited for. Every answer is bounded before it is kept: heads by count and size,
//! documents by their cap, blobs by the size their descriptor gave.

use std::path::PathBuf;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::manifest::Descriptor;
use super::reference::Reference;

mod auth;
mod blob;
mod client;
mod error;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod url;

pub use blob::BlobReader;
pub use client::Fetched;
pub use error::RegistryError;

use client::Client;
use transport::Transport;
use url::Origin;

/// How often a small request is repeated after its connection broke.
const MAX_REPEATS: usize = 4;

/// What this node was told about registries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Registries that are special.
    pub hosts: Vec<Host>,
    /// How long to wait for what.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// What is special about one registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// `host` or `host:port`, as references name it.
    pub host: String,
    /// Plain HTTP instead of HTTPS.
    pub plain_http: bool,
    /// PEM file of the CAs that may have signed its certificate; the system's where unset.
    pub ca: Option<PathBuf>,
}

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// For a name, for a connection, and for a TLS handshake, each.
    pub connect: Duration,
    /// For an answer to begin.
    pub answer: Duration,
    /// For the next bytes of an answer.
    pub idle: Duration,
    /// Upper bound of the pause before a broken download goes on; doubles with each failure.
    pub pause: Duration,
}

impl Default for Timeouts {
    /// Long enough for a modem, short enough that a dead link does not hold up other pulls.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            pause: Duration::from_secs(1),
        }
    }
}

impl Settings {
    fn is_plain(&self, authority: &str) -> bool {
        let origin = Origin::parse(false, authority);
        let is =
            |host: &&Host| host.plain_http && origin.as_ref().is_some_and(|o| o.is(&host.host));
        self.hosts.iter().any(|host| is(&host))
    }

    fn authority_file(&self, origin: &Origin) -> Option<&PathBuf> {
        self.hosts.iter().find(|host| origin.is(&host.host))?.ca.as_ref()
    }
}

/// A connection to the registries of the world.
pub struct Registry {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// Bytes of blobs that came over the network.
    received: u64,
}

impl Registry {
    /// Prepares a client; nothing is connected yet.
    pub fn new(settings: Settings) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Only names are resolved on other threads.
            .max_blocking_threads(1)
            .thread_stack_size(256 * 1024)
            .build()?;
        Ok(Self { runtime, client: Client::new(Transport::new(settings)), received: 0 })
    }

    /// The digest a reference stands for now, if the registry says it without sending it.
    pub fn current(&mut self, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
        self.insist(async |client| client.current(reference).await)
    }

    /// Fetches what a reference stands for, or with a digest another document of its repository,
    /// and verifies it.
    pub fn manifest(
        &mut self,
        reference: &Reference,
        digest: Option<Digest>,
    ) -> Result<Fetched, RegistryError> {
        let fetched = self.insist(async |client| client.manifest(reference, digest).await)?;
        self.received += fetched.bytes.len() as u64;
        Ok(fetched)
    }

    /// Asks again when a connection breaks in the middle of an answer, as bad links do.
    fn insist<T>(
        &mut self,
        mut ask: impl AsyncFnMut(&mut Client) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut pause = self.client.transport().timeouts().pause;
        for _ in 0..MAX_REPEATS {
            match self.runtime.block_on(ask(&mut self.client)) {
                Err(RegistryError::Http { .. }) => {
                    self.pause(pause);
                    pause *= 2;
                }
                result => return result,
            }
        }
        self.runtime.block_on(ask(&mut self.client))
    }

    /// Waits for a random part of `limit`.
    fn pause(&self, limit: Duration) {
        let pause = jitter(limit);
        // The timer must be made where its event loop is.
        self.runtime.block_on(async { tokio::time::sleep(pause).await });
    }

    /// Reads a blob; its digest is the reader's to check.
    pub fn blob<'a>(
        &'a mut self,
        reference: &'a Reference,
        descriptor: &Descriptor,
    ) -> BlobReader<'a> {
        BlobReader::new(self, reference, descriptor.digest, descriptor.size)
    }

    /// Bytes of documents and blobs that came over the network so far.
    pub const fn received(&self) -> u64 {
        self.received
    }
}

/// A random part of `limit`, so that nodes which lost the registry together do not return
/// together.
fn jitter(limit: Duration) -> Duration {
    let mut bytes = [0; 2];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        return limit;
    }
    limit.mul_f64(f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX))
}
