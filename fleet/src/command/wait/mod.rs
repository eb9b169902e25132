//! `mote wait`: until objects or nodes are as wanted.

mod wanted;

use anyhow::anyhow;
use mote_protocol::name::Namespace;
use serde_json::Value;
use tokio::time::Instant;

use super::get::{Scope, several};
use super::resource::Selection;
use super::{Invocation, Link, Outcome, now_s};
use crate::cli::WaitArgs;
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
    namespace: Option<Namespace>,
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
    if several(&scope, &link.fleet, console)? {
        return Ok(Outcome::Failed);
    }
    outcome = outcome.and(settle(&wanted, &scope, &mut link, waiting, deadline, console).await?);
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
    let items = scope.items(fleet).into_iter();
    items
        .map(|item| Awaited {
            shown: item.shown(),
            plural: format!("{}/{}", item.resource().plural(), item.name()),
            namespace: item.namespace().cloned(),
            place: item.place(),
        })
        .collect()
}

/// The object, unless it is gone.
fn value(scope: &Scope<'_>, fleet: &Fleet, awaited: &Awaited) -> Option<Value> {
    let items = scope.items(fleet);
    let item = items.iter().find(|item| {
        item.shown() == awaited.shown
            && item.namespace() == awaited.namespace.as_ref()
            && item.place() == awaited.place
    });
    item.map(|item| item.value(now_s()))
}
