//! YAML as kubectl prints it: two spaces, lists not indented below their key, keys in order.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A value as a YAML document with a line feed at its end.
pub fn format(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => object(map, 0, false, &mut text),
        Value::Array(items) if !items.is_empty() => list(items, 0, &mut text),
        _ => {
            scalar(value, 0, &mut text);
            text.push('\n');
        }
    }
    text
}

/// The entries of an object; `inline` where the first follows something on its line.
fn object(map: &Map<String, Value>, indent: usize, inline: bool, text: &mut String) {
    for (place, (key, value)) in map.iter().enumerate() {
        if place > 0 || !inline {
            pad(indent, text);
        }
        plain_or_quoted(key, text);
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                object(inner, indent + 2, false, text);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                list(items, indent, text);
            }
            _ => {
                text.push(' ');
                scalar(value, indent + 2, text);
                text.push('\n');
            }
        }
    }
}

fn list(items: &[Value], indent: usize, text: &mut String) {
    for item in items {
        pad(indent, text);
        text.push('-');
        match item {
            Value::Object(inner) if !inner.is_empty() => {
                text.push(' ');
                object(inner, indent + 2, true, text);
            }
            Value::Array(inner) if !inner.is_empty() => {
                text.push('\n');
                list(inner, indent + 2, text);
            }
            _ => {
                text.push(' ');
                scalar(item, indent + 2, text);
                text.push('\n');
            }
        }
    }
}

fn pad(indent: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::String(string) if is_block(string) => block(string, indent, text),
        Value::String(string) => plain_or_quoted(string, text),
        Value::Array(_) => text.push_str("[]"),
        Value::Object(_) => text.push_str("{}"),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            let _ = write!(text, "{value}");
        }
    }
}

/// Whether a text is printed as a block (`|`): several lines, none of them doubtful.
fn is_block(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control() && !is_odd(c))
        && text.lines().all(|line| line.trim_end() == line && !line.starts_with('\t'))
}

fn block(string: &str, indent: usize, text: &mut String) {
    let trimmed = string.trim_end_matches('\n');
    let ends = string.len() - trimmed.len();
    text.push_str(match ends {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in trimmed.split('\n') {
        text.push('\n');
        if !line.is_empty() {
            pad(indent, text);
            text.push_str(line);
        }
    }
    for _ in 1..ends {
        text.push('\n');
    }
}

fn plain_or_quoted(string: &str, text: &mut String) {
    if is_plain(string) {
        text.push_str(string);
    } else {
        // A JSON string is a double-quoted YAML string, but for what YAML holds unprintable.
        for character in Value::from(string).to_string().chars() {
            if is_odd(character) {
                let _ = write!(text, "\\U{:08x}", u32::from(character));
            } else {
                text.push(character);
            }
        }
    }
}

/// Characters that a YAML reader may take for a line end, or not take at all.
const fn is_odd(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

/// Whether a text means itself without quotes, in YAML 1.1 and 1.2.
fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let letters = |c: char| !c.is_ascii() && !is_odd(c) && !c.is_whitespace() && !c.is_control();
    let safe = |c: char| {
        c.is_ascii_alphanumeric() || " -_./:@+,=()%^*!&'~<>|$;?\\".contains(c) || letters(c)
    };
    let option = text.strip_prefix('-').is_some_and(|rest| rest.starts_with(char::is_alphabetic));
    (first.is_ascii_alphanumeric() || "/_$(".contains(first) || option)
        && text.chars().all(safe)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !is_special(text)
}

/// Whether some reader takes a text for a number, a truth, a date or nothing.
fn is_special(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let word = matches!(
        lower.as_str(),
        "y" | "n"
            | "yes"
            | "no"
            | "on"
            | "off"
            | "true"
            | "false"
            | "null"
            | "nan"
            | "inf"
            | "infinity"
    );
    // Anything that begins with a digit and could be a number, a time or a date (`12:30:45`,
    // `1_000`, `0x1f`, `1e3`, `2024-01-01`).
    let starts = text.starts_with(|c: char| c.is_ascii_digit());
    let number = starts && lower.chars().all(|c| c.is_ascii_hexdigit() || "xo_.:+-tz ".contains(c));
    word || number
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_pod_looks_as_kubectl_prints_it() {
        let value = json!({
            "apiVersion": "v1",
            "metadata": { "labels": { "app": "web", "no": "1" }, "annotations": {} },
            "spec": { "containers": [
                { "name": "a", "command": ["sh", "-c", "echo a\nexit 1\n"], "ports": [] },
                { "name": "b", "tty": true },
            ] },
        });
        let expected = "\
apiVersion: v1
metadata:
  annotations: {}
  labels:
    app: web
    \"no\": \"1\"
spec:
  containers:
  - command:
    - sh
    - -c
    - |
      echo a
      exit 1
    name: a
    ports: []
  - name: b
    tty: true
";
        assert_eq!(format(&value), expected);
    }

    /// Texts that some reader takes for something else, or for the end of something.
    #[rustfmt::skip]
    const DOUBTFUL: &[&str] = &[
        "yes", "null", "~", "1e3", "0x1f", "012", "1_000", "12:30", "2024-01-01", ".inf", "- a",
        "a: b", "a #b", "a#b", "*a", "&a", "!a", "%a", "@a", "`a", "a:", "", " ", "\n", "a\n",
        "a\n\n", "a\nb\n\n", "\na\nb", " a\nb", "a \nb", "a\n b", "|", ">", "?", "-", "---",
        "...", "\u{85}", "a\u{2028}b", "\u{feff}", "1:2", "=", "<<", "0o7",
    ];

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>(),
            "[a-zA-Z0-9 :#\n\t._-]{0,12}",
            proptest::sample::select(DOUBTFUL).prop_map(String::from),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(text.clone(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(value in value()) {
            let text = format(&value);
            let options = serde_saphyr::options! { legacy_octal_numbers: true };
            let back: Result<Value, _> = serde_saphyr::from_str_with_options(&text, options);
            prop_assert_eq!(back.map_err(|error| error.to_string()), Ok(value), "{}", text);
        }
    }
}
