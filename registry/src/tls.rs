//! Whom to believe when a registry shows its certificate.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Identity;
use super::trust::Clock;

/// Where distributions keep the CAs that they trust, all in one file.
pub(super) const SYSTEM: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/usr/share/ca-certificates/ca-bundle.crt",
];

/// Most certificates taken from one file. Distributions have about 150.
const MAX_CERTIFICATES: usize = 1024;

/// A client configuration that trusts the CAs in `file`, or the system's, and shows `identity`
/// where it is asked for a certificate.
pub(super) fn client(
    file: Option<&Path>,
    identity: Option<&Identity>,
    clock: Clock,
) -> Result<Arc<ClientConfig>, (PathBuf, io::Error)> {
    let path = match file {
        Some(file) => file.to_owned(),
        None => SYSTEM.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            let text = "the system has no CA bundle; install ca-certificates or name a CA file";
            (PathBuf::from(SYSTEM[0]), io::Error::new(io::ErrorKind::NotFound, text))
        })?,
    };
    let roots = roots(&path).map_err(|error| (path.clone(), error))?;
    let own = identity
        .map(|Identity { cert, .. }| certificates(cert).map_err(|error| (cert.clone(), error)));
    let own = own.transpose()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = clock
        .since(own.iter().flatten())
        .verifier(roots, Arc::clone(&provider))
        .map_err(|error| (path.clone(), io::Error::other(error)))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| (path, io::Error::other(error)))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity.zip(own) {
        None => builder.with_no_client_auth(),
        Some((Identity { cert, key }, chain)) => {
            let secret = private_key(key).map_err(|error| (key.clone(), error))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|error| (cert.clone(), io::Error::other(error)))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_reader_iter(File::open(path)?).take(MAX_CERTIFICATES);
    let chain = found.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    if chain.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it"));
    }
    Ok(chain)
}

fn private_key(path: &Path) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_reader(File::open(path)?).map_err(io::Error::other)
}

fn roots(path: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(File::open(path)?).take(MAX_CERTIFICATES) {
        let certificate = certificate.map_err(io::Error::other)?;
        // Bundles hold CAs that no verifier accepts; the others count.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        let text = "no usable CA certificate in it";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (path, error) = client(Some(file.path()), None, Clock::default()).unwrap_err();
        assert_eq!(path, file.path());
        assert_eq!(error.to_string(), "no usable CA certificate in it");
        let missing = Some(Path::new("/nonexistent/ca.pem"));
        let (path, error) = client(missing, None, Clock::default()).unwrap_err();
        assert_eq!((path, error.kind()), ("/nonexistent/ca.pem".into(), io::ErrorKind::NotFound));
    }
}
