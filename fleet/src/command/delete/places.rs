//! Where the tombstones of what is to be deleted belong.
//!
//! A tombstone goes where the object was asked for. What was asked of all nodes or of a group ends on
//! every one of them: so it is never the answer to a deletion on one node.

use anyhow::anyhow;
use mote_protocol::name::{GroupName, ObjectKey};
use mote_protocol::object::Object;
use mote_protocol::topic::Scope;

use crate::cli::DeleteArgs;
use crate::command::Outcome;
use crate::command::get::{self, Item, several};
use crate::command::resource::{Resource, Selection, plural};
use crate::content::Content;
use crate::failure::ServerError;
use crate::output::console::Console;
use crate::view::Fleet;

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
        if !args.all_nodes && several(scope, fleet, console)? {
            return Ok((Vec::new(), Outcome::Failed));
        }
        for (key, target) in scope.items(fleet).iter().filter_map(target) {
            if let Some(wider) = wider(&target).filter(|_| args.node.is_some()) {
                let ObjectKey { kind, name, .. } = &key;
                console.fail(&anyhow!("{kind} \"{name}\" was applied to {wider}"))?;
                outcome = Outcome::Failed;
            } else {
                places.push((key, target));
            }
        }
    }
    places.sort();
    places.dedup();
    Ok((places, outcome))
}

/// Where the tombstone of an object belongs: where it was asked for.
fn target(item: &Item<'_>) -> Option<(ObjectKey, Scope)> {
    match item {
        Item::Pod(pod) => {
            Some((pod.key.clone(), pod.asked_in.cloned().unwrap_or_else(|| pod.scope.clone())))
        }
        Item::Data(data) => Some((data.key.clone(), data.scope.clone())),
        Item::Node(..) => None,
    }
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
        let Some(content) = Content::of(key.kind, &object.intent) else { return false };
        let labels = || content.map(|content| content.meta().labels.clone()).unwrap_or_default();
        scope.selection.resource() == Resource::Objects(key.kind)
            && scope.names(&key.name)
            && scope.namespace.is_none_or(|namespace| key.namespace == *namespace)
            && scope.selector.is_none_or(|selector| selector.matches(&labels()))
    };
    let asked = fleet.desired.iter().filter(|((_, at), _)| *at == group);
    let found: Places = asked
        .filter(|((key, _), object)| object.as_ref().is_ok_and(|object| is_wanted(key, object)))
        .map(|(place, _)| place.clone())
        .collect();
    let missing = match scope.selection {
        Selection::Objects(kind, names) => names
            .iter()
            .filter(|name| !found.iter().any(|(key, _)| key.name == **name))
            .map(|name| ServerError::NotFound { resource: plural(*kind), name: name.to_string() })
            .collect(),
        Selection::All(_) | Selection::Nodes(_) => Vec::new(),
    };
    (found, missing)
}
