//! How calls fail in gRPC: a code and a text.

use super::http2::Answer;

/// Longest text that is shown.
const MAX_TEXT: usize = 1024;

/// The codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

const UNKNOWN: u32 = 2;
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rpc error: code = {} desc = {message}", name(*.code))]
pub(super) struct RpcError {
    code: u32,
    /// What the server says.
    pub message: String,
}

impl RpcError {
    /// The connection failed.
    pub(super) const fn unavailable(message: String) -> Self {
        Self { code: UNAVAILABLE, message }
    }

    /// The answer makes no sense.
    pub(super) fn internal(message: &str) -> Self {
        Self { code: INTERNAL, message: message.to_owned() }
    }

    /// The server does not have this method.
    pub(super) const fn is_unimplemented(&self) -> bool {
        self.code == UNIMPLEMENTED
    }
}

fn name(code: u32) -> String {
    let name = usize::try_from(code).ok().and_then(|code| CODES.get(code));
    name.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned())
}

/// How a complete answer ended.
pub(super) fn of(answer: &Answer) -> Result<(), RpcError> {
    match (answer.grpc_status, answer.status) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(RpcError { code, message: text(&answer.grpc_message) }),
        (None, Some(200)) => {
            Err(RpcError::internal("server closed the stream without sending trailers"))
        }
        // A proxy, or a server of something else.
        (None, status) => {
            let status = status.unwrap_or_default();
            let code = match status {
                400 => INTERNAL,
                401 => 16,
                403 => 7,
                404 => UNIMPLEMENTED,
                429 | 502..=504 => UNAVAILABLE,
                _ => UNKNOWN,
            };
            let message = format!("unexpected HTTP status code received from server: {status}");
            Err(RpcError { code, message })
        }
    }
}

/// A `grpc-message`: percent-encoded UTF-8.
fn text(sent: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(sent.len());
    let mut rest = sent;
    while let [first, behind @ ..] = rest {
        let escaped = match behind {
            [high, low, behind @ ..] if *first == b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(*high).zip(digit(*low)).map(|(high, low)| high * 16 + low);
                value.and_then(|value| Some((u8::try_from(value).ok()?, behind)))
            }
            _ => None,
        };
        let (byte, behind) = escaped.unwrap_or((*first, behind));
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8_lossy(&bytes).chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_decoded_as_far_as_they_can_be() {
        assert_eq!(text(b"unknown service a%20%C3%A4"), "unknown service a ä");
        assert_eq!(text(b"100% %2 %zz %ff"), "100% %2 %zz \u{fffd}");
        assert_eq!(text(&[b'x'; 5000]).len(), MAX_TEXT);
    }

    #[test]
    fn codes_have_names() {
        let failed = |code| RpcError { code, message: "m".into() }.to_string();
        assert_eq!(failed(5), "rpc error: code = NotFound desc = m");
        assert_eq!(failed(99), "rpc error: code = Code(99) desc = m");
        let mut answer = Answer { status: Some(503), ..Answer::default() };
        let text = "unexpected HTTP status code received from server: 503";
        assert_eq!(of(&answer), Err(RpcError::unavailable(text.into())));
        answer.status = Some(200);
        assert_eq!(of(&answer).unwrap_err().code, INTERNAL);
        answer.grpc_status = Some(0);
        assert_eq!(of(&answer), Ok(()));
    }
}
