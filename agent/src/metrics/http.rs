//! As much of HTTP/1.1 (RFC 9112) as a scrape takes. PURE.
//!
//! No framework: one fixed path, one method, no body that is read, and a connection that ends with its
//! answer. The smallest of them would weigh more than all of this module.

/// Longest head of a request: what browsers and proxies send fits.
pub(super) const MAX_HEAD: usize = 4096;

/// The type of Prometheus' text.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The metrics; without them where only the head was asked for.
    Metrics { head_only: bool },
    /// Nothing but a status.
    Refused(Status),
}

/// Why there are no metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    BadRequest,
    NotFound,
    MethodNotAllowed,
    HeadTooLarge,
    Unavailable,
}

impl Status {
    const fn line(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

/// What is to be made of what came so far; none where more must come.
pub(super) fn judge(bytes: &[u8]) -> Option<Verdict> {
    let whole = bytes.windows(4).any(|four| four == b"\r\n\r\n");
    if !whole {
        let full = bytes.len() >= MAX_HEAD;
        return full.then_some(Verdict::Refused(Status::HeadTooLarge));
    }
    Some(
        request_line(bytes)
            .map_or_else(Verdict::Refused, |head_only| Verdict::Metrics { head_only }),
    )
}

/// Whether only the head is asked for.
fn request_line(bytes: &[u8]) -> Result<bool, Status> {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| Status::BadRequest)?;
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = parts[..] else {
        return Err(Status::BadRequest);
    };
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Status::MethodNotAllowed),
    };
    let path = target.split('?').next().unwrap_or_default();
    if path == "/metrics" { Ok(head_only) } else { Err(Status::NotFound) }
}

/// The answer with this text.
pub(super) fn metrics(text: &str, head_only: bool) -> Vec<u8> {
    let body = if head_only { "" } else { text };
    answer("200 OK", TEXT, text.len(), body)
}

/// The answer without metrics.
pub(super) fn refusal(status: Status) -> Vec<u8> {
    let text = format!("{}: metrics are at GET /metrics\n", status.line());
    answer(status.line(), "text/plain; charset=utf-8", text.len(), &text)
}

fn answer(status: &str, kind: &str, len: usize, body: &str) -> Vec<u8> {
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n{allow}Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_path_and_one_method_are_answered() {
        let judged = |line: &str| judge(format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
        let metrics = |head_only| Some(Verdict::Metrics { head_only });
        assert_eq!(judged("GET /metrics HTTP/1.1"), metrics(false));
        assert_eq!(judged("GET /metrics?name[]=x HTTP/1.0"), metrics(false));
        assert_eq!(judged("HEAD /metrics HTTP/1.1"), metrics(true));
        let refused = |status| Some(Verdict::Refused(status));
        assert_eq!(judged("GET / HTTP/1.1"), refused(Status::NotFound));
        assert_eq!(judged("GET /metrics/../x HTTP/1.1"), refused(Status::NotFound));
        assert_eq!(judged("POST /metrics HTTP/1.1"), refused(Status::MethodNotAllowed));
        for line in ["", "GET /metrics", "GET  /metrics HTTP/1.1", "GET /metrics HTTP/2.0", "\u{1}"]
        {
            assert_eq!(judged(line), refused(Status::BadRequest), "{line:?}");
        }
    }

    #[test]
    fn a_head_without_an_end_is_waited_for_and_bounded() {
        assert_eq!(judge(b""), None);
        assert_eq!(judge(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"), None);
        let long = [b'x'; MAX_HEAD];
        assert_eq!(judge(&long[1..]), None);
        assert_eq!(judge(&long), Some(Verdict::Refused(Status::HeadTooLarge)));
    }

    #[test]
    fn answers_tell_their_length_and_that_nothing_follows() {
        let text = String::from_utf8(metrics("a 1\n", true)).unwrap();
        assert!(
            text.contains("\r\nContent-Length: 4\r\n") && text.ends_with("close\r\n\r\n"),
            "{text}"
        );
        assert!(metrics("a 1\n", false).ends_with(b"\r\n\r\na 1\n"));
        let text = String::from_utf8(refusal(Status::MethodNotAllowed)).unwrap();
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{text}");
        assert!(text.contains("\r\nAllow: GET, HEAD\r\n"), "{text}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = judge(&[&bytes[..], b"\r\n\r\n"].concat());
        }
    }
}
