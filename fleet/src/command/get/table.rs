//! The columns of `get`.

use std::collections::{BTreeMap, BTreeSet};

use mote_protocol::name::{Kind, NodeName};
use mote_protocol::node::NodeAddress;
use mote_protocol::object::{Service, ServiceType};

use super::item::Item;
use crate::command::resource::Resource;
use crate::content::Content;
use crate::kubernetes::data::secret_type;
use crate::kubernetes::service::{HEADLESS, port_list, serving};
use crate::output::age::format_age;
use crate::output::format::OutputFormat;
use crate::view::data::{DataView, distinct};
use crate::view::node::Node;
use crate::view::pod::PodView;

/// Which columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub wide: bool,
    pub namespace: bool,
    pub labels: bool,
    /// The place of each object, also where the table is not wide.
    pub node: bool,
    /// The kind before each name.
    pub kind: bool,
}

impl Columns {
    pub(super) fn new(output: Option<&OutputFormat>, namespace: bool, labels: bool) -> Self {
        let wide = output == Some(&OutputFormat::Wide);
        Self { wide, namespace, labels, node: false, kind: false }
    }

    /// With the kind before each name, where several kinds are shown.
    pub(super) fn with_kind(mut self, kind: bool) -> Self {
        self.kind = kind;
        self
    }

    fn name(&self, kind: &str, name: impl std::fmt::Display) -> String {
        if self.kind { format!("{kind}/{name}") } else { name.to_string() }
    }

    /// With the places where there is more than one: names alone would not tell them apart.
    pub(super) fn telling_apart(mut self, items: &[Item<'_>]) -> Self {
        let places: BTreeSet<_> = items.iter().filter_map(Item::place).collect();
        self.node = !self.wide && places.len() > 1;
        self
    }

    pub(super) fn headings(&self, resource: Resource) -> Vec<&'static str> {
        let mut headings = match resource {
            Resource::Objects(Kind::Pod) => self.pod_headings(),
            Resource::Objects(Kind::Service) => self.service_headings(),
            Resource::Objects(kind) => self.data_headings(kind),
            Resource::Nodes => self.node_headings(),
        };
        if self.labels {
            headings.push("LABELS");
        }
        headings
    }

    pub(super) fn row(&self, item: &Item<'_>, now: i64) -> Vec<String> {
        let mut row = match item {
            Item::Pod(view) => self.pod_row(view, now),
            Item::Data(view) if view.key.kind == Kind::Service => self.service_row(view, now),
            Item::Data(view) => self.data_row(view, now),
            Item::Node(name, node) => self.node_row(name, node, now),
        };
        if self.labels {
            row.push(labels(item.labels()));
        }
        row
    }

