//! What a command is about: `pods`, `pod web`, `pod/web node/pi-7`.

use mote_protocol::name::{Kind, Namespace, NodeName, ObjectKey, ObjectName};

/// What kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Objects that nodes are asked for.
    Objects(Kind),
    /// Nodes.
    Nodes,
}

/// What a command is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of a kind.
    All(Resource),
    /// Named objects of a kind.
    Objects(Kind, Vec<ObjectName>),
    /// Named nodes.
    Nodes(Vec<NodeName>),
}

/// Why a selection makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// There is no such kind.
    #[error(
        "the server doesn't have a resource type \"{0}\": use pods, configmaps, secrets, services or nodes"
    )]
    UnknownType(String),
    /// Nodes tell it as a part of something else.
    #[error(
        "the server doesn't have a resource type \"{0}\": `mote describe service NAME` lists those of a service"
    )]
    Endpoints(String),
    /// What is done is done to pods.
    #[error("cannot {doing} `{given}`: only pods can be named here{hint}")]
    NoPod {
        /// What is done to it.
        doing: &'static str,
        /// What was named.
        given: String,
        /// Where its pods are found.
        hint: String,
    },
    /// `TYPE NAME` and `TYPE/NAME` are mixed.
    #[error(
        "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'mote get pods/web' instead of 'mote get pods pods/web')"
    )]
    Mixed,
    /// Several kinds in a command that is about one.
    #[error("resources of several types cannot be named in this command")]
    TwoKinds,
    /// A name cannot be one.
    #[error("invalid name")]
    Name(#[from] mote_protocol::name::NameError),
}

impl Resource {
    fn parse(text: &str) -> Result<Self, SelectionError> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "pod" | "pods" | "po" => Self::Objects(Kind::Pod),
            "configmap" | "configmaps" | "cm" => Self::Objects(Kind::ConfigMap),
            "secret" | "secrets" => Self::Objects(Kind::Secret),
            "service" | "services" | "svc" => Self::Objects(Kind::Service),
            "node" | "nodes" | "no" => Self::Nodes,
            "endpoints" | "ep" | "endpointslice" | "endpointslices" => {
                return Err(SelectionError::Endpoints(text.into()));
            }
            _ => return Err(SelectionError::UnknownType(text.into())),
        })
    }

    /// What a word stands for. kubectl's `all` is what runs in a namespace, and how it is reached.
    fn parse_word(word: &str) -> Result<Vec<Self>, SelectionError> {
        if word.eq_ignore_ascii_case("all") {
            return Ok(vec![Self::Objects(Kind::Pod), Self::Objects(Kind::Service)]);
        }
        Self::parse(word).map(|resource| vec![resource])
    }

    /// The word for one.
    pub const fn singular(self) -> &'static str {
        match self {
            Self::Objects(kind) => kind.as_str(),
            Self::Nodes => "node",
        }
    }

    /// The word for several.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Objects(kind) => plural(kind),
            Self::Nodes => "nodes",
        }
    }
}

/// The pod that `NAME` or `pod/NAME` names, for a command that is about pods alone.
pub fn pod_named(given: &str, doing: &'static str) -> Result<ObjectName, SelectionError> {
    let Some((word, name)) = given.split_once('/') else { return Ok(ObjectName::new(given)?) };
    let hint = match Resource::parse(word) {
        Ok(Resource::Objects(Kind::Pod)) => return Ok(ObjectName::new(name)?),
        Ok(Resource::Objects(Kind::Service)) => {
            format!("; `mote describe service {name}` lists the pods that serve")
        }
        _ => String::new(),
    };
    Err(SelectionError::NoPod { doing, given: given.to_owned(), hint })
}

/// The word for several objects of a kind.
pub const fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Pod => "pods",
        Kind::ConfigMap => "configmaps",
        Kind::Secret => "secrets",
        Kind::Service => "services",
    }
}

impl Selection {
    /// Reads the arguments of a command that is about one kind.
    pub fn parse(arguments: &[String]) -> Result<Self, SelectionError> {
        let mut selections = Self::parse_all(arguments)?;
        match (selections.pop(), selections.is_empty()) {
            (Some(selection), true) => Ok(selection),
            (None, _) => Err(SelectionError::UnknownType(String::new())),
            (Some(_), false) => Err(SelectionError::TwoKinds),
        }
    }

    /// Reads the arguments of a command that may be about several: `pods,nodes`, `all`,
    /// `pod/web node/pi-7`. Each kind is there once, in the order of asking.
    pub fn parse_all(arguments: &[String]) -> Result<Vec<Self>, SelectionError> {
        let slashes = arguments.iter().filter(|argument| argument.contains('/')).count();
        let mut wanted: Vec<(Resource, Vec<&str>)> = Vec::new();
        match arguments.split_first() {
            None => {}
            Some((first, rest)) if slashes == 0 => {
                let names: Vec<_> = rest.iter().map(String::as_str).collect();
                for word in first.split(',') {
                    for resource in Resource::parse_word(word)? {
                        want(&mut wanted, resource, &names);
                    }
                }
            }
            Some(_) if slashes == arguments.len() => {
                for (kind, name) in arguments.iter().filter_map(|each| each.split_once('/')) {
                    want(&mut wanted, Resource::parse(kind)?, &[name]);
                }
            }
            Some(_) => return Err(SelectionError::Mixed),
        }
        wanted.into_iter().map(|(resource, names)| Self::named(resource, names)).collect()
    }

