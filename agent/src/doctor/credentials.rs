//! What the node shows to others, and what it knows them by: files of certificates, keys, passwords.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use mote_protocol::doctor::Finding;
use mote_registry::validity::Validity;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::daytime::{Daytime, shown_time};
use crate::link::session::check_tls;
use crate::log::Chain;

/// Longest file that is read.
const MAX_FILE: u64 = 1024 * 1024;

/// A certificate that ends sooner than this is told of.
const SOON_S: i64 = 14 * 24 * 60 * 60;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    /// Certificates of which one must have signed the other side's.
    Authority,
    /// A certificate of ours, with those between it and an authority.
    Certificate,
    Key,
    Password,
}

/// What was seen of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Credentials {
    pub(super) files: Vec<Seen>,
    /// Why TLS towards the broker cannot even be tried.
    pub(super) unusable: Option<String>,
    /// What time it was, in Unix seconds, as far as the node knew.
    pub(super) now: i64,
    /// Its clock counted; otherwise what is of the future to it may be valid.
    pub(super) is_kept: bool,
}

/// What was seen of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) role: Role,
    pub(super) path: String,
    /// Of certificates when each is valid; or why it cannot be used.
    pub(super) state: Result<Vec<Validity>, String>,
}

impl Credentials {
    /// Reads what a configuration names.
    pub(super) fn read(config: &Config, daytime: &Daytime) -> Self {
        let mut files: Vec<Seen> = Vec::new();
        let mut look = |role, path: &Path| {
            let path_text = path.display().to_string();
            // Registries may share them.
            if !files.iter().any(|seen| seen.role == role && seen.path == path_text) {
                files.push(Seen { role, path: path_text, state: read(role, path) });
            }
        };
        let broker = &config.broker;
        broker.ca.iter().for_each(|path| look(Role::Authority, path));
        if let Some(own) = &broker.certificate {
            look(Role::Certificate, &own.cert);
            look(Role::Key, &own.key);
        }
        let login = broker.login.as_ref();
        login
            .and_then(|login| login.password_file.as_ref())
            .inspect(|path| look(Role::Password, path));
        for host in &config.images.registries.hosts {
            host.ca.iter().for_each(|path| look(Role::Authority, path));
            if let Some(own) = &host.identity {
                look(Role::Certificate, &own.cert);
                look(Role::Key, &own.key);
            }
        }
        let unusable = check_tls(broker).err().map(|error| Chain(&error).to_string());
        let is_kept = daytime.doubt().is_none();
        let now = if is_kept { daytime.shown_s } else { daytime.shown_s.max(daytime.floor_s) };
        Self { files, unusable, now, is_kept }
    }

    pub(super) fn judge(&self, found: &mut Vec<Finding>) {
        let before = found.len();
        self.files.iter().for_each(|seen| seen.judge(self.now, self.is_kept, found));
        // It nearly always says what a file has said already.
        if let Some(why) = self.unusable.as_ref().filter(|_| found.len() == before) {
            let message = format!("TLS towards the broker cannot be tried: {why}");
            let remedy = "mend what `broker.ca`, `broker.cert` and `broker.key` name; certificate \
                          and key must belong together";
            found.push(Finding::problem("CredentialUnusable", &message, remedy));
        }
    }
}

impl Seen {
    fn judge(&self, now: i64, is_kept: bool, found: &mut Vec<Finding>) {
        let path = &self.path;
        let validities = match &self.state {
            Ok(validities) => validities,
            Err(why) => {
                let what = match self.role {
                    Role::Authority => "certificates of authorities",
                    Role::Certificate => "the node's certificate",
                    Role::Key => "the node's private key",
                    Role::Password => "the password",
                };
                let message = format!("{what} in {path} cannot be used: {why}");
                let remedy = "put a file there that root can read (PEM, but for a password), or \
                              name another in agent.toml";
                return found.push(Finding::problem("CredentialUnusable", &message, remedy));
            }
        };
        let Some(validity) = self.deciding(validities, now) else { return };
        let renew = "have it renewed by who signed it, and put it in its place: it is read again \
                     with each connection";
        if validity.to < now {
            let message =
                format!("the certificate in {path} expired on {}", shown_time(validity.to));
            found.push(Finding::problem("CertificateExpired", &message, renew));
        } else if validity.from > now && is_kept {
            let (from, is) = (shown_time(validity.from), shown_time(now));
            let message = format!("the certificate in {path} is valid from {from}; it is {is} now");
            let remedy = "set the clock, if that is wrong; else wait, or have another signed";
            found.push(Finding::problem("CertificateNotYetValid", &message, remedy));
        } else if validity.to < now.saturating_add(SOON_S) {
            let message =
                format!("the certificate in {path} expires on {}", shown_time(validity.to));
            found.push(Finding::hint("CertificateExpiresSoon", &message, renew));
        }
    }

    /// The certificate whose validity counts: of ours the one that ends first, of authorities, which
    /// old bundles have many of, the one that is of use the longest.
    fn deciding(&self, validities: &[Validity], now: i64) -> Option<Validity> {
        let all = validities.iter().copied();
        match self.role {
            Role::Authority => all.max_by_key(|one| (one.from <= now, one.to)),
            _ => all.min_by_key(|one| (one.from <= now, one.to)),
        }
    }
}

fn read(role: Role, path: &Path) -> Result<Vec<Validity>, String> {
    let bytes = bytes(path).map_err(|error| error.to_string())?;
    match role {
        Role::Password => {
            let text = std::str::from_utf8(&bytes).map_err(|error| error.to_string())?;
            let first = text.lines().next().unwrap_or_default();
            if first.is_empty() {
                Err("its first line is empty".to_owned())
            } else {
                Ok(Vec::new())
            }
        }
        Role::Key => match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(_) => Ok(Vec::new()),
            Err(_) => Err("it holds no private key".to_owned()),
        },
        Role::Authority | Role::Certificate => {
            let all = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok);
            let valid: Vec<_> = all.filter_map(|certificate| Validity::of(&certificate)).collect();
            if valid.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(valid) }
        }
    }
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}
