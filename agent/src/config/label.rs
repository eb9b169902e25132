//! Labels, by the rules of Kubernetes.

/// Why a text is no label key or value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The key breaks the rule.
    #[error(
        "label key must be a name of at most 63 letters, digits, `-`, `_` and `.` that starts and ends with a letter or digit, optionally after a DNS name of at most 253 characters and `/`"
    )]
    Key,
    /// The value breaks the rule.
    #[error(
        "label value must be empty or at most 63 letters, digits, `-`, `_` and `.` that start and end with a letter or digit"
    )]
    Value,
}

/// Checks one label.
pub(super) fn check(key: &str, value: &str) -> Result<(), LabelError> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if !is_name(name) || !prefix.is_none_or(is_dns_name) {
        return Err(LabelError::Key);
    }
    if value.is_empty() || is_name(value) { Ok(()) } else { Err(LabelError::Value) }
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    bytes.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(inner)
}

fn is_dns_name(text: &str) -> bool {
    mote_protocol::name::ObjectName::new(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_the_rules_of_kubernetes() {
        for (key, value) in
            [("zone", "north"), ("kubernetes.io/arch", "arm64"), ("a", ""), ("A_b.c-d", "1")]
        {
            assert_eq!(check(key, value), Ok(()), "{key}={value}");
        }
        for (key, value) in
            [("", "x"), ("-a", "x"), ("a/", "x"), ("/a", "x"), ("a/b/c", "x"), ("K.io/a", "x")]
        {
            assert_eq!(check(key, value), Err(LabelError::Key), "{key}={value}");
        }
        assert_eq!(check("a", "-"), Err(LabelError::Value));
        assert_eq!(check("a", &"x".repeat(64)), Err(LabelError::Value));
    }
}