    fn named(resource: Resource, names: Vec<&str>) -> Result<Self, SelectionError> {
        Ok(match resource {
            resource if names.is_empty() => Self::All(resource),
            Resource::Objects(kind) => {
                let names = names.into_iter().map(ObjectName::new).collect::<Result<_, _>>()?;
                Self::Objects(kind, names)
            }
            Resource::Nodes => {
                Self::Nodes(names.into_iter().map(NodeName::new).collect::<Result<_, _>>()?)
            }
        })
    }

    /// Whether it names one object.
    pub const fn is_one(&self) -> bool {
        match self {
            Self::Objects(_, names) => names.len() == 1,
            Self::Nodes(names) => names.len() == 1,
            Self::All(_) => false,
        }
    }

    /// What kind it is about.
    pub const fn resource(&self) -> Resource {
        match self {
            Self::All(resource) => *resource,
            Self::Objects(kind, _) => Resource::Objects(*kind),
            Self::Nodes(_) => Resource::Nodes,
        }
    }
}

/// Adds names to what is wanted of a kind.
fn want<'a>(wanted: &mut Vec<(Resource, Vec<&'a str>)>, resource: Resource, names: &[&'a str]) {
    match wanted.iter_mut().find(|(known, _)| *known == resource) {
        Some((_, known)) => known.extend(names),
        None => wanted.push((resource, names.to_vec())),
    }
}

/// The key of an object.
pub fn key_of(kind: Kind, namespace: &Namespace, name: &ObjectName) -> ObjectKey {
    ObjectKey { kind, namespace: namespace.clone(), name: name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_kubectl_reads_them() {
        let parse = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
            Selection::parse(&arguments).map_err(|error| error.to_string())
        };
        let named = |kind, names: &[&str]| {
            let names = names.iter().map(|name| ObjectName::new(name).expect("name"));
            Ok(Selection::Objects(kind, names.collect()))
        };
        assert_eq!(parse(&["po"]), Ok(Selection::All(Resource::Objects(Kind::Pod))));
        assert_eq!(parse(&["pods", "a", "b"]), named(Kind::Pod, &["a", "b"]));
        assert_eq!(parse(&["pod/a", "pods/b"]), named(Kind::Pod, &["a", "b"]));
        assert_eq!(parse(&["cm"]), Ok(Selection::All(Resource::Objects(Kind::ConfigMap))));
        assert_eq!(parse(&["configmap/a", "cm/b"]), named(Kind::ConfigMap, &["a", "b"]));
        assert_eq!(parse(&["svc/a", "service/b"]), named(Kind::Service, &["a", "b"]));
        assert_eq!(parse(&["Secrets", "a"]), named(Kind::Secret, &["a"]));
        assert!(matches!(parse(&["no/a"]), Ok(Selection::Nodes(_))));
        for wrong in [
            &[][..],
            &["ingress"],
            &["pods", "pod/a"],
            &["pod/a", "node/b"],
            &["pods,nodes"],
            &["cm/a", "secret/a"],
            &["pods", "A"],
            &["pods,"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn who_asks_for_endpoints_is_told_where_they_are() {
        let parse = |word: &str| Selection::parse(&[word.to_owned()]).map_err(|e| e.to_string());
        for word in ["endpoints", "ep", "endpointslices"] {
            let told = format!(
                "the server doesn't have a resource type \"{word}\": `mote describe service NAME` lists those of a service"
            );
            assert_eq!(parse(word), Err(told));
        }
    }

    #[test]
    fn of_a_command_for_pods_the_type_may_be_said_and_no_other() {
        let named = |given: &str| {
            let named = pod_named(given, "read the logs of");
            named.map(|name| name.to_string()).map_err(|error| error.to_string())
        };
        for given in ["web", "pod/web", "pods/web", "po/web"] {
            assert_eq!(named(given), Ok("web".into()), "{given}");
        }
        assert_eq!(
            named("svc/web"),
            Err("cannot read the logs of `svc/web`: only pods can be named here; \
                 `mote describe service web` lists the pods that serve"
                .into())
        );
        for given in ["deploy/web", "node/web", "all/web"] {
            let told = format!("cannot read the logs of `{given}`: only pods can be named here");
            assert_eq!(named(given), Err(told));
        }
        assert!(named("pod/web/main").is_err() && named("pod/").is_err());
    }

    #[test]
    fn several_kinds_are_each_read_once() {
        let parse = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
            Selection::parse_all(&arguments).map_err(|error| error.to_string())
        };
        let pods = |names: &[&str]| {
            let names = names.iter().map(|name| ObjectName::new(name).expect("name"));
            Selection::Objects(Kind::Pod, names.collect())
        };
        let node = Selection::Nodes(vec![NodeName::new("b").expect("name")]);
        let of = |kind| Selection::All(Resource::Objects(kind));
        let (all_pods, all_nodes) = (of(Kind::Pod), Selection::All(Resource::Nodes));
        assert_eq!(parse(&["all"]), Ok(vec![all_pods.clone(), of(Kind::Service)]));
        assert_eq!(parse(&["nodes,pods,po"]), Ok(vec![all_nodes, all_pods]));
        assert_eq!(parse(&["pod/a", "node/b", "po/c"]), Ok(vec![pods(&["a", "c"]), node.clone()]));
        assert_eq!(parse(&["pods,nodes", "b"]), Ok(vec![pods(&["b"]), node]));
    }
}
