//! The variables of a container: from whole objects, then each by itself.

use std::collections::{BTreeMap, BTreeSet};

use mote_protocol::name::Kind;
use mote_protocol::pod::{EnvFrom, EnvValue, KeyRef};

use super::{ContentsError, Given, described, fields};
use crate::pod::Container;
use crate::pod::process::{TooLong, expand};

/// Most bytes of all variables of a container, names included: the kernel takes a quarter of the
/// stack's limit for them and the command line, usually 2 MiB.
const MAX_VARIABLES: usize = 1024 * 1024;

const TOO_MUCH: ContentsError = ContentsError::TooMuch { what: "variables", max: MAX_VARIABLES };

/// Longest path of a part of a volume: the kernel takes no longer one.
const MAX_SUB_PATH: usize = 4096;

/// Variables in their order, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// Where a name was said again later, it is said nowhere before.
    said: Vec<Option<(String, String)>>,
    places: BTreeMap<String, usize>,
    bytes: usize,
}

impl Variables {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.said.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let place = self.places.get(name)?;
        self.said.get(*place)?.as_ref().map(|(_, value)| value.as_str())
    }

    /// What was said last of a name counts, where it was said.
    fn set(&mut self, name: String, value: String) -> Result<(), ContentsError> {
        // What was said before counts as well: it was work to get there.
        self.bytes = self.bytes.saturating_add(name.len() + value.len() + 2);
        if self.bytes > MAX_VARIABLES {
            return Err(TOO_MUCH);
        }
        let place = self.said.len();
        if let Some(before) = self.places.insert(name.clone(), place)
            && let Some(said) = self.said.get_mut(before)
        {
            *said = None;
        }
        self.said.push(Some((name, value)));
        Ok(())
    }
}

/// The variables of a container: `envFrom` in order, then `env` over it, and of services what has no value yet.
pub fn variables(container: &Container, given: Given<'_>) -> Result<Variables, ContentsError> {
    let mut variables = Variables::default();
    for from in &container.env_from {
        from_object(from, given, &mut variables)?;
    }
    for variable in &container.env {
        let value = match &variable.value {
            // What was said so far can be named, wherever it came from.
            EnvValue::Literal(text) => {
                let room = MAX_VARIABLES.saturating_sub(variables.bytes);
                expand(text, room, |name| variables.get(name).or_else(|| of_service(given, name)))
                    .map_err(|TooLong| TOO_MUCH)?
            }
            EnvValue::Field(path) => fields::in_variable(path, given)?,
            EnvValue::Resource(reference) => {
                fields::resource(reference, Some(&container.name), given)?
            }
            EnvValue::ConfigMap(reference) => match keyed(Kind::ConfigMap, reference, given)? {
                Some(value) => value,
                None => continue,
            },
            EnvValue::Secret(reference) => match keyed(Kind::Secret, reference, given)? {
                Some(value) => value,
                None => continue,
            },
        };
        variables.set(variable.name.clone(), value)?;
    }
    for (name, value) in &given.node.services {
        if variables.get(name).is_none() {
            variables.set(name.clone(), value.clone())?;
        }
    }
    Ok(variables)
}

fn of_service<'a>(given: Given<'a>, name: &str) -> Option<&'a str> {
    let named = given.node.services.iter().find(|(known, _)| known == name);
    named.map(|(_, value)| value.as_str())
}

fn from_object(
    from: &EnvFrom,
    given: Given<'_>,
    variables: &mut Variables,
) -> Result<(), ContentsError> {
    let kind = if from.secret { Kind::Secret } else { Kind::ConfigMap };
    let Some(entries) = given.library.get(given.pod, kind, &from.name) else {
        return missing::<()>(kind, &from.name, from.optional).map(drop);
    };
    for (key, bytes) in &entries.data {
        let value = text(kind, &from.name, key, bytes, given)?;
        variables.set(format!("{}{key}", from.prefix), value)?;
    }
    Ok(())
}

