//! `mote delete`: ask nodes to let go of objects, and wait until they are gone.
//!
//! Deleting is a tombstone with a revision of its own, retained until the node's status is gone.
//! An empty payload only clears a topic; no node takes it for a deletion.

mod node;
mod places;
mod tombstone;

use std::time::Duration;

use anyhow::anyhow;
use mote_protocol::frame;
use mote_protocol::name::ObjectKey;
use mote_protocol::static_pod;
use mote_protocol::topic::{Address, Scope, Topic};
use tokio::time::Instant;

use super::apply::deliver;
use super::resource::{Resource, Selection, plural};
use super::{Invocation, Link, Outcome, get, now_s, unix_now};
use crate::broker::Retain;
use crate::cli::DeleteArgs;
use crate::context::Context;
use crate::failure::ServerError;
use crate::manifest::{self, document, source};
use crate::output::console::Console;
use tombstone::{End, Gone};

/// What a node gets on top of the grace period to say that an object is gone.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Grace of a pod that does not say.
const DEFAULT_GRACE_S: u32 = 30;

/// Runs the command.
pub async fn run(
    args: &DeleteArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let context = invocation.context()?;
    if args.filename.is_empty() {
        let selections = Selection::parse_all(&args.resources)?;
        for selection in &selections {
            check(args, selection)?;
        }
        let mut outcome = Outcome::Done;
        for selection in &selections {
            let done = match selection {
                Selection::Nodes(names) => {
                    node::run(args, names, &context, invocation, console).await?
                }
                _ => objects(args, selection, &context, invocation, console).await?,
            };
            outcome = outcome.and(done);
        }
        return Ok(outcome);
    }
    let mut outcome = Outcome::Done;
    for (context, selection, args) in from_files(args, &context)? {
        let done = objects(&args, &selection, &context, invocation, console).await?;
        outcome = outcome.and(done);
    }
    Ok(outcome)
}

/// What kubectl refuses.
fn check(args: &DeleteArgs, selection: &Selection) -> anyhow::Result<()> {
    match selection {
        Selection::All(Resource::Nodes) => Err(anyhow!("name the nodes to delete")),
        Selection::All(resource) if !args.all && args.selector.is_none() => Err(anyhow!(
            "resource(s) were provided, but no name was specified: use --all for all {}",
            resource.plural()
        )),
        Selection::Objects(..) if args.all_namespaces => {
            Err(anyhow!("a resource cannot be deleted by name across all namespaces"))
        }
        Selection::All(_) | Selection::Objects(..) | Selection::Nodes(_) => Ok(()),
    }
}

/// What is in the files, each with its namespace and node.
fn from_files<'a>(
    args: &'a DeleteArgs,
    context: &Context,
) -> anyhow::Result<Vec<(Context, Selection, std::borrow::Cow<'a, DeleteArgs>)>> {
    let mut found = Vec::new();
    for source in source::read(&args.filename, args.recursive)? {
        for document in document::split(&source)? {
            let manifest = manifest::read(&document)?;
            let mut context = context.clone();
            context.namespace = manifest.namespace.unwrap_or(context.namespace);
            let mut args = std::borrow::Cow::Borrowed(args);
            let placed = args.node.is_some() || args.all_nodes || args.group.is_some();
            if let Some(node) = manifest.node.filter(|_| !placed) {
                args.to_mut().node = Some(node);
            }
            let selection = Selection::Objects(manifest.content.kind(), vec![manifest.name]);
            found.push((context, selection, args));
        }
    }
    Ok(found)
}

async fn objects(
    args: &DeleteArgs,
    selection: &Selection,
    context: &Context,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let scope = get::Scope {
        selection,
        namespace: Some(&context.namespace).filter(|_| !args.all_namespaces),
        node: args.node.as_ref(),
        selector: args.selector.as_ref(),
    };
    let mut link = invocation.connect(context).await?;
    let filters = scope.filters(&link);
    link.list(&filters).await?;
    let (places, mut outcome) = places::find(args, &scope, &link.fleet, console)?;
    let mut ends = Vec::new();
    for (key, scope) in places {
        match publish(args, &mut link, &key, &scope).await {
            Ok(end) => ends.push(end),
            Err(error) => {
                console.fail(&error)?;
                outcome = Outcome::Failed;
            }
        }
    }
    outcome = outcome.and(settle(args, &mut link, ends, console).await?);
    get::sweep(&mut link).await?;
    link.session.close().await;
    Ok(outcome)
}

