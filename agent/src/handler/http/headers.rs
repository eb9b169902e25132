//! What a request says about itself.

use hyper::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRAILER,
    TRANSFER_ENCODING, USER_AGENT,
};

/// A header that cannot be sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    /// Its name.
    #[error("net/http: invalid header field name {0:?}")]
    Name(String),
    /// Its value.
    #[error("net/http: invalid header field value for {0:?}")]
    Value(String),
}

/// The headers that a handler asks for, and what it leaves to us. `Host` stands among them only
/// where it was asked for.
pub(super) fn headers(
    asked: &[(String, String)],
    agent: &'static str,
) -> Result<HeaderMap, HeaderError> {
    let mut map = HeaderMap::new();
    for (name, value) in asked {
        let key =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::Name(name.clone()))?;
        let value = HeaderValue::from_str(value).map_err(|_| HeaderError::Value(name.clone()))?;
        map.append(key, value);
    }
    for (key, default) in [(ACCEPT, "*/*"), (USER_AGENT, agent)] {
        if !map.contains_key(&key) {
            map.insert(key, HeaderValue::from_static(default));
        } else if map.get(&key).is_some_and(HeaderValue::is_empty) {
            // The way to ask for none at all.
            map.remove(key);
        }
    }
    if map.get(HOST).is_some_and(HeaderValue::is_empty) {
        map.remove(HOST);
    }
    // There is no body, whatever was asked for.
    for key in [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER] {
        map.remove(key);
    }
    map.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(asked: &[(&str, &str)]) -> Vec<String> {
        let asked: Vec<_> =
            asked.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let map = headers(&asked, "kube-probe/1.32").unwrap();
        let mut lines: Vec<_> = map
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_was_not_asked_for_is_filled_in() {
        let plain = ["accept: */*", "connection: close", "user-agent: kube-probe/1.32"];
        assert_eq!(lines(&[]), plain);
        assert_eq!(lines(&[("Content-Length", "5"), ("Host", "")]), plain);
        assert_eq!(
            lines(&[("accept", "text/html"), ("User-Agent", "me"), ("X-A", "1"), ("x-a", "2")]),
            ["accept: text/html", "connection: close", "user-agent: me", "x-a: 1", "x-a: 2"]
        );
        assert_eq!(lines(&[("Accept", ""), ("User-Agent", "")]), ["connection: close"]);
    }

    #[test]
    fn a_value_cannot_smuggle_in_a_line() {
        let asked = [("X-A".to_owned(), "b\r\nHost: c".to_owned())];
        assert_eq!(headers(&asked, "a"), Err(HeaderError::Value("X-A".into())));
        let asked = [("X A".to_owned(), String::new())];
        assert_eq!(headers(&asked, "a"), Err(HeaderError::Name("X A".into())));
    }
}