/// The value of one key; none where nobody insists on it.
fn keyed(kind: Kind, of: &KeyRef, given: Given<'_>) -> Result<Option<String>, ContentsError> {
    let Some(entries) = given.library.get(given.pod, kind, &of.name) else {
        return missing(kind, &of.name, of.optional);
    };
    match entries.data.get(&of.key) {
        Some(bytes) => text(kind, &of.name, &of.key, bytes, given).map(Some),
        None if of.optional => Ok(None),
        None => Err(ContentsError::NoKey {
            key: of.key.clone(),
            kind: kind.kubernetes(),
            object: described(given.pod, &of.name),
        }),
    }
}

fn missing<T>(kind: Kind, name: &str, optional: bool) -> Result<Option<T>, ContentsError> {
    if optional { Ok(None) } else { Err(ContentsError::NoObject { kind, name: name.into() }) }
}

/// A NUL would end the variable for the kernel, and the rest of it would be lost in silence.
fn text(
    kind: Kind,
    name: &str,
    key: &str,
    bytes: &[u8],
    given: Given<'_>,
) -> Result<String, ContentsError> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.map(str::to_owned).ok_or_else(|| ContentsError::NoText {
        key: key.to_owned(),
        kind: kind.kubernetes(),
        object: described(given.pod, name),
    })
}

