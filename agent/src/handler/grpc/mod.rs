//! Probes that ask a gRPC server for its health (`grpc.health.v1`), without TLS.

#[doc(hidden)]
pub mod fuzz;
mod health;
mod hpack;
mod http2;
mod huffman;
mod status;

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::timeout;

use self::health::Status;
use self::http2::{Answer, Head, Http2Error, Step};
use self::status::RpcError;
use super::dial::{DialError, PodSockets, authority, dial, reason};
use super::{Outcome, Target};

/// Servers know probes by this name.
const AGENT: &str = "kube-probe/1.32";
/// Frames read for one answer; it has about ten.
const MAX_FRAMES: usize = 64;

/// Asks for the health of `service` within `limit`.
pub(super) async fn probe<S: PodSockets>(
    sockets: &S,
    target: &Target,
    port: u16,
    service: &str,
    limit: Duration,
) -> Outcome {
    let host = target.host("");
    let at = authority(&host, port);
    let mut answer = Answer::default();
    let asked = async {
        let stream = dial(sockets, target, &host, port).await.map_err(CallError::Dial)?;
        call(stream, &at, service, limit, &mut answer).await
    };
    let result = timeout(limit, asked).await;
    match result {
        Ok(Ok(())) => judge(&answer),
        Ok(Err(CallError::Dial(error @ DialError::Network { .. }))) => {
            Outcome::Errored(error.to_string())
        }
        Ok(Err(error)) if !answer.settled => {
            Outcome::Failure(format!("error: failed to connect service at {at:?}: {error}"))
        }
        Ok(Err(error)) => {
            let error = RpcError::unavailable(error.to_string());
            Outcome::Failure(format!("error: health rpc probe failed: {error}"))
        }
        Err(_) if !answer.settled => Outcome::Failure(format!(
            "timeout: failed to connect service {at:?} within {limit:?}: context deadline exceeded"
        )),
        Err(_) => {
            Outcome::Failure(format!("timeout: health rpc did not complete within {limit:?}"))
        }
    }
}

/// Why there is no complete answer.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("{0}")]
    Dial(DialError),
    #[error("connection error: desc = \"{}\"", reason(.0))]
    Io(io::Error),
    #[error("{0}")]
    Http2(Http2Error),
}

async fn call(
    mut stream: TcpStream,
    at: &str,
    service: &str,
    limit: Duration,
    answer: &mut Answer,
) -> Result<(), CallError> {
    let body = health::request(service);
    if body.len() > http2::MAX_PAYLOAD {
        return Err(CallError::Http2(Http2Error::Protocol("the name of the service is too long")));
    }
    let deadline = format!("{}m", limit.as_millis().min(99_999_999));
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", health::METHOD),
        (":authority", at),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", AGENT),
        ("grpc-timeout", &deadline),
    ];
    let request = http2::request(&fields, &body);
    stream.write_all(&request).await.map_err(CallError::Io)?;
    let mut payload = Vec::new();
    for _ in 0..MAX_FRAMES {
        // A server that has always more to say must not keep the agent's only thread.
        yield_now().await;
        let mut head = [0; Head::LENGTH];
        stream.read_exact(&mut head).await.map_err(CallError::Io)?;
        let head = Head::read(head)
            .ok_or(CallError::Http2(Http2Error::Protocol("the server does not speak HTTP/2")))?;
        payload.resize(head.length, 0);
        stream.read_exact(&mut payload).await.map_err(CallError::Io)?;
        match answer.take(head, &payload).map_err(CallError::Http2)? {
            Step::Done => return Ok(()),
            Step::On(reply) => stream.write_all(&reply).await.map_err(CallError::Io)?,
        }
    }
    Err(CallError::Http2(Http2Error::Protocol("the answer has too many frames")))
}

fn judge(answer: &Answer) -> Outcome {
    let failure = match status::of(answer) {
        Ok(()) => match health::response(&answer.message) {
            Some(Status::SERVING) => return Outcome::Success,
            Some(status) => format!("service unhealthy (responded with {:?})", status.name()),
            None => {
                let error = RpcError::internal("the answer is no HealthCheckResponse");
                format!("error: health rpc probe failed: {error}")
            }
        },
        Err(error) if error.is_unimplemented() => format!(
            "error: this server does not implement the grpc health protocol \
             (grpc.health.v1.Health): {}",
            error.message
        ),
        Err(error) => format!("error: health rpc probe failed: {error}"),
    };
    Outcome::Failure(failure)
}

#[cfg(test)]
mod tests;
