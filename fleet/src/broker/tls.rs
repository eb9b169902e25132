//! TLS with a broker: rustls with ring, and nothing of the system's trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rumqttc::{TlsConfiguration, Transport};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};

use super::BrokerError;
use crate::context::Context;

/// The transport that a context asks for.
pub(super) fn transport(context: &Context) -> Result<Transport, BrokerError> {
    let Some(ca) = context.ca.as_ref().filter(|_| context.broker.tls) else {
        return Ok(Transport::tcp());
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", ca)? {
        roots.add(certificate).map_err(|error| wrong("ca", ca, error.to_string()))?;
    }
    let failed = |error: rustls::Error| BrokerError::Tls {
        broker: context.broker.clone(),
        problem: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_root_certificates(roots);
    let config = match &context.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|error| from_pem("key", key_file, error))?;
            let chain = certificates("cert", cert)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| wrong("key", key_file, error.to_string()))?
        }
    };
    Ok(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config))))
}

fn certificates(
    field: &'static str,
    path: &PathBuf,
) -> Result<Vec<CertificateDer<'static>>, BrokerError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| from_pem(field, path, error))?;
    if found.is_empty() {
        return Err(wrong(field, path, "holds no certificate (PEM)".into()));
    }
    Ok(found)
}

fn from_pem(field: &'static str, path: &Path, error: pem::Error) -> BrokerError {
    match error {
        pem::Error::Io(source) => BrokerError::Credential { field, path: path.into(), source },
        pem::Error::NoItemsFound => wrong(field, path, "holds no private key (PEM)".into()),
        other => wrong(field, path, other.to_string()),
    }
}

fn wrong(field: &'static str, path: &Path, problem: String) -> BrokerError {
    BrokerError::CredentialForm { field, path: path.into(), problem }
}
