//! Label selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.

use std::collections::BTreeMap;
use std::str::FromStr;

/// All of its requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    /// As in Kubernetes, this also holds where the label is absent.
    NotIn(Vec<String>),
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unable to parse requirement `{part}`: write KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY notin (A,B), KEY or !KEY"
)]
pub struct SelectorError {
    /// The part that is none.
    part: String,
}

impl Selector {
    /// Whether labels satisfy it.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        let mut rest = text;
        while !rest.trim().is_empty() {
            // A comma inside parentheses separates values, not requirements.
            let mut depth = 0;
            let end = rest.find(|c| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                c == ',' && depth == 0
            });
            let (part, behind) = end.map_or((rest, ""), |end| {
                (rest.get(..end).unwrap_or(rest), rest.get(end + 1..).unwrap_or(""))
            });
            requirements.push(requirement(part.trim())?);
            rest = behind;
        }
        Ok(Self(requirements))
    }
}

fn requirement(part: &str) -> Result<Requirement, SelectorError> {
    let error = || SelectorError { part: part.into() };
    let one = |text: &str| vec![text.trim().to_owned()];
    let (key, test) = if let Some(key) = part.strip_prefix('!') {
        (key, Test::Absent)
    } else if let Some((key, value)) = part.split_once("!=") {
        (key, Test::NotIn(one(value)))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Test::In(one(value)))
    } else if let Some((head, values)) = part.split_once('(') {
        let values = values.strip_suffix(')').ok_or_else(error)?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        match head.trim().rsplit_once(char::is_whitespace) {
            Some((key, "in")) => (key, Test::In(values)),
            Some((key, "notin")) => (key, Test::NotIn(values)),
            _ => return Err(error()),
        }
    } else {
        (part, Test::Exists)
    };
    let key = key.trim();
    if !crate::manifest::validate::name::is_qualified(key) {
        return Err(error());
    }
    Ok(Requirement { key: key.into(), test })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_match_as_in_kubernetes() {
        let labels = BTreeMap::from([("a".into(), "b".into()), ("x/y".into(), String::new())]);
        for (text, matches) in [
            ("", true),
            ("a=b", true),
            ("a==b", true),
            ("a = b", true),
            ("a=c", false),
            ("a!=c", true),
            ("a!=b", false),
            ("z!=b", true),
            ("a", true),
            ("z", false),
            ("!z", true),
            ("!a", false),
            ("a in (b,c)", true),
            ("a in (c)", false),
            ("a notin (c, d)", true),
            ("z notin (c)", true),
            ("x/y=", true),
            ("a=b,x/y", true),
            ("a in (b,c),z", false),
        ] {
            let selector: Selector = text.parse().expect(text);
            assert_eq!(selector.matches(&labels), matches, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["a b", "=b", "a in b", "a in (b", "a near (b)", ",", "a,,b"] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }
}
