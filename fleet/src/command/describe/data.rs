//! The page of a `ConfigMap`, Secret or service; a secret's values are on none.

use serde_json::json;

use super::{annotations, is_about, pairs, put_events, service, text};
use crate::content::Content;
use crate::kubernetes::data::{data_metadata, secret_type, words};
use crate::kubernetes::event::Told;
use crate::output::page::Page;
use crate::output::table::Table;
use crate::view::data::DataView;

pub(super) fn page(view: &DataView<'_>, told: &[Told], now: i64) -> String {
    let mut page = Page::default();
    head(&mut page, view);
    match &view.content {
        Some(Content::ConfigMap(map)) => {
            heading(&mut page, "Data");
            for (key, value) in &map.data {
                page.line(0, &format!("{key}:"));
                page.line(0, "----");
                value.split('\n').for_each(|line| page.line(0, line));
                page.line(0, "");
            }
            heading(&mut page, "BinaryData");
            let sizes = map.binary_data.iter().map(|(key, bytes)| (key, bytes.len()));
            sizes.for_each(|(key, len)| page.line(0, &format!("{key}: {len} bytes")));
        }
        Some(Content::Secret(secret)) => {
            page.line(0, "");
            page.line(0, &format!("Type:  {}", secret_type(secret)));
            heading(&mut page, "Data");
            let size = |(key, bytes): (_, &Vec<u8>)| (key, format!("{} bytes", bytes.len()));
            let sizes = secret.data.iter().map(|(key, bytes)| (key.as_str(), bytes)).map(size);
            page.fields(0, &sizes.collect::<Vec<_>>());
        }
        Some(Content::Service(service)) => {
            service::put(&mut page, service, view);
        }
        Some(Content::Pod(_)) | None => {
            let why = if view.is_deleted() {
                "deleted: nodes that have it were asked to let it go"
            } else {
                "unknown: the broker does not hold it in a form that this mote reads"
            };
            heading(&mut page, "Data");
            page.line(0, &format!("<{why}>"));
        }
    }
    page.line(0, "");
    nodes(&mut page, view);
    let uid = view.object.and_then(|object| object.uid);
    let here = |told: &&Told| view.nodes.iter().any(|(node, _)| **node == told.node);
    let about = |told: &&Told| is_about(told, view.key, uid);
    put_events(&mut page, told.iter().filter(here).filter(about), now);
    page.finish()
}

fn head(page: &mut Page, view: &DataView<'_>) {
    let value = json!({ "metadata": data_metadata(view) });
    let mut fields = vec![
        ("Name", view.key.name.to_string()),
        ("Namespace", view.key.namespace.to_string()),
        ("Labels", pairs(&value, "/metadata/labels", "=")),
        ("Annotations", annotations(&value)),
        ("Applied To", view.place()),
    ];
    if let Some(object) = view.object {
        let revision = object.revision;
        fields.push(("Revision", format!("{} ({})", revision.number, revision.hash)));
    }
    let immutable = match &view.content {
        Some(Content::ConfigMap(map)) => map.immutable,
        Some(Content::Secret(secret)) => secret.immutable,
        Some(Content::Pod(_) | Content::Service(_)) | None => false,
    };
    if immutable {
        fields.push(("Immutable", "true".into()));
    }
    let deleted = text(&value, "/metadata/deletionTimestamp");
    if !deleted.is_empty() {
        fields.push(("Deleted", deleted.to_owned()));
    }
    page.fields(0, &fields);
}

fn heading(page: &mut Page, heading: &str) {
    for line in ["", heading, "===="] {
        page.line(0, line);
    }
}

/// Which nodes have it, and why the others do not.
fn nodes(page: &mut Page, view: &DataView<'_>) {
    if view.nodes.is_empty() {
        page.line(0, "Nodes:  <none>");
        return;
    }
    page.line(0, "Nodes:");
    let mut table = Table::with_headings(&["Name", "Accepted", "Reason", "Message"]);
    for (node, standing) in &view.nodes {
        let (reason, message) = words(standing);
        let accepted = if reason.is_empty() { "True" } else { "False" };
        table.push(vec![node.to_string(), accepted.into(), reason, message]);
    }
    page.table(2, &table);
}
