//! TLS towards the broker: rustls with ring, from files that are read again for each connection, judged
//! by the time of day as far as this node knows it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::server::VerifierBuilderError;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::config::{BrokerConfig, ClientCertificate};
use crate::daytime::Daytime;

/// Longest file of certificates; Debian's bundle of all CAs has 220 KiB.
const MAX_PEM: u64 = 1024 * 1024;

/// Where distributions keep the CAs they trust: Debian and Alpine, Fedora, OpenSSL's own place.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why TLS cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A file has no certificate in it.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// A file has no private key in it.
    #[error("{} holds no private key", path.display())]
    NoKey {
        /// Which.
        path: PathBuf,
        /// What was found.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// There is no bundle of CAs where distributions keep one.
    #[error("no system bundle of CAs was found; name one with `broker.ca`")]
    NoBundle,
    /// rustls refuses the certificate or the key.
    #[error("use client certificate {}", path.display())]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// rustls refuses its own defaults.
    #[error("set up TLS")]
    Setup(#[source] rustls::Error),
    /// rustls refuses all authorities.
    #[error("judge by the authorities in {}", path.display())]
    Authorities {
        /// Where they are.
        path: PathBuf,
        /// Why.
        #[source]
        source: VerifierBuilderError,
    },
}

/// The time at which a connection begins, as long as it takes to begin.
#[derive(Debug)]
struct Begun(UnixTime);

impl TimeProvider for Begun {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// What the clock shows, as rustls counts.
fn shown(daytime: &Daytime) -> UnixTime {
    let seconds = u64::try_from(daytime.shown_s).unwrap_or_default();
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// Names the times for which a certificate was refused, if it was.
pub(super) fn explain(error: io::Error, daytime: &Daytime) -> io::Error {
    daytime.clock().explain(error, shown(daytime))
}

/// What one connection needs.
pub(super) fn client_config(
    broker: &BrokerConfig,
    daytime: &Daytime,
) -> Result<Arc<ClientConfig>, TlsError> {
    let path = bundle(broker.ca.as_deref())?;
    let authorities = certificates(path)?;
    let own = broker.certificate.as_ref().map(|own| certificates(&own.cert)).transpose()?;
    let clock = daytime.clock().since(own.iter().flatten());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = clock
        .verifier(roots(path, authorities)?, Arc::clone(&provider))
        .map_err(|source| TlsError::Authorities { path: path.to_owned(), source })?;
    let begun = Arc::new(Begun(shown(daytime)));
    let builder = ClientConfig::builder_with_details(provider, begun)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (&broker.certificate, own) {
        (Some(ClientCertificate { cert, key }), Some(chain)) => {
            let key = PrivateKeyDer::from_pem_slice(&read(key)?)
                .map_err(|source| TlsError::NoKey { path: key.clone(), source })?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|source| TlsError::Certificate { path: cert.clone(), source })?
        }
        _ => builder.with_no_client_auth(),
    };
    // The configuration ends with the connection, so there is nothing to resume.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn bundle(ca: Option<&Path>) -> Result<&Path, TlsError> {
    let mut system = SYSTEM_BUNDLES.into_iter().map(Path::new);
    ca.or_else(|| system.find(|path| path.exists())).ok_or(TlsError::NoBundle)
}

fn roots(
    path: &Path,
    authorities: Vec<CertificateDer<'static>>,
) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // A bundle may hold old certificates that today's rules refuse; the others count.
    let (added, _) = roots.add_parsable_certificates(authorities);
    if added == 0 {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_PEM).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
