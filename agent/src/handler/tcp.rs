//! Probes by opening a TCP connection.

use std::time::Duration;

use tokio::time::timeout;

use super::dial::{DialError, PodSockets, authority, dial};
use super::{Outcome, Target};

/// Connects within `limit` and closes: whoever accepts is well.
pub(super) async fn probe<S: PodSockets>(
    sockets: &S,
    target: &Target,
    (host, port): (&str, u16),
    limit: Duration,
) -> Outcome {
    match timeout(limit, dial(sockets, target, host, port)).await {
        Ok(Ok(_)) => Outcome::Success,
        Ok(Err(error @ DialError::Network { .. })) => Outcome::Errored(error.to_string()),
        Ok(Err(error)) => Outcome::Failure(error.to_string()),
        Err(_) => Outcome::Failure(format!("dial tcp {}: i/o timeout", authority(host, port))),
    }
}
