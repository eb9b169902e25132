//! A certificate authority of its own for each test: nothing is checked in, nothing expires.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::board;

/// An authority, and the directory that its files lie in.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Where a certificate and its key lie.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

impl Authority {
    /// A new one; its certificate is `ca.pem` in `directory`.
    pub fn new(directory: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "mote test authority");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        fs::create_dir_all(directory)?;
        fs::write(directory.join("ca.pem"), certificate.pem()).context("write ca.pem")?;
        Ok(Self { directory: directory.into(), issuer: Issuer::new(params, key) })
    }

    /// Its own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// A certificate for a server on this machine, also as a virtual board sees it, or for somebody
    /// called `name`.
    pub fn issue(&self, name: &str) -> Result<Identity> {
        self.issue_with(name, |_| {})
    }

    /// The same in its place, but it was valid in 2025 only.
    pub fn issue_expired(&self, name: &str) -> Result<Identity> {
        self.issue_with(name, |params| {
            params.not_before = date_time_ymd(2025, 1, 1);
            params.not_after = date_time_ymd(2025, 12, 31);
        })
    }

    fn issue_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Identity> {
        let mut params = CertificateParams::new(vec!["localhost".into(), name.to_owned()])?;
        for address in [Ipv4Addr::LOCALHOST, board::HOST] {
            params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(address)));
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let identity = Identity {
            certificate: self.directory.join(format!("{name}.pem")),
            key: self.directory.join(format!("{name}.key")),
        };
        fs::write(&identity.certificate, certificate.pem()).context("write certificate")?;
        fs::write(&identity.key, key.serialize_pem()).context("write key")?;
        Ok(identity)
    }
}
