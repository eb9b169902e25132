//! MQTT topics: `mote/v1/{fleet}/{scope}/...`, formatted and parsed in one place.
//!
//! A scope is a node's name, `@all`, or `@` and a group's name. What a topic names was validated
//! when it was parsed, so a value of these types is safe in a path.

use alloc::string::{String, ToString};
use core::fmt;

use crate::name::{
    FleetName, GroupName, Kind, NameError, Namespace, NodeName, ObjectKey, ObjectName, RequestId,
    UnknownKind,
};

/// What every topic begins with.
pub const ROOT: &str = "mote/v1";

/// Whom a topic is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every node of the fleet.
    All,
    /// Every node whose configuration lists the group.
    Group(GroupName),
    /// One node.
    Node(NodeName),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("@all"),
            Self::Group(name) => write!(f, "@{name}"),
            Self::Node(name) => write!(f, "{name}"),
        }
    }
}

/// One direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From an operator to the node.
    In,
    /// From the node to an operator.
    Out,
}

/// What stands below a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A desired object. Written by operators, retained, `QoS` 1.
    Spec(ObjectKey),
    /// A one-shot request. Written by operators, not retained, `QoS` 1.
    Command(RequestId),
    /// The node came up. Written by the node, retained, `QoS` 1.
    Birth,
    /// The node's session ended. Written by the broker for the node, retained, `QoS` 1.
    Will,
    /// The node's status. Written by the node, retained, `QoS` 1.
    NodeStatus,
    /// An object's status. Written by the node, retained, cleared when the object is gone, `QoS` 1.
    Status(ObjectKey),
    /// A sign of life. Written by the node, retained, `QoS` 0.
    Heartbeat,
    /// One event. Written by the node, not retained, `QoS` 1.
    Event,
    /// Measured usage. Written by the node, not retained, `QoS` 0.
    Usage,
    /// An answer to a command. Written by the node, not retained, `QoS` 1.
    Reply(RequestId),
    /// Part of a stream. Not retained, `QoS` 1.
    Stream(RequestId, Direction),
}

/// A topic with everything that stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The fleet.
    pub fleet: FleetName,
    /// Whom it is for, or who wrote it.
    pub scope: Scope,
    /// What it is about.
    pub topic: Topic,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ROOT}/{}/{}/{}", self.fleet, self.scope, self.topic)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(key) => write!(f, "spec/{key}"),
            Self::Command(id) => write!(f, "command/{id}"),
            Self::Birth => f.write_str("birth"),
            Self::Will => f.write_str("will"),
            Self::NodeStatus => f.write_str("status/node"),
            Self::Status(key) => write!(f, "status/{key}"),
            Self::Heartbeat => f.write_str("heartbeat"),
            Self::Event => f.write_str("event"),
            Self::Usage => f.write_str("usage"),
            Self::Reply(id) => write!(f, "reply/{id}"),
            Self::Stream(id, Direction::In) => write!(f, "stream/{id}/in"),
            Self::Stream(id, Direction::Out) => write!(f, "stream/{id}/out"),
        }
    }
}

/// Why a topic is not one of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// It does not begin with `mote/v1/` or has no such form below its scope.
    #[error("topic is not of the form `{ROOT}/FLEET/SCOPE/...`")]
    Foreign,
    /// A part of it is no valid name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It is about a kind that this version does not know.
    #[error(transparent)]
    Kind(#[from] UnknownKind),
}

impl Scope {
    /// Reads a scope as it stands in a topic.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix('@') {
            Some("all") => Ok(Self::All),
            Some(group) => Ok(Self::Group(GroupName::new(group)?)),
            None => Ok(Self::Node(NodeName::new(text)?)),
        }
    }
}

impl Address {
    /// Reads a topic.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        let rest = text.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/'));
        let mut parts = rest.ok_or(TopicError::Foreign)?.splitn(3, '/');
        let (Some(fleet), Some(scope), Some(rest)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(TopicError::Foreign);
        };
        Ok(Self {
            fleet: FleetName::new(fleet)?,
            scope: Scope::parse(scope)?,
            topic: Topic::parse(rest)?,
        })
    }
}

impl Topic {
    fn parse(rest: &str) -> Result<Self, TopicError> {
        // No topic of ours has more than four parts below its scope; a fifth makes it foreign.
        let mut parts = rest.splitn(5, '/');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
        Ok(match parts {
            [Some("birth"), None, ..] => Self::Birth,
            [Some("will"), None, ..] => Self::Will,
            [Some("heartbeat"), None, ..] => Self::Heartbeat,
            [Some("event"), None, ..] => Self::Event,
            [Some("usage"), None, ..] => Self::Usage,
            [Some("status"), Some("node"), None, ..] => Self::NodeStatus,
            [Some("command"), Some(id), None, ..] => Self::Command(RequestId::new(id)?),
            [Some("reply"), Some(id), None, ..] => Self::Reply(RequestId::new(id)?),
            [Some("stream"), Some(id), Some("in"), None, ..] => {
                Self::Stream(RequestId::new(id)?, Direction::In)
            }
            [Some("stream"), Some(id), Some("out"), None, ..] => {
                Self::Stream(RequestId::new(id)?, Direction::Out)
            }
            [Some("spec"), Some(kind), Some(namespace), Some(name), None] => {
                Self::Spec(object_key(kind, namespace, name)?)
            }
            [Some("status"), Some(kind), Some(namespace), Some(name), None] => {
                Self::Status(object_key(kind, namespace, name)?)
            }
            _ => return Err(TopicError::Foreign),
        })
    }
}

