//! A certificate and the key that belongs to it.

use std::path::Path;

use anyhow::{Context as _, ensure};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::source::{Entries, read_file};

/// Reads both files, and refuses a key of another certificate: a server would, too, and later.
pub(super) fn read(cert: &Path, key: &Path) -> anyhow::Result<Entries> {
    let (cert_pem, key_pem) = (read_file(cert)?, read_file(key)?);
    let chain = CertificateDer::pem_slice_iter(&cert_pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.with_context(|| format!("read certificate {}", cert.display()))?;
    ensure!(!chain.is_empty(), "{} holds no certificate (PEM)", cert.display());
    let private = PrivateKeyDer::from_pem_slice(&key_pem)
        .with_context(|| format!("read private key {}", key.display()))?;
    let private = any_supported_type(&private)
        .with_context(|| format!("read private key {}", key.display()))?;
    CertifiedKey::new(chain, private).keys_match().with_context(|| {
        format!("private key {} does not match certificate {}", key.display(), cert.display())
    })?;
    Ok(Entries::from([("tls.crt".to_owned(), cert_pem), ("tls.key".to_owned(), key_pem)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_key_must_belong_to_its_certificate() {
        let folder = tempfile::tempdir().expect("folder");
        let made = || rcgen::generate_simple_self_signed(["web.example".to_owned()]).expect("made");
        let (own, other) = (made(), made());
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("write");
            path
        };
        let cert = write("tls.crt", own.cert.pem());
        let key = write("tls.key", own.signing_key.serialize_pem());
        let wrong = write("other.key", other.signing_key.serialize_pem());
        let entries = read(&cert, &key).expect("a pair");
        assert_eq!(entries.keys().collect::<Vec<_>>(), ["tls.crt", "tls.key"]);
        let error = read(&cert, &wrong).expect_err("another key").to_string();
        assert!(error.starts_with("private key") && error.contains("does not match"), "{error}");
        assert!(read(&key, &key).is_err(), "a key is no certificate");
        assert!(read(&cert, &cert).is_err(), "a certificate is no key");
    }
}
