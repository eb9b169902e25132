//! A registry client: what nodes and operators need of the OCI distribution protocol, and no more.
//!
//! | module | what it holds |
//! |---|---|
//! | [`reference`] | from what people write to registry, repository and manifest |
//! | [`digest`] | digests: parsed, printed, computed while bytes pass by |
//! | [`manifest`], [`config`], [`media_type`] | the documents that describe an image |
//! | [`platform`] | which of an image's variants a machine can run |
//! | [`archive`] | images in one file, for carrying |
//! | [`trust`], [`validity`] | certificates of servers, where the clock may be wrong |
//! | [`Registry`] | asks mirrors and registries, with docker's credentials, through proxies |
//!
//! `mote-agent pull` fills a node's store with it, `mote image save` an archive. It knows neither
//! of them, and keeps nothing on disk.
//!
//! It is blocking on the outside and drives its own little event loop on the inside: whoever pulls
//! is one thread that inflates and writes what it reads, so an interface of futures would only be
//! waited for. Every answer is bounded before it is kept: heads by count and size, documents by
//! their cap, blobs by the size their descriptor gave.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

pub mod archive;
pub mod config;
pub mod digest;
#[doc(hidden)]
pub mod fuzz;
pub mod manifest;
pub mod media_type;
pub mod platform;
pub mod reference;
pub mod trust;
pub mod validity;

mod answer;
mod auth;
mod authorize;
mod blob;
mod client;
mod credentials;
mod endpoint;
mod error;
mod glob;
mod hide;
mod pace;
mod proxy;
mod pull_secrets;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod url;

pub use answer::Fetched;
pub use blob::BlobReader;
pub use error::{RegistryError, SetupError, chain};
pub use proxy::{Exception, ExceptionError, MAX_EXCEPTIONS, Proxies, Proxy, ProxyError};
pub use pull_secrets::{MalformedSecret, PullSecret, PullSecrets};

use client::Client;
use credentials::Keyring;
use digest::{Digest, Mismatch};
use endpoint::{Endpoint, Route};
use manifest::Descriptor;
use pace::Pace;
use reference::Reference;
use transport::Transport;
use trust::Clock;
use url::Origin;

/// How often a small request is repeated after its connection broke.
const MAX_REPEATS: usize = 4;
/// What is remembered of those who could not help.
const MAX_PASSED_OVER: usize = 16;

/// What there is to know about registries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Registries that are special.
    pub hosts: Vec<Host>,
    /// PEM file of the CAs that may have signed the certificates of all others; the system's where
    /// unset.
    pub ca: Option<PathBuf>,
    /// Who stands in between.
    pub proxies: Proxies,
    /// Docker's files of names and passwords; the first that can be used counts.
    pub credential_files: Vec<PathBuf>,
    /// Bytes of blobs per second; as fast as it goes where unset.
    pub bytes_per_second: Option<NonZeroU64>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// What certificates are judged by.
    pub clock: Clock,
}

/// What is special about one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// `host` or `host:port`, as references name it.
    pub host: String,
    /// Plain HTTP instead of HTTPS.
    pub plain_http: bool,
    /// PEM file of the CAs that may have signed its certificate; those for all where unset.
    pub ca: Option<PathBuf>,
    /// What is shown where the registry asks for a certificate.
    pub identity: Option<Identity>,
    /// `host` or `host:port` of those that may have its images, asked in order before itself.
    pub mirrors: Vec<String>,
}

/// A certificate and the key to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// PEM file: our certificate, then those between it and the registry's CA.
    pub cert: PathBuf,
    /// PEM file: its private key.
    pub key: PathBuf,
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

    /// All files that may be read on the way to a registry.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let special = self.hosts.iter().flat_map(|host| {
            let identity = host.identity.iter().flat_map(|own| [&own.cert, &own.key]);
            host.ca.iter().chain(identity)
        });
        let named = self.ca.iter().chain(special).chain(&self.credential_files);
        named.map(PathBuf::as_path).chain(tls::SYSTEM.iter().map(Path::new))
    }

    /// What was said of an origin, if anything.
    fn host(&self, origin: &Origin) -> Option<&Host> {
        self.hosts.iter().find(|host| origin.is(&host.host))
    }
}

/// A connection to the registries of the world.
pub struct Registry {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// Where repositories may be found.
    route: Route,
    pace: Pace,
    /// Bytes of blobs that came over the network.
    received: u64,
    /// Mirrors that could not help.
    passed_over: Vec<String>,
    /// The last blob did not come whole from whoever is asked now.
    is_mixed: bool,
}