fn object_key(kind: &str, namespace: &str, name: &str) -> Result<ObjectKey, TopicError> {
    let kind: Kind = kind.parse()?;
    let (namespace, name) = (Namespace::new(namespace)?, ObjectName::new(name)?);
    Ok(ObjectKey { kind, namespace, name })
}

/// Filters to subscribe to.
pub mod filter {
    use super::{FleetName, ROOT, Scope, String, ToString};
    use alloc::format;

    /// Everything operators say to a scope: objects.
    pub fn specs(fleet: &FleetName, scope: &Scope) -> String {
        format!("{ROOT}/{fleet}/{scope}/spec/#")
    }

    /// One-shot requests to a scope.
    pub fn commands(fleet: &FleetName, scope: &Scope) -> String {
        format!("{ROOT}/{fleet}/{scope}/command/+")
    }

    /// One direction of every stream of a scope.
    pub fn streams(fleet: &FleetName, scope: &Scope, direction: super::Direction) -> String {
        let direction = match direction {
            super::Direction::In => "in",
            super::Direction::Out => "out",
        };
        format!("{ROOT}/{fleet}/{scope}/stream/+/{direction}")
    }

    /// The statuses of one kind on all nodes, or on one.
    pub fn statuses(fleet: &FleetName, node: Option<&str>, kind: super::Kind) -> String {
        format!("{ROOT}/{fleet}/{}/status/{kind}/+/+", node.unwrap_or("+"))
    }

    /// The desired objects of one kind in all scopes, or in one.
    pub fn desired(fleet: &FleetName, scope: Option<&Scope>, kind: super::Kind) -> String {
        let scope = scope.map_or_else(|| String::from("+"), ToString::to_string);
        format!("{ROOT}/{fleet}/{scope}/spec/{kind}/+/+")
    }

    /// One topic without parameters (`birth`, `will`, `status/node`, `heartbeat`, `event`) on all
    /// nodes, or on one.
    pub fn of_nodes(fleet: &FleetName, node: Option<&str>, topic: &super::Topic) -> String {
        format!("{ROOT}/{fleet}/{}/{topic}", node.unwrap_or("+"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forged_topics_are_refused() {
        for text in [
            "",
            "mote",
            "mote/v1",
            "mote/v1/f",
            "mote/v1/f/n",
            "mote/v1/f/n/",
            "mote/v2/f/n/birth",
            "mote/v1/f/n/spec/pod/default/../x",
            "mote/v1/f/n/spec/pod/default/..",
            "mote/v1/f/n/spec/pod/default/a/b",
            "mote/v1/f/n/spec/pod//a",
            "mote/v1/f/@/birth",
            "mote/v1/f/n/birth/x",
            "mote/v1/+/n/birth",
            "mote/v1/f/n/spec/pod/default/a\0",
            "mote/v1/f/n/stream/x/up",
            "mote/v1/f/@@all/birth",
            "mote/v1x/f/n/birth",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_unknown_kind_is_told_by_name() {
        let error = Address::parse("mote/v1/f/n/spec/widget/default/a").expect_err("no such kind");
        assert_eq!(error.to_string(), "kind `widget` is not known to this version");
    }

    proptest! {
        #[test]
        fn what_is_formatted_parses_to_itself(
            fleet in "[a-z0-9]{1,8}", node in "[a-z0-9]{1,8}(\\.[a-z0-9]{1,4})?",
            namespace in "[a-z0-9]{1,8}", name in "[a-z][a-z0-9.-]{0,6}[a-z0-9]", which in 0..12usize,
        ) {
            prop_assume!(ObjectName::new(&name).is_ok());
            let id = RequestId::new(&namespace).expect("label");
            let key = object_key("pod", &namespace, &name).expect("valid");
            let topic = [
                Topic::Spec(key.clone()), Topic::Command(id.clone()), Topic::Birth, Topic::Will,
                Topic::NodeStatus, Topic::Status(key), Topic::Heartbeat, Topic::Event, Topic::Usage,
                Topic::Reply(id.clone()), Topic::Stream(id.clone(), Direction::In),
                Topic::Stream(id, Direction::Out),
            ][which].clone();
            for scope in [Scope::All, Scope::parse(&node).expect("node"), Scope::parse("@blue").expect("group")] {
                let fleet = FleetName::new(&fleet).expect("fleet");
                let address = Address { fleet, scope, topic: topic.clone() };
                prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
            }
        }

        #[test]
        fn no_text_makes_parsing_panic(text in "(mote/v1/)?.{0,80}") {
            let _ = Address::parse(&text);
        }
    }
}