async fn publish(
    args: &DeleteArgs,
    link: &mut Link,
    key: &ObjectKey,
    scope: &Scope,
) -> anyhow::Result<End> {
    let grace_s = match (args.grace_period, args.now, args.force) {
        (Some(seconds), ..) => Some(seconds),
        (None, _, true) => Some(0),
        (None, true, false) => Some(1),
        (None, false, false) => None,
    };
    let now_ms = u64::try_from(unix_now().as_millis()).unwrap_or(u64::MAX);
    let end = tombstone::plan(&link.fleet, key, scope, grace_s, now_ms, now_s())?;
    let address = address(link, key, scope);
    link.session.publish(&address, frame::encode(&end.object)?, Retain::Yes).await?;
    Ok(end)
}

fn address(link: &Link, key: &ObjectKey, scope: &Scope) -> String {
    let topic = Topic::Spec(key.clone());
    Address { fleet: link.name.clone(), scope: scope.clone(), topic }.to_string()
}

/// Waits until the objects are gone, prints that, and clears their tombstones.
async fn settle(
    args: &DeleteArgs,
    link: &mut Link,
    ends: Vec<End>,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let wait = args.wait && !args.force;
    let mut waiting = Vec::new();
    for end in ends {
        let key = &end.key;
        for node in &end.offline {
            report(args, key, &format!(" (node {node}): sent, node offline"), console)?;
        }
        if end.online.is_empty() && end.offline.is_empty() {
            report(args, key, &format!(" ({}): sent", end.scope), console)?;
        }
        if wait {
            waiting.push(end);
        } else {
            for node in &end.online {
                report(args, key, &format!(" (node {node}): sent"), console)?;
            }
        }
    }
    let grace = waiting.iter().map(|end| end.grace_s).max().unwrap_or_default();
    let patience = args.timeout.unwrap_or(Duration::from_secs(grace.into()) + ANSWER_TIME);
    let deadline = Instant::now() + patience;
    let mut outcome = Outcome::Done;
    loop {
        for end in &mut waiting {
            outcome = outcome.and(advance(args, link, end, console).await?);
        }
        waiting.retain(|end| !end.online.is_empty());
        if waiting.is_empty() {
            return Ok(outcome);
        }
        let Some(message) = link.session.next(Some(deadline)).await? else { break };
        link.fleet.absorb(&message);
    }
    for end in &waiting {
        for node in &end.online {
            let (resource, name) = (plural(end.key.kind), &end.key.name);
            console.fail(&anyhow!(
                "timed out waiting for the condition on {resource}/{name} (node {node})"
            ))?;
        }
    }
    Ok(Outcome::Failed)
}

/// Prints which nodes are done with one object; clears the tombstone after the last.
async fn advance(
    args: &DeleteArgs,
    link: &mut Link,
    end: &mut End,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    // Nobody will ever do what was said.
    let mut vain = false;
    let nodes = std::mem::take(&mut end.online);
    let waited = !nodes.is_empty();
    for node in nodes {
        match tombstone::gone(&link.fleet, end, &node) {
            Gone::NotYet => end.online.push(node),
            Gone::Yes => report(args, &end.key, &format!(" (node {node})"), console)?,
            Gone::Conflict(other) => {
                end.contested = true;
                outcome = Outcome::Failed;
                let error = ServerError::Conflict {
                    resource: plural(end.key.kind),
                    name: end.key.name.to_string(),
                    place: format!("node {node}"),
                    other: other.to_string(),
                };
                console.fail(&error.into())?;
            }
            Gone::Refused(refusal) => {
                // It stays: another board of this name may have what it is for. But of a static pod it would say that
                // it is being deleted.
                end.contested = true;
                vain |=
                    *refusal.reason == *static_pod::REFUSED && matches!(end.scope, Scope::Node(_));
                outcome = Outcome::Failed;
                console.fail(&deliver::refused(&end.key, &node, &refusal).into())?;
            }
        }
    }
    if waited && end.online.is_empty() && (vain || end.may_clear(&link.fleet)) {
        let address = address(link, &end.key, &end.scope);
        link.session.publish(&address, Vec::new(), Retain::Yes).await?;
    }
    Ok(outcome)
}

fn report(
    args: &DeleteArgs,
    key: &ObjectKey,
    note: &str,
    console: &mut Console,
) -> anyhow::Result<()> {
    let ObjectKey { kind, name, .. } = key;
    if args.output.is_some() {
        console.line(format_args!("{kind}/{name}"))?;
    } else {
        let how = if args.force { "force deleted" } else { "deleted" };
        console.line(format_args!("{kind} \"{name}\" {how}{note}"))?;
    }
    Ok(())
}
