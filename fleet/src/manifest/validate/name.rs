//! The forms that Kubernetes gives to names, and their rules in its words.

use mote_protocol::name::NameError;

/// The rule of an RFC 1123 label.
pub const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
    characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name', or \
    '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

/// The rule of an RFC 1123 subdomain.
pub const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
    (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// The rule of an RFC 1035 label.
pub const HOST_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters \
    or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. \
    'my-name', or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// The rule of a qualified name, such as a label's key.
pub const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character, with an optional DNS subdomain prefix \
    and '/' (e.g. 'example.com/MyName')";

/// The rule of a label's value.
pub const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
    characters, '-', '_' or '.', and must start and end with an alphanumeric character (at most 63 \
    characters)";

/// The rule that a malformed name of the wire broke.
pub const fn rule(error: &NameError) -> &'static str {
    match error {
        NameError::Malformed { dots, .. } if !dots.is_empty() => SUBDOMAIN,
        _ => LABEL,
    }
}

/// Whether a text is an RFC 1123 label.
pub fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 63 && is_bounded_by(text, inner, |byte| byte == b'-')
}

/// Why a text is no RFC 1035 label, where it is none.
pub fn host_label_fault(text: &str) -> Option<&'static str> {
    if text.len() > 63 {
        return Some("must be no more than 63 characters");
    }
    let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    (!starts || !is_label(text)).then_some(HOST_LABEL)
}

/// Whether a text is an RFC 1123 subdomain.
pub fn is_subdomain(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 253 && text.split('.').all(|part| is_bounded_by(part, inner, |byte| byte == b'-'))
}

/// Whether a text is a qualified name.
pub fn is_qualified(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

/// Whether a text may be the value of a label.
pub fn is_label_value(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric();
    text.is_empty()
        || text.len() <= 63 && is_bounded_by(text, inner, |byte| matches!(byte, b'-' | b'_' | b'.'))
}

/// Whether `text` begins and ends with `outer` and consists of that and `between`.
fn is_bounded_by(text: &str, outer: fn(u8) -> bool, between: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(outer)
        && bytes.last().copied().is_some_and(outer)
        && bytes.iter().all(|byte| outer(*byte) || between(*byte))
}

/// Whether a relative path stays below where it starts.
pub fn is_below(path: &str) -> bool {
    !path.starts_with('/') && path.split('/').all(|part| part != "..")
}
