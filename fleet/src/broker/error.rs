//! Why a broker did not do what it was asked.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rumqttc::v5::mqttbytes::Error as MqttError;
use rumqttc::v5::mqttbytes::v5::ConnectReturnCode;
use rumqttc::v5::{ConnectionError, StateError};

use crate::context::BrokerUrl;

/// Why a broker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A file of the context cannot be read.
    #[error("read {field} {}", path.display())]
    Credential {
        /// The context's field.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the context does not hold what it should.
    #[error("{field} {}: {problem}", path.display())]
    CredentialForm {
        /// The context's field.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody listens there.
    #[error(
        "The connection to the broker {broker} was refused - did you specify the right host or port?"
    )]
    Refused {
        /// The broker.
        broker: BrokerUrl,
    },
    /// There is no way to it.
    #[error("Unable to connect to the broker {broker}")]
    Unreachable {
        /// The broker.
        broker: BrokerUrl,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TLS does not come about.
    #[error("TLS with the broker {broker}: {problem}")]
    Tls {
        /// The broker.
        broker: BrokerUrl,
        /// Why not.
        problem: String,
    },
    /// It does not know us.
    #[error(
        "You must be logged in to the broker {broker} ({reason}): check username, password-file, cert and key of the context"
    )]
    Unauthorized {
        /// The broker.
        broker: BrokerUrl,
        /// Its reason.
        reason: &'static str,
    },
    /// It refuses the connection for another reason.
    #[error("the broker {broker} refused the session: {reason}")]
    Rejected {
        /// The broker.
        broker: BrokerUrl,
        /// Its reason.
        reason: String,
    },
    /// It knows us, but this is not allowed.
    #[error("the broker does not allow this user to {action} {topic}")]
    Forbidden {
        /// What was tried.
        action: &'static str,
        /// Where.
        topic: String,
    },
    /// It refuses a message for another reason.
    #[error("the broker refused the message on {topic}: {reason}")]
    NotPublished {
        /// Where.
        topic: String,
        /// Its reason.
        reason: String,
    },
    /// It does not answer.
    #[error("no answer from the broker {broker} within {}s (--request-timeout)", after.as_secs())]
    Timeout {
        /// The broker.
        broker: BrokerUrl,
        /// How long it had.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to the broker {broker} was lost: {problem}")]
    Lost {
        /// The broker.
        broker: BrokerUrl,
        /// How.
        problem: String,
    },
}

impl BrokerError {
    /// Whether it is about rights, for the words in front of it.
    pub const fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }

    /// Sorts what the client library says.
    pub(super) fn from_connection(broker: &BrokerUrl, error: ConnectionError) -> Self {
        let broker = broker.clone();
        match error {
            ConnectionError::Tls(rumqttc::TlsError::Io(source)) | ConnectionError::Io(source) => {
                Self::from_io(broker, source)
            }
            ConnectionError::Tls(error) => Self::Tls { broker, problem: error.to_string() },
            ConnectionError::ConnectionRefused(code)
            | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => {
                Self::from_code(broker, code)
            }
            // A broker that does not trust our certificate says so after the handshake (TLS 1.3).
            ConnectionError::MqttState(
                StateError::Io(source) | StateError::Deserialization(MqttError::Io(source)),
            ) => Self::from_io(broker, source),
            ConnectionError::MqttState(StateError::ConnectionAborted) => {
                Self::Lost { broker, problem: "it closed the connection".into() }
            }
            other => Self::Lost { broker, problem: other.to_string() },
        }
    }

    fn from_io(broker: BrokerUrl, source: io::Error) -> Self {
        // rustls reports a certificate it does not trust as an I/O error around its own.
        if let Some(inner) = source.get_ref().filter(|inner| inner.is::<rustls::Error>()) {
            return Self::Tls { broker, problem: inner.to_string() };
        }
        match source.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused { broker },
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset if broker.tls => {
                Self::Tls { broker, problem: format!("the broker ended it: {source}") }
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Lost { broker, problem: source.to_string() },
            _ => Self::Unreachable { broker, source },
        }
    }

    fn from_code(broker: BrokerUrl, code: ConnectReturnCode) -> Self {
        let reason = match code {
            ConnectReturnCode::NotAuthorized => "not authorized",
            ConnectReturnCode::BadUserNamePassword => "bad user name or password",
            ConnectReturnCode::BadAuthenticationMethod => "bad authentication method",
            ConnectReturnCode::Banned => "banned",
            other => return Self::Rejected { broker, reason: format!("{other:?}") },
        };
        Self::Unauthorized { broker, reason }
    }
}
