//! A CA of our own, and what it signs, as PEM files.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

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
        self.sign_for(directory, name, host, (1975, 4096));
    }

    /// The same, valid from the first of one year to the first of another.
    pub(crate) fn sign_for(&self, directory: &Path, name: &str, host: &str, years: (i32, i32)) {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let pem = params.signed_by(&key, &self.issuer).expect("signed").pem();
        fs::write(directory.join(format!("{name}.pem")), pem).expect("written");
        fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).expect("written");
    }
}
