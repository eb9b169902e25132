//! What a command is about: `pods`, `pod web`, `pod/web node/pi-7`.

use mote_protocol::name::{Kind, Namespace, NodeName, ObjectKey, ObjectName};

/// What kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Pods.
    Pods,
    /// Nodes.
    Nodes,
}

/// What a command is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of a kind.
    All(Resource),
    /// Named pods.
    Pods(Vec<ObjectName>),
    /// Named nodes.
    Nodes(Vec<NodeName>),
}

/// Why a selection makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// There is no such kind.
    #[error("the server doesn't have a resource type \"{0}\": use pods or nodes")]
    UnknownType(String),
    /// `TYPE NAME` and `TYPE/NAME` are mixed.
    #[error(
        "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'mote get pods/web' instead of 'mote get pods pods/web')"
    )]
    Mixed,
    /// Pods and nodes in one command.
    #[error("pods and nodes cannot be named in one command")]
    TwoKinds,
    /// A name cannot be one.
    #[error("invalid name")]
    Name(#[from] mote_protocol::name::NameError),
}

impl Resource {
    fn parse(text: &str) -> Result<Self, SelectionError> {
        match text.to_ascii_lowercase().as_str() {
            "pod" | "pods" | "po" => Ok(Self::Pods),
            "node" | "nodes" | "no" => Ok(Self::Nodes),
            _ => Err(SelectionError::UnknownType(text.into())),
        }
    }

    /// The word for several.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Nodes => "nodes",
        }
    }
}

impl Selection {
    /// Reads the arguments of a command.
    pub fn parse(arguments: &[String]) -> Result<Self, SelectionError> {
        let slashes = arguments.iter().filter(|argument| argument.contains('/')).count();
        let (resource, names): (_, Vec<&str>) = match arguments.split_first() {
            None => return Err(SelectionError::UnknownType(String::new())),
            Some((first, rest)) if slashes == 0 => {
                (Resource::parse(first)?, rest.iter().map(String::as_str).collect())
            }
            Some((first, _)) if slashes == arguments.len() => {
                let pairs: Vec<_> =
                    arguments.iter().filter_map(|argument| argument.split_once('/')).collect();
                let (kind, _) = first.split_once('/').unwrap_or((first, ""));
                let resource = Resource::parse(kind)?;
                for (kind, _) in &pairs {
                    if Resource::parse(kind)? != resource {
                        return Err(SelectionError::TwoKinds);
                    }
                }
                (resource, pairs.into_iter().map(|(_, name)| name).collect())
            }
            Some(_) => return Err(SelectionError::Mixed),
        };
        Ok(match resource {
            resource if names.is_empty() => Self::All(resource),
            Resource::Pods => {
                Self::Pods(names.into_iter().map(ObjectName::new).collect::<Result<_, _>>()?)
            }
            Resource::Nodes => {
                Self::Nodes(names.into_iter().map(NodeName::new).collect::<Result<_, _>>()?)
            }
        })
    }

    /// What kind it is about.
    pub const fn resource(&self) -> Resource {
        match self {
            Self::All(resource) => *resource,
            Self::Pods(_) => Resource::Pods,
            Self::Nodes(_) => Resource::Nodes,
        }
    }
}

/// The key of a pod.
pub fn pod_key(namespace: &Namespace, name: &ObjectName) -> ObjectKey {
    ObjectKey { kind: Kind::Pod, namespace: namespace.clone(), name: name.clone() }
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
        let pod = |name| ObjectName::new(name).expect("name");
        assert_eq!(parse(&["po"]), Ok(Selection::All(Resource::Pods)));
        assert_eq!(parse(&["pods", "a", "b"]), Ok(Selection::Pods(vec![pod("a"), pod("b")])));
        assert_eq!(parse(&["pod/a", "pods/b"]), Ok(Selection::Pods(vec![pod("a"), pod("b")])));
        assert!(matches!(parse(&["no/a"]), Ok(Selection::Nodes(_))));
        for wrong in [&["svc"][..], &["pods", "pod/a"], &["pod/a", "node/b"], &["pods", "A"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
