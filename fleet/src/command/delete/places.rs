//! Where the tombstones of what is to be deleted belong.
//!
//! A tombstone goes where the pod was asked for. What was asked of all nodes or of a group ends on
//! every one of them: so it is never the answer to a deletion on one node.

use anyhow::anyhow;
use mote_protocol::name::{GroupName, ObjectKey};
use mote_protocol::object::{Intent, Object, Pod};
use mote_protocol::topic::Scope;

use crate::cli::DeleteArgs;
use crate::command::Outcome;
use crate::command::get::{self, several};
use crate::command::resource::Selection;
use crate::failure::ServerError;
use crate::output::console::Console;
use crate::view::Fleet;
use crate::view::pod::PodView;

/// Objects and the scopes in which they end.
type Places = Vec<(ObjectKey, Scope)>;

/// Finds the places, and tells what cannot be deleted as it was asked.
pub(super) fn find(
    args: &DeleteArgs,
    scope: &get::Scope<'_>,
    fleet: &Fleet,
    console: &mut Console,
) -> anyhow::Result<(Places, Outcome)> {
    let mut outcome = Outcome::Done;
    let (mut places, missing) = match &args.group {
        Some(group) => of_group(scope, fleet, group),
        None => (Vec::new(), scope.missing(fleet)),
    };
    for error in missing.into_iter().filter(|_| !args.ignore_not_found) {
        console.fail(&error.into())?;
        outcome = Outcome::Failed;
    }
    if args.group.is_none() {
        let found = scope.pods(fleet);
        if !args.all_nodes && several(scope, &found, console)? {
            return Ok((Vec::new(), Outcome::Failed));
        }
        for pod in &found {
            let target = target(pod);
            if let Some(wider) = wider(&target).filter(|_| args.node.is_some()) {
                console.fail(&anyhow!("pod \"{}\" was applied to {wider}", pod.key.name))?;
                outcome = Outcome::Failed;
            } else {
                places.push((pod.key.clone(), target));
            }
        }
    }
    places.sort();
    places.dedup();
    Ok((places, outcome))
}

/// Where the tombstone of a pod belongs: where it was asked for.
fn target(pod: &PodView<'_>) -> Scope {
    pod.asked_in.cloned().unwrap_or_else(|| pod.scope.clone())
}

/// What a scope of several nodes is called, and how to delete in it.
fn wider(scope: &Scope) -> Option<String> {
    match scope {
        Scope::Node(_) => None,
        Scope::Group(group) => Some(format!("group {group}; delete it there with --group {group}")),
        Scope::All => Some("all nodes; delete it there with --all-nodes".into()),
    }
}

/// What was asked of a group, whatever nodes are in it, and errors for names that are not.
fn of_group(
    scope: &get::Scope<'_>,
    fleet: &Fleet,
    group: &GroupName,
) -> (Places, Vec<ServerError>) {
    let group = Scope::Group(group.clone());
    let is_wanted = |key: &ObjectKey, object: &Object| {
        let Intent::Apply { schema, body } = &object.intent else { return false };
        let named = match scope.selection {
            Selection::Pods(names) => names.contains(&key.name),
            Selection::All(_) | Selection::Nodes(_) => true,
        };
        let labels = || Pod::decode(*schema, body).map(|pod| pod.meta.labels).unwrap_or_default();
        named
            && scope.namespace.is_none_or(|namespace| key.namespace == *namespace)
            && scope.selector.is_none_or(|selector| selector.matches(&labels()))
    };
    let asked = fleet.desired.iter().filter(|((_, at), _)| *at == group);
    let found: Places = asked
        .filter(|((key, _), object)| object.as_ref().is_ok_and(|object| is_wanted(key, object)))
        .map(|(place, _)| place.clone())
        .collect();
    let missing = match scope.selection {
        Selection::Pods(names) => names
            .iter()
            .filter(|name| !found.iter().any(|(key, _)| key.name == **name))
            .map(|name| ServerError::NotFound { resource: "pods", name: name.to_string() })
            .collect(),
        Selection::All(_) | Selection::Nodes(_) => Vec::new(),
    };
    (found, missing)
}