impl Registry {
    /// Prepares a client; nothing is connected yet.
    pub fn new(settings: Settings, secrets: &PullSecrets) -> Result<Self, SetupError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Only names are resolved on other threads.
            .max_blocking_threads(1)
            .thread_stack_size(256 * 1024)
            .build()?;
        let keyring = Keyring::load(&settings.credential_files).after(secrets)?;
        let passed_over = keyring.passed_over().to_vec();
        let pace = Pace::new(settings.bytes_per_second);
        let client = Client::new(Transport::new(settings), keyring);
        let (route, received, is_mixed) = (Route::default(), 0, false);
        Ok(Self { runtime, client, route, pace, received, passed_over, is_mixed })
    }

    /// A text without the credentials that were shown to anybody: registries may repeat them anywhere in
    /// their answers.
    pub fn hide(&self, text: &str) -> String {
        self.client.access.hide(text)
    }

    /// Mirrors and files of credentials that were passed over, each with its reason.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The digest a reference stands for now, if the registry says it without sending it.
    pub fn current(&mut self, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
        self.insist(reference, async |client, at| client.current(at, reference).await)
    }

    /// Fetches what a reference stands for, or with a digest another document of its repository,
    /// and verifies it.
    pub fn manifest(
        &mut self,
        reference: &Reference,
        digest: Option<Digest>,
    ) -> Result<Fetched, RegistryError> {
        let fetched = self
            .insist(reference, async |client, at| client.manifest(at, reference, digest).await)?;
        self.received += fetched.bytes.len() as u64;
        Ok(fetched)
    }

    /// Asks one after the other of those who may know, and again when a connection breaks in the
    /// middle of an answer, as bad links do.
    fn insist<T>(
        &mut self,
        reference: &Reference,
        mut ask: impl AsyncFnMut(&mut Client, &Endpoint) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.route.lead_to(reference, self.client.transport().settings())?;
        let mut pause = self.client.transport().timeouts().pause;
        let mut repeats = 0;
        loop {
            let endpoint = self.route.endpoint()?;
            let error = match self.runtime.block_on(ask(&mut self.client, endpoint)) {
                Err(error) => error,
                result => return result,
            };
            if error.is_broken() && repeats < MAX_REPEATS {
                self.pause(pause);
                (pause, repeats) = (pause * 2, repeats + 1);
                continue;
            }
            self.pass_over(error)?;
            repeats = 0;
        }
    }

    /// Goes on to the next who may have the image; gives the error back where nobody is left.
    fn pass_over(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        match self.route.pass_over() {
            Some(mirror) => {
                let text = format!("mirror {mirror}: {}", chain(&error));
                // It may be the same for many repositories.
                if self.passed_over.len() < MAX_PASSED_OVER && !self.passed_over.contains(&text) {
                    self.passed_over.push(text);
                }
                Ok(())
            }
            None => Err(error),
        }
    }

    /// What came of the last blob does not have its digest: may another try bring something else?
    ///
    /// Whoever sent all of it is passed over. Where several did, or its start was kept from an
    /// earlier pull, nobody knows whose fault it is: whoever is asked now may send all of it.
    pub fn tries_another(&mut self, wrong: &Mismatch) -> bool {
        if std::mem::take(&mut self.is_mixed) {
            return true;
        }
        let host = self.route.endpoint().map(|at| at.origin.to_string()).unwrap_or_default();
        self.pass_over(RegistryError::Mismatch { host, source: wrong.clone() }).is_ok()
    }

    /// Waits for a random part of `limit`.
    fn pause(&self, limit: Duration) {
        let pause = jitter(limit);
        // The timer must be made where its event loop is.
        self.runtime.block_on(async { tokio::time::sleep(pause).await });
    }

    /// Reads a blob; its digest is the reader's to check.
    /// It begins with the byte at `offset`.
    pub fn blob<'a>(
        &'a mut self,
        reference: &'a Reference,
        descriptor: &Descriptor,
        offset: u64,
    ) -> BlobReader<'a> {
        self.is_mixed = offset > 0;
        BlobReader::new(self, reference, descriptor, offset)
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
    part(limit, u16::from_be_bytes(bytes))
}

/// From nothing of `limit` to all of it, in as many steps as there are numbers.
fn part(limit: Duration, random: u16) -> Duration {
    limit.mul_f64(f64::from(random) / f64::from(u16::MAX))
}