/// `subPathExpr` with its variables filled in.
pub fn expand_sub_path(expression: &str, variables: &Variables) -> Result<String, ContentsError> {
    let mut missing = BTreeSet::new();
    let mut rest = expression;
    while let Some((_, after)) = rest.split_once('$') {
        rest = after;
        if let Some(escaped) = after.strip_prefix('$') {
            rest = escaped;
        } else if let Some((name, behind)) =
            after.strip_prefix('(').and_then(|after| after.split_once(')'))
        {
            if variables.get(name).is_none_or(str::is_empty) {
                missing.insert(name);
            }
            rest = behind;
        }
    }
    if missing.is_empty() {
        let expanded = expand(expression, MAX_SUB_PATH, |name| variables.get(name));
        expanded.map_err(|TooLong| ContentsError::TooMuch {
            what: "parts of a subPathExpr",
            max: MAX_SUB_PATH,
        })
    } else {
        let names: Vec<_> = missing.into_iter().collect();
        Err(ContentsError::NoValue { names: names.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::library_of;
    use super::super::{Library, NodeFacts};
    use super::*;
    use crate::pod::tests::{container, pod_from, wire_pod};
    use mote_protocol::pod::EnvVar;

    fn library() -> Library {
        library_of(&[
            ("configmap/settings", &[("A", b"map"), ("B", b"map"), ("bin", &[0xff])]),
            ("configmap/plain", &[("A", b"1"), ("B", b"2")]),
            ("secret/login", &[("B", b"secret"), ("nul", b"a\0b")]),
        ])
    }

    fn resolve(
        env_from: Vec<EnvFrom>,
        env: Vec<EnvVar>,
    ) -> Result<Vec<(String, String)>, ContentsError> {
        let mut asked = wire_pod(vec![container("app")]);
        asked.spec.containers[0].env_from = env_from;
        asked.spec.containers[0].env = env;
        let (pod, library, node) = (pod_from(&asked), library(), NodeFacts::default());
        let given = Given { pod: &pod, node: &node, library: &library };
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        variables(&pod.containers[0], given).map(|all| all.iter().map(owned).collect())
    }

    fn from(name: &str, prefix: &str, secret: bool, optional: bool) -> EnvFrom {
        EnvFrom { prefix: prefix.into(), secret, name: name.into(), optional }
    }

    fn variable(name: &str, value: EnvValue) -> EnvVar {
        EnvVar { name: name.into(), value }
    }

    fn literal(name: &str, value: &str) -> EnvVar {
        variable(name, EnvValue::Literal(value.into()))
    }

    fn key(name: &str, key: &str, optional: bool) -> KeyRef {
        KeyRef { name: name.into(), key: key.into(), optional }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn later_sources_win_and_single_variables_over_all() {
        let env_from = vec![from("plain", "", false, false), from("plain", "P_", false, false)];
        let env = vec![
            variable("B", EnvValue::Secret(key("login", "B", false))),
            literal("C", "$(B)/$(A)/$$(B)"),
        ];
        let expected =
            [("A", "1"), ("P_A", "1"), ("P_B", "2"), ("B", "secret"), ("C", "secret/1/$(B)")];
        assert_eq!(resolve(env_from, env).unwrap(), pairs(&expected));
    }

    #[test]
    fn what_is_optional_may_be_missing() {
        let env_from = vec![from("plain", "", false, false), from("none", "", true, true)];
        let env = vec![
            variable("A", EnvValue::ConfigMap(key("plain", "none", true))),
            variable("D", EnvValue::Secret(key("none", "x", true))),
        ];
        assert_eq!(resolve(env_from, env).unwrap(), pairs(&[("A", "1"), ("B", "2")]));
    }

    #[test]
    fn what_is_missing_is_told_in_the_kubelets_words() {
        let told = |env_from, env| resolve(env_from, env).unwrap_err().to_string();
        let one = |value| vec![variable("A", value)];
        assert_eq!(
            told(vec![from("none", "", false, false)], vec![]),
            "configmap \"none\" not found"
        );
        let secret = EnvValue::Secret(key("none", "x", false));
        assert_eq!(told(vec![], one(secret)), "secret \"none\" not found");
        let no_key = EnvValue::ConfigMap(key("settings", "x", false));
        let text = "couldn't find key x in ConfigMap default/settings";
        assert_eq!(told(vec![], one(no_key)), text);
    }

    #[test]
    fn variables_have_a_bound_however_they_are_asked_for() {
        let sources = vec![from("plain", &"x".repeat(10_000), false, false); 60];
        let error = resolve(sources, vec![]).unwrap_err();
        assert_eq!(error.to_string(), "all variables have more than 1048576 bytes");
    }

    #[test]
    fn values_that_name_each_other_have_it_as_well() {
        let long = (0..20).map(|number| {
            let value = if number == 0 {
                "x".repeat(1000)
            } else {
                format!("$(A{})", number - 1).repeat(1000)
            };
            literal(&format!("A{number}"), &value)
        });
        let error = resolve(vec![], long.collect()).unwrap_err();
        assert_eq!(error.to_string(), "all variables have more than 1048576 bytes");
    }

    #[test]
    fn bytes_that_no_variable_can_have_are_refused() {
        for value in [
            EnvValue::ConfigMap(key("settings", "bin", false)),
            EnvValue::Secret(key("login", "nul", false)),
        ] {
            let error = resolve(vec![], vec![variable("A", value)]).unwrap_err();
            assert!(matches!(error, ContentsError::NoText { .. }), "{error}");
        }
    }

    #[test]
    fn a_sub_path_needs_every_variable_that_it_names() {
        let mut variables = Variables::default();
        for (name, value) in [("POD", "web-0"), ("EMPTY", "")] {
            variables.set(name.into(), value.into()).unwrap();
        }
        let expanded = |text| expand_sub_path(text, &variables).map_err(|error| error.to_string());
        assert_eq!(expanded("logs/$(POD)"), Ok("logs/web-0".into()));
        assert_eq!(expanded("$$(POD)"), Ok("$(POD)".into()));
        let error = Err("missing value for EMPTY, NONE".into());
        assert_eq!(expanded("$(NONE)/$(EMPTY)/$(NONE)"), error);
        assert!(expanded(&"$(POD)".repeat(1000)).unwrap_err().contains("more than 4096 bytes"));
    }
}
