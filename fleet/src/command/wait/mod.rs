//! `mote wait`: until pods or nodes are as wanted.

mod wanted;

use anyhow::anyhow;
use serde_json::Value;
use tokio::time::Instant;

use super::get::{Scope, several};
use super::resource::{Resource, Selection};
use super::{Invocation, Link, Outcome, now_s};
use crate::cli::WaitArgs;
use crate::kubernetes::node::node_value;
use crate::kubernetes::status::pod_value;
use crate::output::console::Console;
use crate::view::Fleet;
use wanted::Wanted;

/// One thing that is waited for: what it is called, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Awaited {
    /// `pod/web` or `node/pi-7`.
    shown: String,
    /// `pods/web` or `nodes/pi-7`.
    plural: String,
    namespace: String,
    name: String,
    place: Option<String>,
}

/// Runs the command.
pub async fn run(
    args: &WaitArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let wanted: Wanted = args.wanted.parse()?;
    let selection = Selection::parse(&args.resources)?;
    if matches!(selection, Selection::All(_)) && !args.all && args.selector.is_none() {
        return Err(anyhow!(
            "resource(s) were provided, but no name was specified: use --all or -l"
        ));
    }
    let context = invocation.context()?;
    let scope = Scope {
        selection: &selection,
        namespace: Some(&context.namespace).filter(|_| !args.all_namespaces),
        node: args.node.as_ref(),
        selector: args.selector.as_ref(),
    };
    let deadline = Instant::now() + args.timeout;
    let mut link = invocation.connect(&context).await?;
    let filters = scope.filters(&link);
    link.list(&filters).await?;
    while wanted == Wanted::Created && !scope.missing(&link.fleet).is_empty() {
        let Some(message) = link.session.next(Some(deadline)).await? else { break };
        link.fleet.absorb(&message);
    }
    let mut outcome = Outcome::Done;
    let waiting = awaited(&scope, &link.fleet);
    if wanted != Wanted::Deleted {
        for error in scope.missing(&link.fleet) {
            console.fail(&error.into())?;
            outcome = Outcome::Failed;
        }
        if waiting.is_empty() && outcome == Outcome::Done {
            return Err(anyhow!("no matching resources found"));
        }
    }
    if selection.resource() == Resource::Pods && several(&scope, &scope.pods(&link.fleet), console)?
    {
        return Ok(Outcome::Failed);
    }
    if settle(&wanted, &scope, &mut link, waiting, deadline, console).await? == Outcome::Failed {
        outcome = Outcome::Failed;
    }
    link.session.close().await;
    Ok(outcome)
}

/// Waits until all is as wanted, and prints what came to be so.
async fn settle(
    wanted: &Wanted,
    scope: &Scope<'_>,
    link: &mut Link,
    mut waiting: Vec<Awaited>,
    deadline: Instant,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    loop {
        let mut still = Vec::new();
        for awaited in waiting {
            if wanted.is_met(value(scope, &link.fleet, &awaited).as_ref()) {
                console.line(format_args!("{} condition met", awaited.shown))?;
            } else {
                still.push(awaited);
            }
        }
        waiting = still;
        if waiting.is_empty() {
            return Ok(Outcome::Done);
        }
        let Some(message) = link.session.next(Some(deadline)).await? else { break };
        link.fleet.absorb(&message);
    }
    for awaited in &waiting {
        console.fail(&anyhow!("timed out waiting for the condition on {}", awaited.plural))?;
    }
    Ok(Outcome::Failed)
}

fn awaited(scope: &Scope<'_>, fleet: &Fleet) -> Vec<Awaited> {
    match scope.selection.resource() {
        Resource::Pods => {
            let pods = scope.pods(fleet).into_iter();
            pods.map(|pod| Awaited {
                shown: format!("pod/{}", pod.key.name),
                plural: format!("pods/{}", pod.key.name),
                namespace: pod.key.namespace.to_string(),
                name: pod.key.name.to_string(),
                place: Some(pod.place()),
            })
            .collect()
        }
        Resource::Nodes => {
            let nodes = scope.nodes(fleet).into_iter();
            nodes
                .map(|(name, _)| Awaited {
                    shown: format!("node/{name}"),
                    plural: format!("nodes/{name}"),
                    namespace: String::new(),
                    name: name.to_string(),
                    place: None,
                })
                .collect()
        }
    }
}

/// The object, unless it is gone.
fn value(scope: &Scope<'_>, fleet: &Fleet, awaited: &Awaited) -> Option<Value> {
    let now = now_s();
    let Some(place) = &awaited.place else {
        let nodes = scope.nodes(fleet);
        let node = nodes.iter().find(|(name, _)| name.as_str() == awaited.name);
        return node.map(|(name, node)| node_value(name, node, now));
    };
    let pods = scope.pods(fleet);
    let pod = pods.iter().find(|pod| {
        pod.key.name.as_str() == awaited.name
            && pod.key.namespace.as_str() == awaited.namespace
            && pod.place() == *place
    });
    pod.map(|pod| pod_value(pod, now))
}
