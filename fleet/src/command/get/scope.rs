//! What of a fleet a command is about.

use std::collections::BTreeSet;

use anyhow::anyhow;
use mote_protocol::name::{Kind, Namespace, NodeName, ObjectName};

use super::item::Item;
use crate::command::Link;
use crate::command::resource::{Resource, Selection, key_of, plural};
use crate::failure::ServerError;
use crate::output::console::Console;
use crate::view::data::DataView;
use crate::view::node::Node;
use crate::view::pod::PodView;
use crate::view::selector::Selector;
use crate::view::{Fleet, key_filters, kind_filters, node_filters};

/// What of a fleet a command is about.
pub(in crate::command) struct Scope<'a> {
    pub selection: &'a Selection,
    pub namespace: Option<&'a Namespace>,
    pub node: Option<&'a NodeName>,
    pub selector: Option<&'a Selector>,
}

impl Scope<'_> {
    /// The filters that show it, and no other kind's contents.
    pub(in crate::command) fn filters(&self, link: &Link) -> Vec<String> {
        let mut filters = node_filters(&link.name, None);
        match (self.selection, self.namespace) {
            (Selection::Objects(kind, names), Some(namespace)) => {
                let keys = names.iter().map(|name| key_of(*kind, namespace, name));
                filters.extend(keys.flat_map(|key| key_filters(&link.name, &key)));
            }
            (Selection::Objects(kind, _) | Selection::All(Resource::Objects(kind)), namespace) => {
                filters.extend(kind_filters(&link.name, *kind, namespace));
            }
            (Selection::Nodes(_) | Selection::All(Resource::Nodes), _) => {}
        }
        filters
    }

    /// What it holds.
    pub(in crate::command) fn items<'f>(&self, fleet: &'f Fleet) -> Vec<Item<'f>> {
        match self.selection.resource() {
            Resource::Objects(Kind::Pod) => {
                self.pods(fleet).into_iter().map(|pod| Item::Pod(Box::new(pod))).collect()
            }
            Resource::Objects(kind @ (Kind::ConfigMap | Kind::Secret | Kind::Service)) => {
                self.data(fleet, kind).into_iter().map(|data| Item::Data(Box::new(data))).collect()
            }
            Resource::Nodes => {
                let nodes = self.nodes(fleet).into_iter();
                nodes.map(|(name, node)| Item::Node(name, node)).collect()
            }
        }
    }

    /// Its pods.
    pub(in crate::command) fn pods<'f>(&self, fleet: &'f Fleet) -> Vec<PodView<'f>> {
        let mut pods = fleet.pods(self.namespace);
        pods.retain(|pod| {
            let labels = pod.pod.as_ref().map(|pod| pod.meta.labels.clone()).unwrap_or_default();
            self.names(&pod.key.name)
                && self.node.is_none_or(|node| pod.node_name() == Some(node))
                && self.selector.is_none_or(|selector| selector.matches(&labels))
        });
        pods
    }

    /// Its objects of a kind that holds data.
    fn data<'f>(&self, fleet: &'f Fleet, kind: Kind) -> Vec<DataView<'f>> {
        let mut data = fleet.data(kind, self.namespace);
        data.retain(|view| {
            let content = view.content.as_ref();
            let labels = content.map(|content| content.meta().labels.clone()).unwrap_or_default();
            self.names(&view.key.name)
                && self.node.is_none_or(|node| view.is_for(node))
                && self.selector.is_none_or(|selector| selector.matches(&labels))
        });
        data
    }

    /// Whether an object of that name is meant.
    pub(in crate::command) fn names(&self, name: &ObjectName) -> bool {
        match self.selection {
            Selection::Objects(_, names) => names.contains(name),
            Selection::All(_) | Selection::Nodes(_) => true,
        }
    }

    /// Its nodes.
    pub(in crate::command) fn nodes<'f>(&self, fleet: &'f Fleet) -> Vec<(&'f NodeName, &'f Node)> {
        let wanted = |(name, node): &(&NodeName, &Node)| {
            let named = match self.selection {
                Selection::Nodes(names) => names.contains(name),
                Selection::All(_) | Selection::Objects(..) => true,
            };
            let labels = node.birth.as_ref().map(|birth| birth.labels.clone()).unwrap_or_default();
            named
                && self.node.is_none_or(|node| node == *name)
                && self.selector.is_none_or(|selector| selector.matches(&labels))
        };
        fleet.nodes.iter().filter(wanted).collect()
    }

    /// What kubectl says where it holds nothing.
    pub(in crate::command) fn none_found(&self) -> String {
        // Nodes are in no namespace.
        let namespace = self.namespace.filter(|_| self.selection.resource() != Resource::Nodes);
        let place = namespace.map(|namespace| format!(" in {namespace} namespace."));
        format!("No resources found{}", place.unwrap_or_default())
    }

    /// Errors for names that nothing has.
    pub(in crate::command) fn missing(&self, fleet: &Fleet) -> Vec<ServerError> {
        let absent = |resource, name: String| ServerError::NotFound { resource, name };
        match self.selection {
            Selection::All(_) => Vec::new(),
            Selection::Objects(kind, names) => {
                let items = self.items(fleet);
                let found: BTreeSet<_> = items.iter().map(Item::name).collect();
                let gone = names.iter().filter(|name| !found.contains(name.as_str()));
                gone.map(|name| absent(plural(*kind), name.to_string())).collect()
            }
            Selection::Nodes(names) => {
                let gone = names.iter().filter(|name| !fleet.nodes.contains_key(*name));
                gone.map(|name| absent("nodes", name.to_string())).collect()
            }
        }
    }
}

/// Whether an object was named that several places have; says which.
pub(in crate::command) fn several(
    scope: &Scope<'_>,
    fleet: &Fleet,
    console: &mut Console,
) -> anyhow::Result<bool> {
    let Selection::Objects(kind, names) = scope.selection else { return Ok(false) };
    let (items, mut ambiguous) = (scope.items(fleet), false);
    for name in names {
        let named = items.iter().filter(|item| item.name() == name.as_str());
        let places: Vec<_> = named.filter_map(Item::place).collect();
        if places.len() > 1 {
            ambiguous = true;
            let (places, what) = (
                places.join(", "),
                match kind {
                    Kind::Pod => "exists on several nodes",
                    Kind::ConfigMap | Kind::Secret | Kind::Service => {
                        "was applied in several places"
                    }
                },
            );
            console.fail(&anyhow!("{kind} \"{name}\" {what}: {places}; use --node"))?;
        }
    }
    Ok(ambiguous)
}
