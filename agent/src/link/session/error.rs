//! Why there is no connection, in words a person can act on.

use std::io;
use std::path::PathBuf;

use mote_registry::trust::Untimely;
use rumqttc::v5::mqttbytes::Error as PacketError;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode};
use rumqttc::v5::{ConnectionError, StateError, TlsError as TransportError};

use super::retry::Ending;
use super::tls::TlsError;

/// Why a connection ended or did not come about.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// TLS cannot be tried.
    #[error("prepare TLS")]
    Prepare(#[from] TlsError),
    /// The password cannot be read.
    #[error("read password file {}", path.display())]
    Password {
        /// Its file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Name lookup, TCP.
    #[error("reach the broker")]
    Reach(#[source] io::Error),
    /// TLS does not come about.
    #[error("agree with the broker on TLS")]
    Handshake(#[source] TransportError),
    /// It takes too long.
    #[error("the broker did not answer in time")]
    Timeout,
    /// CONNACK with a reason.
    #[error("the broker refused the connection: {0:?}")]
    Refused(ConnectReturnCode),
    /// The broker cannot do what we need.
    #[error("the broker does not support {0}, which mote needs")]
    Unsupported(&'static str),
    /// The broker ended it with a reason.
    #[error("the broker ended the connection: {0:?}")]
    Ended(DisconnectReasonCode),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] StateError),
    /// Something that is no MQTT 5, or not in its place.
    #[error("the broker does not follow the protocol")]
    Protocol(#[source] Box<ConnectionError>),
}

impl LinkError {
    /// The other side's certificate was refused for the time that it is here.
    pub(super) fn is_of_time(&self) -> bool {
        let Self::Handshake(TransportError::Io(error)) = self else { return false };
        matches!(error.get_ref(), Some(inner) if inner.is::<Untimely>())
    }

    /// What it means for the next attempt.
    pub(super) fn ending(&self) -> Ending {
        // rustls' own errors (a certificate nobody trusts, an alert) come as invalid data.
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::InvalidData;
        match self {
            Self::Handshake(TransportError::Io(error)) if !refused(error) => Ending::Lost,
            Self::Handshake(_)
            | Self::Prepare(_)
            | Self::Password { .. }
            | Self::Unsupported(_)
            | Self::Ended(DisconnectReasonCode::NotAuthorized) => Ending::Refused,
            Self::Broken(StateError::Io(error)) if refused(error) => Ending::Refused,
            Self::Refused(code) => match code {
                ConnectReturnCode::ServerUnavailable
                | ConnectReturnCode::ServiceUnavailable
                | ConnectReturnCode::ServerBusy
                | ConnectReturnCode::ConnectionRateExceeded => Ending::Lost,
                _ => Ending::Refused,
            },
            Self::Ended(DisconnectReasonCode::SessionTakenOver) => Ending::TakenOver,
            Self::Reach(_)
            | Self::Timeout
            | Self::Ended(_)
            | Self::Broken(_)
            | Self::Protocol(_) => Ending::Lost,
        }
    }
}

impl From<ConnectionError> for LinkError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Timeout(_) => Self::Timeout,
            ConnectionError::Io(error) => Self::Reach(error),
            ConnectionError::Tls(error) => Self::Handshake(error),
            ConnectionError::ConnectionRefused(code) => Self::Refused(code),
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
                Self::Ended(reason_code)
            }
            ConnectionError::MqttState(StateError::Deserialization(PacketError::Io(error))) => {
                Self::Broken(StateError::Io(error))
            }
            ConnectionError::MqttState(error) => Self::Broken(error),
            other => Self::Protocol(Box::new(other)),
        }
    }
}
