//! Asking nodes for objects, and waiting until they say that they have them.

use anyhow::{Context as _, anyhow};
use mote_protocol::frame;
use mote_protocol::name::{Namespace, NodeName, ObjectKey, Uid};
use mote_protocol::status::Refusal;
use mote_protocol::topic::{Address, Scope, Topic};
use serde_json::Value;
use tokio::time::Instant;

use super::plan::{self, Given, Plan, Verb};
use super::progress::{self, Progress};
use super::target;
use crate::broker::{Retain, random_bits};
use crate::cli::Delivery;
use crate::command::resource::{key_of, plural};
use crate::command::{Invocation, Link, Outcome, now_s, unix_now};
use crate::failure::ServerError;
use crate::kubernetes::object::manifest_value;
use crate::manifest::Manifest;
use crate::output::console::Console;
use crate::output::format::{self, OutputFormat};
use crate::view::{key_filters, node_filters, problem};

/// What becomes of an object that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It changes in place, where that is allowed.
    Change,
    /// A pod ends, and data that is immutable and differs; the new one takes its name.
    Replace,
    /// It stays, and the new one is refused.
    Refuse,
}

/// Publishes objects for whom they are meant, waits, and prints what became of them.
pub async fn run(
    args: &Delivery,
    manifests: &[Manifest],
    existing: Existing,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    if args.dry_run == "client" {
        for manifest in manifests {
            print(args, manifest, invocation.namespace(), Verb::Created, " (dry run)", console)?;
        }
        return Ok(Outcome::Done);
    }
    let mut outcome = Outcome::Done;
    let context = invocation.context()?;
    let mut link = invocation.connect(&context).await?;
    let mut filters = node_filters(&link.name, None);
    let mut keys = Vec::new();
    for manifest in manifests {
        let namespace = namespace(manifest, invocation.namespace(), &context.namespace)?;
        let key = key_of(manifest.content.kind(), namespace, &manifest.name);
        filters.extend(key_filters(&link.name, &key));
        keys.push(key);
    }
    link.list(&filters).await?;
    // Nothing is sent while somebody has to say whom a part of it is for.
    let scopes = manifests.iter().map(|one| target::scopes(&link.fleet, one, &args.target));
    let scopes = scopes.collect::<anyhow::Result<Vec<_>>>()?;
    let mut applying = Vec::new();
    for ((manifest, key), scopes) in manifests.iter().zip(&keys).zip(scopes) {
        for scope in scopes {
            if let Some(stranger) = target::stranger(&link.fleet, &scope) {
                console.warn(format_args!("{stranger} is known to the broker"))?;
            }
            match publish(existing, &mut link, manifest, key, &scope).await {
                Ok(plan) => applying.push((plan, manifest)),
                Err(error) => {
                    console.fail(&error)?;
                    outcome = Outcome::Failed;
                }
            }
        }
    }
    outcome = outcome.and(settle(args, &mut link, applying, console).await?);
    link.session.close().await;
    Ok(outcome)
}

/// The namespace of a manifest: its own, else the command's.
pub fn namespace<'n>(
    manifest: &'n Manifest,
    asked: Option<&'n Namespace>,
    current: &'n Namespace,
) -> anyhow::Result<&'n Namespace> {
    match (&manifest.namespace, asked) {
        (Some(own), Some(asked)) if own != asked => Err(anyhow!(
            "the namespace from the provided object \"{own}\" does not match the namespace \
             \"{asked}\". You must pass '--namespace={own}' to perform this operation."
        )),
        (Some(own), _) => Ok(own),
        (None, _) => Ok(current),
    }
}

async fn publish(
    existing: Existing,
    link: &mut Link,
    manifest: &Manifest,
    key: &ObjectKey,
    scope: &Scope,
) -> anyhow::Result<Plan> {
    if existing == Existing::Refuse && plan::exists(&link.fleet, key, scope) {
        let (kind, name) = (key.kind, &key.name);
        let resource = plural(kind);
        anyhow::bail!("failed to create {kind}: {resource} \"{name}\" already exists ({scope})");
    }
    let now_ms = u64::try_from(unix_now().as_millis()).unwrap_or(u64::MAX);
    let force = existing == Existing::Replace;
    let given = Given { now_ms, uid: Uid::from_random(random_bits()), force };
    let plan = plan::plan(&link.fleet, key, scope, &manifest.content, given)?;
    if plan.verb == Verb::Unchanged {
        return Ok(plan);
    }
    let payload = frame::encode(&plan.object)
        .with_context(|| format!("{}: encode {}/{}", manifest.source, key.kind, key.name))?;
    let topic = Topic::Spec(key.clone());
    let address = Address { fleet: link.name.clone(), scope: scope.clone(), topic };
    link.session.publish(&address.to_string(), payload, Retain::Yes).await?;
    Ok(plan)
}

/// One node that was sent an object and did not answer yet.
struct Awaited<'m> {
    plan: Plan,
    manifest: &'m Manifest,
    node: NodeName,
}