    fn pod_headings(&self) -> Vec<&'static str> {
        let mut headings = Vec::new();
        if self.namespace {
            headings.push("NAMESPACE");
        }
        headings.extend(["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
        if self.wide {
            headings.extend(["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]);
        }
        if self.node {
            headings.push("NODE");
        }
        headings
    }

    fn pod_row(&self, pod: &PodView<'_>, now: i64) -> Vec<String> {
        let summary = pod.summary(now);
        let restarts = match summary.last_restart.filter(|_| summary.restarts > 0) {
            Some(at) => format!("{} ({} ago)", summary.restarts, format_age(Some(at), now)),
            None => summary.restarts.to_string(),
        };
        let mut row = Vec::new();
        if self.namespace {
            row.push(pod.key.namespace.to_string());
        }
        row.push(self.name("pod", &pod.key.name));
        row.push(format!("{}/{}", summary.ready, summary.total));
        row.extend([summary.status, restarts, format_age(pod.created(), now)]);
        if self.wide {
            let none = || "<none>".to_owned();
            let address = pod.status().and_then(|status| status.addresses.first());
            row.push(address.map_or_else(none, ToString::to_string));
            row.extend([pod.place(), none(), none()]);
        }
        if self.node {
            row.push(pod.place());
        }
        row
    }

    fn data_headings(&self, kind: Kind) -> Vec<&'static str> {
        let mut headings = Vec::new();
        if self.namespace {
            headings.push("NAMESPACE");
        }
        headings.push("NAME");
        if kind == Kind::Secret {
            headings.push("TYPE");
        }
        headings.extend(["DATA", "AGE"]);
        if self.wide {
            headings.extend(["NODE", "ACCEPTED"]);
        }
        if self.node {
            headings.push("NODE");
        }
        headings
    }

    fn data_row(&self, view: &DataView<'_>, now: i64) -> Vec<String> {
        let unknown = || "<unknown>".to_owned();
        let mut row = Vec::new();
        if self.namespace {
            row.push(view.key.namespace.to_string());
        }
        row.push(self.name(view.key.kind.as_str(), &view.key.name));
        if view.key.kind == Kind::Secret {
            row.push(match &view.content {
                Some(Content::Secret(secret)) => secret_type(secret).to_owned(),
                _ => unknown(),
            });
        }
        row.push(view.keys().map_or_else(unknown, |keys| keys.to_string()));
        row.push(format_age(view.created(), now));
        if self.wide {
            let (accepted, of) = view.accepted();
            row.extend([view.place(), format!("{accepted}/{of}")]);
        }
        if self.node {
            row.push(view.place());
        }
        row
    }

    fn service_headings(&self) -> Vec<&'static str> {
        let mut headings = Vec::new();
        if self.namespace {
            headings.push("NAMESPACE");
        }
        headings.extend(["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]);
        if self.wide {
            headings.extend(["SELECTOR", "ENDPOINTS", "NODE", "ACCEPTED"]);
        }
        if self.node {
            headings.push("NODE");
        }
        headings
    }

    fn service_row(&self, view: &DataView<'_>, now: i64) -> Vec<String> {
        let mut row = Vec::new();
        if self.namespace {
            row.push(view.key.namespace.to_string());
        }
        row.push(self.name(view.key.kind.as_str(), &view.key.name));
        let statuses: Vec<_> = view.services.iter().map(|(_, status)| status).collect();
        let (mut words, mut selector) = (vec!["<unknown>".to_owned(); 4], None);
        if let Some(Content::Service(service)) = &view.content {
            let external = service.service_type == ServiceType::ExternalName;
            let external = external.then(|| service.external_name.clone());
            words = vec![
                service.service_type.as_str().to_owned(),
                cluster_ip(service, view),
                external.unwrap_or_else(|| "<none>".into()),
                port_list(service, &statuses),
            ];
            selector = Some(&service.selector);
        }
        row.extend(words);
        row.push(format_age(view.created(), now));
        if self.wide {
            let serving: u32 = statuses.iter().map(|status| u32::from(serving(status))).sum();
            let found: u32 = statuses.iter().map(|status| u32::from(status.found)).sum();
            let (accepted, of) = view.accepted();
            row.extend([labels(selector), format!("{serving}/{found}")]);
            row.extend([view.place(), format!("{accepted}/{of}")]);
        }
        if self.node {
            row.push(view.place());
        }
        row
    }

    fn node_headings(&self) -> Vec<&'static str> {
        let mut headings = vec!["NAME", "STATUS", "ROLES", "AGE", "VERSION"];
        if self.wide {
            headings.extend([
                "INTERNAL-IP",
                "EXTERNAL-IP",
                "OS-IMAGE",
                "KERNEL-VERSION",
                "CONTAINER-RUNTIME",
                "GROUPS",
            ]);
        }
        headings
    }

    fn node_row(&self, name: &NodeName, node: &Node, now: i64) -> Vec<String> {
        let birth = node.birth.as_ref();
        let word = |word: Option<&str>| {
            word.filter(|word| !word.is_empty()).unwrap_or("<unknown>").to_owned()
        };
        let age = format_age(node.created(), now);
        let mut row = vec![self.name("node", name), node.summary(now), node.roles(), age];
        row.push(word(birth.map(|birth| &*birth.info.agent)));
        if self.wide {
            row.push(address(node, |address| match address {
                NodeAddress::InternalIp(ip) => Some(ip.to_string()),
                _ => None,
            }));
            row.push(address(node, |address| match address {
                NodeAddress::ExternalIp(ip) => Some(ip.to_string()),
                _ => None,
            }));
            row.push(word(birth.map(|birth| &*birth.info.os_image)));
            row.push(word(birth.map(|birth| &*birth.info.kernel)));
            row.push(word(birth.map(|birth| &*birth.info.runtime)));
            row.push(node.group_list());
        }
        row
    }
}

/// The first address of a service; all of them where its nodes have different ones.
fn cluster_ip(service: &Service, view: &DataView<'_>) -> String {
    if service.service_type == ServiceType::ExternalName {
        return "<none>".into();
    }
    if service.headless {
        return HEADLESS.into();
    }
    let told = view.services.iter().filter_map(|(_, status)| status.addresses.first());
    let firsts = distinct(told);
    if firsts.is_empty() { "<pending>".into() } else { firsts.join(",") }
}

fn address(node: &Node, wanted: fn(&NodeAddress) -> Option<String>) -> String {
    let mut addresses = node.status.iter().flat_map(|status| &status.addresses);
    addresses.find_map(wanted).unwrap_or_else(|| "<none>".into())
}

/// `key=value` pairs as one word, `<none>` where there are none.
pub(in crate::command) fn labels(labels: Option<&BTreeMap<String, String>>) -> String {
    let pairs: Vec<_> =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}
