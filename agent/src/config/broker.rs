//! `[broker]`: where the broker is and how to show it who we are.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rustls_pki_types::ServerName;

use super::problem::Rule;
use super::section::Section;

/// Where the broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    /// TLS (`mqtts://`) or not (`mqtt://`).
    pub tls: bool,
    /// A DNS name or an IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why a text is no broker's URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerUrlError {
    /// Another scheme, or none.
    #[error("url must begin with mqtt:// or mqtts://")]
    Scheme,
    /// A path, a query, a user: none of them means anything here.
    #[error("url must end after host and port (credentials have keys of their own)")]
    Rest,
    /// Neither a DNS name nor an IP address.
    #[error("`{0}` is neither a DNS name nor an IP address")]
    Host(String),
    /// No port.
    #[error("port `{0}` is not a number from 1 to 65535")]
    Port(String),
}

impl FromStr for BrokerUrl {
    type Err = BrokerUrlError;

    fn from_str(text: &str) -> Result<Self, BrokerUrlError> {
        let (tls, rest) = match text.split_once("://") {
            Some(("mqtt", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            _ => return Err(BrokerUrlError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(BrokerUrlError::Rest);
        }
        let (host, port) = split_port(rest);
        let readable = |text: &str| text.chars().take(64).flat_map(char::escape_debug).collect();
        let port = match port {
            None => [1883, 8883][usize::from(tls)],
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(BrokerUrlError::Port(readable(port))),
                Ok(port) => port,
            },
        };
        if ServerName::try_from(host).is_err() {
            return Err(BrokerUrlError::Host(readable(host)));
        }
        Ok(Self { tls, host: host.to_owned(), port })
    }
}

/// Splits `host:port` and `[v6]:port`.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            return write!(f, "{scheme}://[{}]:{}", self.host, self.port);
        }
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// A certificate and the key to it. The files are read again for each connection, so that they
/// can be renewed under a running agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file: our certificate, then those between it and the broker's CA.
    pub cert: PathBuf,
    /// PEM file: its private key.
    pub key: PathBuf,
}

/// What we show where the broker asks for a name and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub username: String,
    /// File whose first line is the password; read again for each connection.
    pub password_file: Option<PathBuf>,
}

/// `[broker]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Where it listens.
    pub url: BrokerUrl,
    /// PEM file of the CAs that may have signed its certificate; the system's where unset.
    pub ca: Option<PathBuf>,
    /// What we show in TLS.
    pub certificate: Option<ClientCertificate>,
    /// What we show in MQTT.
    pub login: Option<Login>,
    /// Silence after which we ask whether the broker is there.
    pub keep_alive: Duration,
    /// How long the broker keeps what it could not deliver.
    pub session_expiry: Duration,
    /// How long one attempt to connect may take, name lookup and TLS included.
    pub connect_timeout: Duration,
}

impl BrokerConfig {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let url = section.text_or("url", "MOTE_BROKER_URL");
        let url = section.required::<BrokerUrl>("url", url);
        let ca = section.text("ca");
        let ca = section.path(ca);
        let certificate = section.certificate();
        let certificate = certificate.map(|(cert, key)| ClientCertificate { cert, key });
        let login = read_login(section);
        let uses_tls = ca.is_some() || certificate.is_some();
        if url.as_ref().is_some_and(|url| !url.tls) && uses_tls {
            let rule = "`ca`, `cert` and `key` need a url that begins with mqtts://".into();
            section.report(None, "url", Rule::Invalid(rule));
        }
        // rumqttc refuses less than 5 s; the field on the wire ends at 65,535.
        let keep_alive = section.integer("keep_alive_s", 5..=3600, 60);
        let session_expiry = section.integer("session_expiry_s", 0..=86_400, 3600);
        let connect_timeout = section.integer("connect_timeout_s", 1..=300, 30);
        Some(Self {
            url: url?,
            ca,
            certificate,
            login,
            keep_alive: Duration::from_secs(keep_alive),
            session_expiry: Duration::from_secs(session_expiry),
            connect_timeout: Duration::from_secs(connect_timeout),
        })
    }
}

fn read_login(section: &mut Section<'_, '_>) -> Option<Login> {
    let (username, password_file) = (section.text("username"), section.text("password_file"));
    if password_file.is_some() && username.is_none() {
        section.report(None, "username", Rule::Invalid("`password_file` needs `username`".into()));
    }
    let password_file = section.path(password_file);
    Some(Login { username: username?.text, password_file })
}
