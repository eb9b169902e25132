//! A CA of our own, and what it signs, as PEM files.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Writes the CA's own certificate.
    pub(crate) fn write(&self, path: &Path) {
        fs::write(path, &self.pem).expect("written");
    }

    /// Writes `NAME.pem` and `NAME.key` for one host.
    pub(crate) fn sign(&self, directory: &Path, name: &str, host: &str) {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("name");
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.signed_by(&key, &self.issuer).expect("signed").pem();
        fs::write(directory.join(format!("{name}.pem")), pem).expect("written");
        fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).expect("written");
    }
}
