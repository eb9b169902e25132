//! Takes secrets out of what somebody else wrote, in whatever form they stand there.
//!
//! Who repeats what it was shown may do so as it was, in JSON, in a URL or in HTML, and programs differ
//! in which characters they write in another way, and how. So a text is not searched for forms of a
//! secret: it is read as all of them at once, character by character.

use std::collections::BTreeSet;

/// What stands in a text where a secret stood.
const HIDDEN: &str = "[hidden]";
/// Longest form of one character: `&#x0010ffff;`, and some zeros more.
const MAX_FORM: usize = 16;

/// `text` without any of `secrets`.
pub(super) fn hide(text: &str, secrets: &[&str]) -> String {
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        // The longest: one may begin like another.
        let length = secrets.iter().filter_map(|secret| stands_in_front(rest, secret)).max();
        if length.is_some() {
            hidden.push_str(HIDDEN);
        } else {
            hidden.push(first);
        }
        rest = rest.get(length.unwrap_or(first.len_utf8())..).unwrap_or_default();
    }
    hidden
}

/// How much of the start of `text` is `secret`, in whatever form.
fn stands_in_front(text: &str, secret: &str) -> Option<usize> {
    // Where in the text and in the secret we may be: `%25` is three characters as well as one.
    let mut ways = BTreeSet::from([(0, 0)]);
    let mut end = None;
    while let Some((read, known)) = ways.pop_first() {
        let (rest, wanted) = (text.get(read..)?, secret.as_bytes().get(known..)?);
        if wanted.is_empty() {
            end = end.max(Some(read));
            continue;
        }
        for (length, bytes) in readings(rest) {
            if wanted.starts_with(&bytes) {
                ways.insert((read + length, known + bytes.len()));
            }
        }
    }
    end.filter(|end| *end > 0)
}

/// What the first character of a text, or an escape there, may mean; with the length of each.
fn readings(text: &str) -> Vec<(usize, Vec<u8>)> {
    let Some(first) = text.chars().next() else { return Vec::new() };
    let mut found = vec![(first.len_utf8(), utf8(first))];
    let escaped = match first {
        '+' => Some((1, b" ".to_vec())),
        '%' => hex(text.get(1..3)).map(|byte| (3, vec![byte.to_le_bytes()[0]])),
        '&' => entity(text),
        '\\' => json(text),
        _ => None,
    };
    found.extend(escaped);
    found
}

/// `\"`, `\n`, `\u00e4`.
fn json(text: &str) -> Option<(usize, Vec<u8>)> {
    let named = match text.chars().nth(1)? {
        'u' => return json_number(text),
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\u{8}',
        'f' => '\u{c}',
        itself => itself,
    };
    Some((2, utf8(named))).filter(|_| text.is_char_boundary(2))
}

/// A character by its number in UTF-16, or by two of them.
fn json_number(text: &str) -> Option<(usize, Vec<u8>)> {
    let unit = |at: usize| {
        let digits = text.get(at..)?.strip_prefix("\\u")?.get(..4);
        u16::try_from(hex(digits)?).ok()
    };
    let first = unit(0)?;
    let units = [Some(first), unit(6)].into_iter().flatten();
    let found = char::decode_utf16(units).next()?.ok()?;
    Some((6 * found.len_utf16(), utf8(found)))
}

/// `&quot;`, `&#34;`, `&#x22;`.
fn entity(text: &str) -> Option<(usize, Vec<u8>)> {
    let end = text.bytes().take(MAX_FORM).position(|byte| byte == b';')?;
    let name = text.get(1..end)?;
    let number = |digits: &str| match digits.strip_prefix(['x', 'X']) {
        Some(digits) => hex(Some(digits)),
        None => digits.parse().ok(),
    };
    let found = match name {
        "quot" => '"',
        "apos" => '\'',
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "nbsp" => ' ',
        _ => char::from_u32(number(name.strip_prefix('#')?)?)?,
    };
    Some((end + 1, utf8(found)))
}

fn hex(digits: Option<&str>) -> Option<u32> {
    let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}

fn utf8(character: char) -> Vec<u8> {
    character.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "pa ss/\"w\u{f6}rd\"&<1>%41+\\";

    fn hidden(text: &str) -> String {
        hide(text, &[SECRET, "pa ss"])
    }

    #[test]
    fn secrets_are_found_in_every_form() {
        for form in [
            SECRET,
            // A URL, of a program that writes little in another way, and of one that writes much.
            "pa%20ss/%22w%c3%B6rd%22&<1>%2541+%5C",
            "pa+ss%2f%22w%C3%B6rd%22%26%3c1%3E%2541%2b%5c",
            "%70%61%20%73%73%2F%22%77%C3%B6%72%64%22%26%3C%31%3E%25%34%31%2B%5C",
            // JSON.
            r#"pa ss\/\"w\u00F6rd\"\u0026<1>%41+\\"#,
            // HTML.
            "pa ss/&quot;wörd&quot;&amp;&lt;1&gt;%41+\\",
            "pa&nbsp;ss&#x2F;&#34;w&#246;rd&#X22;&amp;&#60;1&#062;%41&#43;\\",
        ] {
            assert_eq!(hidden(&format!("<a href={form}>")), "<a href=[hidden]>", "{form}");
        }
    }

    #[test]
    fn the_rest_stays_as_it_is() {
        for text in ["", "100% & more;", "&#x110000; &#; &; %zz %4", "\\u12 \\ud800 \\", "pa s%7"] {
            assert_eq!(hidden(text), text);
        }
        assert_eq!(hidden("pa sspa%20ss!"), "[hidden][hidden]!");
        // Beyond the first plane JSON has two numbers for one character.
        assert_eq!(hide("x\\uD83D\\uDE00y", &["\u{1f600}"]), "x[hidden]y");
    }

    proptest! {
        #[test]
        fn whatever_is_written_in_whatever_way_is_hidden(
            secret in "[ -~äß😀]{3,20}",
            ways in prop::collection::vec(0_u8..6, 20),
        ) {
            let mut text = String::new();
            for (character, way) in secret.chars().zip(ways) {
                let code = u32::from(character);
                match way {
                    0 => text.extend(utf8(character).iter().map(|byte| format!("%{byte:02x}"))),
                    1 => text.extend(utf8(character).iter().map(|byte| format!("%{byte:02X}"))),
                    2 => write!(text, "&#{code};").unwrap(),
                    3 => write!(text, "&#x{code:x};").unwrap(),
                    4 => {
                        let mut units = [0; 2];
                        for unit in character.encode_utf16(&mut units) {
                            write!(text, "\\u{unit:04x}").unwrap();
                        }
                    }
                    _ => text.push(character),
                }
            }
            let found = hide(&format!("({text})"), &[secret.as_str()]);
            prop_assert!(found.contains(HIDDEN), "{} in {} gives {}", secret, text, found);
        }
    }
}
