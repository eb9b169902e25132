//! What a registry asks for before it answers, and the token that an anonymous client gets.

use serde::Deserialize;

/// Largest answer of a token server. Signed tokens with many scopes have a few KiB.
pub(super) const MAX_TOKEN_ANSWER: usize = 64 * 1024;

/// A `WWW-Authenticate` header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Fetch a token there.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// Name and password.
    Basic,
    /// Something that is not done here.
    Unknown(String),
}

/// The answer of a token server.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl TokenAnswer {
    /// The token, under either of its names.
    pub(super) fn into_token(self) -> Option<String> {
        self.token.or(self.access_token).filter(|token| !token.is_empty())
    }
}

impl Challenge {
    /// The first of several that can be met.
    pub(super) fn of<'a>(headers: impl Iterator<Item = &'a str>) -> Self {
        let mut unknown = None;
        for challenge in headers.map(Self::parse) {
            match challenge {
                Self::Unknown(_) => unknown = unknown.or(Some(challenge)),
                known => return known,
            }
        }
        unknown.unwrap_or_else(|| Self::Unknown(String::new()))
    }

    fn parse(header: &str) -> Self {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Self::Basic;
        }
        let unknown = || Self::Unknown(scheme.chars().take(40).collect());
        if !scheme.eq_ignore_ascii_case("bearer") {
            return unknown();
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        for (key, value) in parameters(rest) {
            match key.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
        }
        match realm {
            Some(realm) => Self::Bearer { realm, service, scope },
            None => unknown(),
        }
    }
}

/// Splits `key="value",key=value`; a quoted value may hold commas.
fn parameters(mut rest: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_owned();
        let after = after.trim_start();
        let (value, next) = if let Some(quoted) = after.strip_prefix('"') {
            unquote(quoted)
        } else {
            let end = after.find(',').unwrap_or(after.len());
            let (value, next) = after.split_at(end);
            (value.trim().to_owned(), next)
        };
        found.push((key, value));
        rest = next;
    }
    found
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bearer_challenges_are_understood() {
        let challenge = Challenge::parse(
            r#"Bearer realm="https://auth.example/token",service="r, \"x\"", scope=repository:a:pull"#,
        );
        assert_eq!(
            challenge,
            Challenge::Bearer {
                realm: "https://auth.example/token".into(),
                service: Some("r, \"x\"".into()),
                scope: Some("repository:a:pull".into()),
            }
        );
        assert_eq!(Challenge::parse("basic realm=\"x\""), Challenge::Basic);
        assert_eq!(Challenge::parse("Negotiate"), Challenge::Unknown("Negotiate".into()));
        assert_eq!(Challenge::parse("Bearer service=x"), Challenge::Unknown("Bearer".into()));
    }

    #[test]
    fn of_several_challenges_the_first_that_can_be_met_counts() {
        let of = |headers: &[&str]| Challenge::of(headers.iter().copied());
        assert_eq!(of(&["Negotiate", "Basic realm=x"]), Challenge::Basic);
        assert_eq!(of(&["Negotiate", "NTLM"]), Challenge::Unknown("Negotiate".into()));
        assert_eq!(of(&[]), Challenge::Unknown(String::new()));
    }

    #[test]
    fn token_has_two_names() {
        let token = |text: &str| serde_json::from_str::<TokenAnswer>(text).unwrap().into_token();
        assert_eq!(token(r#"{"token":"a","expires_in":60}"#).unwrap(), "a");
        assert_eq!(token(r#"{"access_token":"b"}"#).unwrap(), "b");
        assert_eq!(token(r#"{"token":""}"#), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(header in ".{0,200}") {
            let _ = Challenge::parse(&header);
            let _ = Challenge::parse(&format!("Bearer {header}"));
        }
    }
}
