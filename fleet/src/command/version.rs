//! `mote version`: this tool's version, and the nodes'.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Invocation, Outcome};
use crate::cli::VersionArgs;
use crate::output::console::Console;
use crate::output::format;
use crate::view::node_filters;

/// This tool's version.
const OWN: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// Runs the command.
pub async fn run(
    args: &VersionArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if !args.client {
        let context = invocation.context()?;
        let mut link = invocation.connect(&context).await?;
        let filters = node_filters(&link.name, None);
        link.list(&filters).await?;
        for (name, node) in &link.fleet.nodes {
            let version = node.birth.as_ref().map_or("", |birth| &*birth.info.agent);
            nodes.entry(version.into()).or_default().push(name.to_string());
        }
        link.session.close().await;
    }
    let schema = mote_protocol::object::Pod::SCHEMA;
    let value =
        json!({ "clientVersion": { "gitVersion": OWN, "podSchema": schema }, "nodes": nodes });
    match args.output.as_deref() {
        Some("json") => console.text(&format::json(&value))?,
        Some(_) => console.text(&format::yaml(&value))?,
        None => {
            console.line(format_args!("Client Version: {OWN} (pod schema {schema})"))?;
            for (version, names) in &nodes {
                let version = if version.is_empty() { "<unknown>" } else { version };
                console.line(format_args!("Node Version: {version} ({})", names.join(", ")))?;
            }
        }
    }
    Ok(Outcome::Done)
}
