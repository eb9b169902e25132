//! What a registry's answers hold, bounded before it is kept.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body, Incoming};
use serde::Deserialize;

use super::error::RegistryError;
use super::transport::{protocol, within};
use crate::digest::Digest;

/// The header in which registries name what a tag stands for.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// One document as a registry sent it.
pub struct Fetched {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// The media type the registry gave it.
    pub content_type: String,
}

/// What a tag stands for, where the registry says it.
pub(super) fn named_digest(response: &Response<Incoming>) -> Option<Digest> {
    response.headers().get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn whole(
    response: Response<Incoming>,
    limit: usize,
    host: &str,
    idle: Duration,
) -> Result<Vec<u8>, RegistryError> {
    let too_long = || protocol(host, &format!("it sent a document of more than {limit} bytes"));
    let mut body = response.into_body();
    if body.size_hint().lower() > limit as u64 {
        return Err(too_long());
    }
    let mut data = Vec::new();
    while let Some(frame) = within(host, idle, body.frame()).await? {
        let frame =
            frame.map_err(|source| RegistryError::Http { host: host.to_owned(), source })?;
        let Some(chunk) = frame.data_ref() else { continue };
        if data.len() + chunk.len() > limit {
            return Err(too_long());
        }
        data.extend_from_slice(chunk);
    }
    Ok(data)
}

/// The text in a registry's error document, or the start of whatever came instead. What is to be
/// hidden is so before the text is cut: half a secret is one as well.
pub(super) fn error_text(body: &[u8], hide: impl Fn(&str) -> String) -> String {
    #[derive(Deserialize)]
    struct Document {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_slice::<Document>(body) {
        Ok(document) => {
            let texts = document.errors.iter().map(|e| format!("{} {}", e.code, e.message));
            texts.collect::<Vec<_>>().join(", ")
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let clean: String = hide(&text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    clean.trim().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_errors_are_shown_short_and_clean() {
        let body = br#"{"errors":[{"code":"DENIED","message":"requested\naccess is denied"}]}"#;
        assert_eq!(error_text(body, str::to_owned), "DENIED requested access is denied");
        assert_eq!(error_text(b"<html>\x1b[31m", str::to_owned), "<html> [31m");
        assert_eq!(error_text(&[b'x'; 999], str::to_owned).len(), 200);
    }
}
