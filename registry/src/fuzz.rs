//! Ways in for those who feed spoiled bytes to what reads foreign ones (`tests/tests/fuzz`), where the
//! reader itself is nobody else's business. Nothing else uses them.

use crate::answer;
use crate::auth::{Challenge, TokenAnswer};
use crate::authorize;
use crate::credentials::Keyring;
use crate::pull_secrets::{PullSecret, PullSecrets};
use crate::url::Url;

/// Reads `WWW-Authenticate` headers, one a line, and makes the address of the token server of them.
pub fn challenge(headers: &str) -> bool {
    match Challenge::of(headers.lines()) {
        Challenge::Bearer { realm, service, scope } => {
            let scope = scope.unwrap_or_default();
            let address = authorize::token_address(&realm, service.as_deref(), &scope, None);
            Url::parse(&address).is_some()
        }
        Challenge::Basic => true,
        Challenge::Unknown(_) => false,
    }
}

/// Reads the answer of a token server.
pub fn token(body: &[u8]) -> bool {
    let answer: Option<TokenAnswer> = serde_json::from_slice(body).ok();
    answer.and_then(TokenAnswer::into_token).is_some()
}

/// Reads docker's files, and looks for who may have an image.
pub fn credentials(config: &str, older: bool, image: &str) -> bool {
    let secret = PullSecret { name: "s".into(), older, config: config.to_owned() };
    let Ok(keyring) = Keyring::default().after(&PullSecrets(vec![secret])) else { return false };
    for credential in keyring.matching(image) {
        let _ = (credential.basic(), credential.secrets(), credential.user().len());
    }
    keyring.passed_over().is_empty()
}

/// Makes a text of the answer of a registry that refuses.
pub fn refusal(body: &[u8]) -> bool {
    let text = answer::error_text(body, |text| text.replace("hunter2", "[hidden]"));
    assert!(!text.contains(char::is_control) && text.chars().count() <= 200, "{text:?}");
    !text.is_empty()
}

/// Follows a `Location` header.
pub fn location(text: &str) -> bool {
    let base = Url::parse("https://r.example/v2/a/blobs/x?y=1").expect("a URL");
    let Some(url) = base.join(text) else { return false };
    assert!(url.path.starts_with('/') && !url.path.contains(['\r', '\n', ' ']), "{url:?}");
    true
}
