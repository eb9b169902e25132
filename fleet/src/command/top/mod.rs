//! `mote top`: what nodes and pods use, in kubectl's columns.
//!
//! Nodes are asked, as for events: what they tell is a second old, and nobody pays for reports on the
//! way to a broker that nobody reads. What a node reports by itself is for who collects it.

mod rows;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;
use mote_protocol::command::{Answer, Request};
use mote_protocol::name::{Kind, NodeName, ObjectName};
use mote_protocol::node::Usage;
use mote_protocol::usage::Metrics;

use super::ask::{ask, explain};
use super::get::Scope;
use super::resource::{Resource, Selection};
use super::{Invocation, Link, Outcome, now_s};
use crate::cli::{TopCommand, TopNodesArgs, TopPodsArgs};
use crate::failure::ServerError;
use crate::output::console::Console;
use rows::{NodeRow, PodRow};

/// How long nodes may take, which measure for a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the command.
pub async fn run(
    command: &TopCommand,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    match command {
        TopCommand::Nodes(args) => nodes(args, invocation, console).await,
        TopCommand::Pods(args) => pods(args, invocation, console).await,
    }
}

async fn nodes(
    args: &TopNodesArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let selection = match &args.name {
        Some(name) => Selection::Nodes(vec![name.clone()]),
        None => Selection::All(Resource::Nodes),
    };
    let scope = Scope {
        selection: &selection,
        namespace: None,
        node: None,
        selector: args.selector.as_ref(),
    };
    let context = invocation.context()?;
    let mut link = invocation.connect(&context).await?;
    link.list(&scope.filters(&link)).await?;
    if let Some(missing) = scope.missing(&link.fleet).pop() {
        return Err(missing.into());
    }
    let names: Vec<NodeName> =
        scope.nodes(&link.fleet).into_iter().map(|(name, _)| name.clone()).collect();
    if names.is_empty() {
        console.remark(scope.none_found())?;
        return Ok(Outcome::Done);
    }
    let told = measure(&mut link, &names, console).await?;
    link.session.close().await;
    if told.is_empty() {
        return Err(not_yet());
    }
    let rows = names.iter().map(|name| {
        let status = link.fleet.nodes.get(name).and_then(|node| node.status.as_ref());
        NodeRow::new(name, told.get(name), status, args.show_capacity)
    });
    console.text(&rows::nodes(rows.collect(), args.sort_by, !args.no_headers))?;
    Ok(Outcome::Done)
}

async fn pods(
    args: &TopPodsArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let selection = match &args.name {
        Some(name) => Selection::Objects(Kind::Pod, vec![ObjectName::new(name)?]),
        None => Selection::All(Resource::Objects(Kind::Pod)),
    };
    let context = invocation.context()?;
    let scope = Scope {
        selection: &selection,
        namespace: Some(&context.namespace).filter(|_| !args.all_namespaces),
        node: args.node.as_ref(),
        selector: args.selector.as_ref(),
    };
    let mut link = invocation.connect(&context).await?;
    link.list(&scope.filters(&link)).await?;
    if let Some(missing) = scope.missing(&link.fleet).pop() {
        return Err(missing.into());
    }
    let pods = scope.pods(&link.fleet);
    if pods.is_empty() {
        console.remark(scope.none_found())?;
        return Ok(Outcome::Done);
    }
    let places = pods.iter().filter_map(|pod| pod.node_name().cloned());
    let mut places: Vec<NodeName> = places.collect();
    places.sort_unstable();
    places.dedup();
    let told = measure(&mut link, &places, console).await?;
    let pods = scope.pods(&link.fleet);
    let rows: Vec<PodRow> = pods.iter().filter_map(|pod| PodRow::of(pod, &told)).collect();
    link.session.close().await;
    if rows.is_empty() {
        return Err(match &args.name {
            Some(name) if !told.is_empty() => no_metrics(&context.namespace, name),
            _ => not_yet(),
        });
    }
    console.text(&rows::pods(rows, args))?;
    Ok(Outcome::Done)
}

/// What an API server answers where a pod has no metrics.
fn no_metrics(namespace: &impl std::fmt::Display, name: &str) -> anyhow::Error {
    let name = format!("{namespace}/{name}");
    ServerError::NotFound { resource: "podmetrics.metrics.k8s.io", name }.into()
}

/// kubectl's words where nobody told anything.
fn not_yet() -> anyhow::Error {
    anyhow!("metrics not available yet")
}

/// What a node told, put together.
type Told = BTreeMap<NodeName, (Usage, Metrics)>;

/// Asks those nodes that can be asked, and says why others have nothing to tell.
async fn measure(
    link: &mut Link,
    names: &[NodeName],
    console: &mut Console,
) -> anyhow::Result<Told> {
    let now = now_s();
    let nodes = &link.fleet.nodes;
    let is_online = |name: &&NodeName| nodes.get(*name).is_some_and(|node| node.is_online(now));
    let (online, offline): (Vec<&NodeName>, Vec<_>) = names.iter().partition(is_online);
    for name in offline {
        console.warn(format_args!("no metrics of node {name}: it is offline"))?;
    }
    let online: Vec<NodeName> = online.into_iter().cloned().collect();
    let mut answered = ask(link, &online, &Request::Usage, PATIENCE).await?;
    answered.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut told = Told::new();
    for (name, answer) in answered {
        match answer.and_then(whole) {
            Ok(usage) => drop(told.insert(name, usage)),
            Err(why) => {
                console.warn(format_args!("no metrics of node {name}: {}", explain(why)))?;
            }
        }
    }
    Ok(told)
}

/// All parts of what a node tells.
fn whole(parts: Vec<Answer>) -> Result<(Usage, Metrics), String> {
    let mut whole: Option<(Usage, Metrics)> = None;
    for part in parts {
        let Answer::Usage(usage) = part else { continue };
        let metrics = usage.metrics().ok_or("its answer cannot be read")?;
        match &mut whole {
            None => whole = Some((usage, metrics)),
            Some((_, all)) => all.pods.extend(metrics.pods),
        }
    }
    whole.ok_or_else(|| "it does not tell what it uses".to_owned())
}
