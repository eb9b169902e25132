//! Patterns of host names in docker's files: `*`, `?` and `[a-z]`, as Go's `path.Match` reads them.

/// Whether the whole of `text` matches. A pattern that is broken matches nothing.
///
/// A `*` is tried with as little as possible and the last one is extended on a mismatch, so the
/// time is at most the product of both lengths.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    loop {
        let step = match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            (Some(_), Some(c)) => one(pattern.get(p..).unwrap_or_default(), *c),
            _ => None,
        };
        match (step, star) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((at, begun))) if begun < text.len() => {
                star = Some((at, begun + 1));
                (p, t) = (at + 1, begun + 1);
            }
            _ => return false,
        }
    }
}

/// How long the part of a pattern is that matches `c`, if it does.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', escaped, ..] => (*escaped == c).then_some(2),
        ['[', class @ ..] => {
            let length = class.iter().position(|c| *c == ']')?;
            let (class, negated) = match class.get(..length)? {
                ['^', class @ ..] => (class, true),
                class => (class, false),
            };
            (in_class(class, c) != negated).then_some(length + 2)
        }
        [literal, ..] => (*literal == c).then_some(1),
        [] => None,
    }
}

fn in_class(mut class: &[char], c: char) -> bool {
    loop {
        class = match class {
            [from, '-', to, rest @ ..] => {
                if (*from..=*to).contains(&c) {
                    return true;
                }
                rest
            }
            [one, rest @ ..] => {
                if *one == c {
                    return true;
                }
                rest
            }
            [] => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let cases = [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*a*b", "xaxxb", true),
            ("?", "", false),
            ("r?", "rx", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[", "[", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*[0-9]", "r12", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} and {text}");
        }
    }

    #[test]
    fn stars_cost_no_more_than_their_product() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(190)));
    }
}