/// Prints what was sent to nodes that nobody waits for; gives the others.
fn announce<'m>(
    args: &Delivery,
    link: &Link,
    plan: &Plan,
    manifest: &'m Manifest,
    console: &mut Console,
) -> anyhow::Result<Vec<Awaited<'m>>> {
    let (now, namespace) = (now_s(), Some(&plan.key.namespace));
    // A node that does not say which groups it is in cannot be waited for.
    let known = |name: &&NodeName| match &plan.scope {
        Scope::Group(group) => link.fleet.nodes.get(*name).and_then(|node| node.is_in(group)),
        Scope::All | Scope::Node(_) => Some(true),
    };
    let nodes = link.fleet.reached(&plan.scope).filter(|name| known(name) == Some(true));
    let nodes: Vec<_> = nodes.collect();
    let (mut awaited, mut told) = (Vec::new(), false);
    for node in nodes {
        if let Some(nearer) = link.fleet.nearer(&plan.key, &plan.scope, node) {
            let ObjectKey { kind, name, .. } = &plan.key;
            let nearer = match nearer {
                Scope::Group(group) => format!("its group {group}"),
                Scope::Node(_) | Scope::All => "it alone".into(),
            };
            console.warn(format_args!(
                "node {node} keeps the {kind} \"{name}\" that was applied to {nearer}"
            ))?;
            continue;
        }
        told = true;
        let online = link.fleet.nodes.get(node).is_some_and(|node| node.is_online(now));
        if online && args.wait {
            awaited.push(Awaited { plan: plan.clone(), manifest, node: node.clone() });
        } else {
            let note = if online { "sent" } else { "sent, node offline" };
            let note = format!(" (node {node}): {note}");
            print(args, manifest, namespace, plan.verb, &note, console)?;
        }
    }
    if !told {
        let note = format!(" ({}): sent", plan.scope);
        print(args, manifest, namespace, plan.verb, &note, console)?;
    }
    Ok(awaited)
}

/// Waits until every node answered, and prints what each said.
async fn settle(
    args: &Delivery,
    link: &mut Link,
    applying: Vec<(Plan, &Manifest)>,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let (mut outcome, mut waiting) = (Outcome::Done, Vec::new());
    for (plan, manifest) in applying {
        waiting.extend(announce(args, link, &plan, manifest, console)?);
    }
    let deadline = Instant::now() + args.timeout;
    loop {
        let mut still = Vec::new();
        for awaited in waiting {
            let Awaited { plan, manifest, node } = &awaited;
            match progress::of(&link.fleet, &plan.key, &plan.scope, node, &plan.object) {
                Progress::Waiting => still.push(awaited),
                Progress::Accepted(waits) => {
                    let why = waits.map(|why| format!(": {}", problem(&why))).unwrap_or_default();
                    let (namespace, note) = (&plan.key.namespace, format!(" (node {node}){why}"));
                    print(args, manifest, Some(namespace), plan.verb, &note, console)?;
                }
                failed => {
                    if matches!(failed, Progress::Conflict(_)) {
                        put_back(link, plan).await?;
                    }
                    console.fail(&failure(&failed, plan, node))?;
                    outcome = Outcome::Failed;
                }
            }
        }
        waiting = still;
        if waiting.is_empty() {
            return Ok(outcome);
        }
        let Some(message) = link.session.next(Some(deadline)).await? else { break };
        link.fleet.absorb(&message);
    }
    for Awaited { plan, node, .. } in &waiting {
        let ObjectKey { kind, name, .. } = &plan.key;
        console.fail(&anyhow!(
            "timed out waiting for node {node} to accept {kind}/{name}; it was sent and stays asked for"
        ))?;
    }
    Ok(Outcome::Failed)
}

/// Asks again for what ours replaced on the broker though it was greater: the node keeps that, and
/// so must the broker, or the two would differ for ever. Where the greater one is what was seen
/// last, ours may still be on its way to the broker; saying the greater again does no harm.
async fn put_back(link: &mut Link, plan: &Plan) -> anyhow::Result<()> {
    let place = (plan.key.clone(), plan.scope.clone());
    let seen = link.fleet.object(&place.0, &place.1).cloned();
    let newer = seen.filter(|seen| seen.revision > plan.object.revision);
    let Some(greater) = link.fleet.overtaken.remove(&place).or(newer) else { return Ok(()) };
    let payload = frame::encode(&greater).context("encode what has the name")?;
    let (fleet, topic) = (link.name.clone(), Topic::Spec(place.0));
    let address = Address { fleet, scope: place.1, topic };
    Ok(link.session.publish(&address.to_string(), payload, Retain::Yes).await?)
}

fn failure(progress: &Progress, plan: &Plan, node: &NodeName) -> anyhow::Error {
    let (resource, name) = (plural(plan.key.kind), plan.key.name.to_string());
    let place = format!("node {node}");
    match progress {
        Progress::Refused(refusal) => refused(&plan.key, node, refusal).into(),
        Progress::Conflict(other) => {
            ServerError::Conflict { resource, name, place, other: other.to_string() }.into()
        }
        Progress::Waiting | Progress::Accepted(_) => anyhow!("{}/{name} on {place}", plan.key.kind),
    }
}

/// What a node said that does not want what was published.
pub fn refused(key: &ObjectKey, node: &NodeName, refusal: &Refusal) -> ServerError {
    ServerError::Refused {
        resource: plural(key.kind),
        name: key.name.to_string(),
        place: format!("node {node}"),
        reason: refusal.reason.to_string(),
        problem: problem(refusal),
    }
}

/// Prints what became of an object, in the form that was asked for.
fn print(
    args: &Delivery,
    manifest: &Manifest,
    namespace: Option<&Namespace>,
    verb: Verb,
    note: &str,
    console: &mut Console,
) -> anyhow::Result<()> {
    let value = || -> Value { manifest_value(manifest, namespace) };
    let (kind, name) = (manifest.content.kind(), &manifest.name);
    match &args.output {
        None | Some(OutputFormat::Table | OutputFormat::Wide) => {
            console.line(format_args!("{kind}/{name} {}{note}", verb.as_str()))?;
        }
        Some(OutputFormat::Name) => console.line(format_args!("{kind}/{name}"))?,
        Some(OutputFormat::Yaml) => console.text(&format!("---\n{}", format::yaml(&value())))?,
        Some(form) => console.text(&form.format(&value())?)?,
    }
    Ok(())
}
