//! One connection under a name of its own, to find out how far it comes.
//!
//! It is none of the node's: a session of its own that the broker keeps nothing of, no will, and no
//! subscription. A broker that makes client ids of user names takes it for the node all the same, and
//! ends the node's connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::Error as PacketError;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectProperties, ConnectReturnCode, Login, Packet,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connection::{agreed, read_password};
use super::error::LinkError;
use super::tls::{self, TlsError};
use crate::config::BrokerConfig;
use crate::daytime::Daytime;

/// Time for each step: lines are slow, and people wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Longest answer.
const MAX_ANSWER: u32 = 64 * 1024;

/// DISCONNECT without a reason (MQTT 5, 3.14).
const GOODBYE: [u8; 2] = [0xe0, 0];

/// How far it came.
#[derive(Debug, thiserror::Error)]
pub enum GreetingError {
    /// The broker's name has no address.
    #[error("look up {host}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody takes the connection.
    #[error("connect to {address}")]
    Connect {
        /// The address that was tried last.
        address: SocketAddr,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Files of ours are in the way.
    #[error("prepare TLS")]
    Prepare(#[from] TlsError),
    /// TLS does not come about.
    #[error("agree with the broker on TLS")]
    Tls(#[source] io::Error),
    /// The password cannot be read.
    #[error("read password file")]
    Password(#[source] io::Error),
    /// What was heard is no answer.
    #[error("hear the broker's answer")]
    Answer(#[source] io::Error),
    /// The broker does not want us.
    #[error("the broker refused the connection: {0:?}")]
    Refused(ConnectReturnCode),
    /// It cannot do what we need.
    #[error(transparent)]
    Unsupported(LinkError),
}

/// Connects, hears whether the broker would have us, and says goodbye.
pub async fn greet(
    broker: &BrokerConfig,
    client_id: &str,
    daytime: &Daytime,
) -> Result<(), GreetingError> {
    let stream = connect(&broker.url.host, broker.url.port).await?;
    let login = login(broker)?;
    if !broker.url.tls {
        return converse(stream, client_id, login, false).await;
    }
    let connector = TlsConnector::from(Arc::clone(&tls::client_config(broker, daytime)?));
    let name = ServerName::try_from(broker.url.host.clone());
    let name = name.map_err(|error| GreetingError::Tls(io::Error::other(error)))?;
    let agreed = in_time(connector.connect(name, stream)).await;
    let agreed = agreed.map_err(|error| GreetingError::Tls(tls::explain(error, daytime)))?;
    converse(agreed, client_id, login, true).await
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || {
        let text = format!("no answer within {} s", PATIENCE.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    timeout(PATIENCE, step).await.unwrap_or_else(|_| Err(late()))
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, GreetingError> {
    let resolve = |source| GreetingError::Resolve { host: host.to_owned(), source };
    let found = in_time(lookup_host((host, port))).await.map_err(resolve)?;
    let addresses: Vec<_> = found.take(MAX_ADDRESSES).collect();
    let no_address = || resolve(io::Error::other("it has no address"));
    let mut address = *addresses.first().ok_or_else(no_address)?;
    // All of them together, so that a broker behind many dead addresses is no long wait.
    let connected = in_time(async {
        let mut last = io::Error::other("nothing was tried");
        for tried in addresses {
            address = tried;
            match TcpStream::connect(tried).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    });
    let connected = connected.await;
    connected.map_err(|source| GreetingError::Connect { address, source })
}

fn login(broker: &BrokerConfig) -> Result<Option<Login>, GreetingError> {
    let Some(login) = &broker.login else { return Ok(None) };
    let password = login.password_file.as_deref().map(read_password).transpose();
    let password = password.map_err(GreetingError::Password)?.unwrap_or_default();
    Ok(Some(Login::new(login.username.clone(), password)))
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    client_id: &str,
    login: Option<Login>,
    tls: bool,
) -> Result<(), GreetingError> {
    let failed = |error: io::Error| {
        if tls && is_of_tls(&error) {
            GreetingError::Tls(error)
        } else {
            GreetingError::Answer(error)
        }
    };
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(0);
    let connect = Connect {
        keep_alive: 60,
        client_id: client_id.to_owned(),
        clean_start: true,
        properties: Some(properties),
    };
    let mut question = BytesMut::new();
    let packet = Packet::Connect(connect, None, login);
    packet.write(&mut question, None).map_err(|error| failed(packet_error(error)))?;
    let answer = in_time(async {
        stream.write_all(&question).await?;
        hear(&mut stream).await
    });
    let answer = answer.await.map_err(failed)?;
    if answer.code != ConnectReturnCode::Success {
        return Err(GreetingError::Refused(answer.code));
    }
    agreed(answer).map_err(GreetingError::Unsupported)?;
    // It has answered; whether it hears the rest is all the same.
    let _ = in_time(async {
        stream.write_all(&GOODBYE).await?;
        stream.shutdown().await
    })
    .await;
    Ok(())
}

async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<ConnAck> {
    let mut heard = BytesMut::new();
    loop {
        if stream.read_buf(&mut heard).await? == 0 {
            let text = "the connection was closed without one";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        match Packet::read(&mut heard, Some(MAX_ANSWER)) {
            Ok(Packet::ConnAck(answer)) => return Ok(answer),
            Ok(_) => return Err(packet_error(PacketError::IncorrectPacketFormat)),
            Err(PacketError::InsufficientBytes(_)) => {}
            Err(error) => return Err(packet_error(error)),
        }
    }
}

fn packet_error(error: PacketError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Since TLS 1.3 a client learns behind the handshake that its certificate is not wanted; where it says
/// something meanwhile, the connection may be cut before it hears why.
fn is_of_tls(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::InvalidData => !is_packet_error(error),
        kind => matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
    }
}

fn is_packet_error(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<PacketError>())
}
