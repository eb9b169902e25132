//! An event as the object that an API server would show.

use mote_protocol::event::{Event, EventType, Involved};
use mote_protocol::name::NodeName;
use serde_json::{Map, Value, json};

use crate::context::DEFAULT_NAMESPACE;
use crate::output::age::format_moment;
use crate::view::node::Node;

/// An event, and the node that told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The node.
    pub node: NodeName,
    /// What happened.
    pub event: Event,
    /// When it happened first, in Unix seconds.
    pub first: Option<i64>,
    /// When it happened last, in Unix seconds.
    pub last: Option<i64>,
}

impl Told {
    /// An event of a node, with its times as that node's clock has them.
    pub fn new(name: &NodeName, node: Option<&Node>, event: Event) -> Self {
        let unix = |at| node.and_then(|node| node.unix(at));
        let (first, last) = (unix(event.first), unix(event.last));
        Self { node: name.clone(), event, first, last }
    }

    /// `Normal` or `Warning`.
    pub const fn event_type(&self) -> &'static str {
        match self.event.event_type {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }

    /// Kind, namespace, name and field of what it is about.
    pub fn involved(&self) -> (&'static str, &str, &str, &str) {
        match &self.event.involved {
            Involved::Node => ("Node", DEFAULT_NAMESPACE, self.node.as_str(), ""),
            Involved::Object { kind, namespace, name, field, .. } => {
                (kind.kubernetes(), namespace, name, field)
            }
        }
    }

    /// The event as an object.
    pub fn value(&self) -> Value {
        let (kind, namespace, name, field) = self.involved();
        let event = &self.event;
        let mut about = Map::new();
        about.insert("kind".into(), kind.into());
        about.insert("name".into(), name.into());
        if let Involved::Object { uid, .. } = &event.involved {
            about.insert("namespace".into(), namespace.into());
            if let Some(uid) = uid {
                about.insert("uid".into(), uid.to_string().into());
            }
            if !field.is_empty() {
                about.insert("fieldPath".into(), field.into());
            }
        }
        let moment = |at: Option<i64>| at.and_then(format_moment);
        let own = format!("{name}.{}.{:x}.{:x}", self.node, event.start, event.sequence);
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": own, "namespace": namespace },
            "involvedObject": about,
            "type": self.event_type(),
            "reason": &*event.reason,
            "message": &*event.message,
            "count": event.count,
            "firstTimestamp": moment(self.first),
            "lastTimestamp": moment(self.last),
            "source": { "component": "mote-agent", "host": self.node.as_str() },
        })
    }
}
