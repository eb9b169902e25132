//! One thing that a command shows or waits for.

use std::collections::BTreeMap;

use mote_protocol::name::{Kind, Namespace, NodeName};
use serde_json::Value;

use crate::command::resource::Resource;
use crate::kubernetes::data::data_value;
use crate::kubernetes::node::node_value;
use crate::kubernetes::status::pod_value;
use crate::view::data::DataView;
use crate::view::node::Node;
use crate::view::pod::PodView;

/// One thing that a command shows or waits for.
pub(in crate::command) enum Item<'f> {
    /// A pod on a node.
    Pod(Box<PodView<'f>>),
    /// A `ConfigMap` or Secret in a scope.
    Data(Box<DataView<'f>>),
    /// A node.
    Node(&'f NodeName, &'f Node),
}

impl Item<'_> {
    /// What kind of thing it is.
    pub(in crate::command) const fn resource(&self) -> Resource {
        match self {
            Self::Pod(_) => Resource::Objects(Kind::Pod),
            Self::Data(view) => Resource::Objects(view.key.kind),
            Self::Node(..) => Resource::Nodes,
        }
    }

    /// Its name.
    pub(in crate::command) fn name(&self) -> &str {
        match self {
            Self::Pod(view) => view.key.name.as_str(),
            Self::Data(view) => view.key.name.as_str(),
            Self::Node(name, _) => name.as_str(),
        }
    }

    /// Its namespace, where it is in one.
    pub(in crate::command) const fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Pod(view) => Some(&view.key.namespace),
            Self::Data(view) => Some(&view.key.namespace),
            Self::Node(..) => None,
        }
    }

    /// Where it is, or should be.
    pub(in crate::command) fn place(&self) -> Option<String> {
        match self {
            Self::Pod(view) => Some(view.place()),
            Self::Data(view) => Some(view.place()),
            Self::Node(..) => None,
        }
    }

    /// Its labels, where they are known.
    pub(super) fn labels(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Pod(view) => Some(&view.pod.as_ref()?.meta.labels),
            Self::Data(view) => Some(&view.content.as_ref()?.meta().labels),
            Self::Node(_, node) => Some(&node.birth.as_ref()?.labels),
        }
    }

    /// `pod/web`.
    pub(in crate::command) fn shown(&self) -> String {
        format!("{}/{}", self.resource().singular(), self.name())
    }

    /// The object, at `now` in Unix seconds.
    pub(in crate::command) fn value(&self, now: i64) -> Value {
        match self {
            Self::Pod(view) => pod_value(view, now),
            Self::Data(view) => data_value(view),
            Self::Node(name, node) => node_value(name, node, now),
        }
    }
}
