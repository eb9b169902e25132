//! The pod that a stream leads to.

use anyhow::bail;
use mote_protocol::name::{ContainerName, Kind, NodeName, ObjectKey};
use mote_protocol::node::Session;

use crate::command::get::{Scope, several};
use crate::command::logs::select;
use crate::command::resource::{Selection, pod_named};
use crate::command::{Link, now_s};
use crate::context::Context;
use crate::output::console::Console;
use crate::view::node::Presence;

/// A pod, at a node that can be reached, in the connection in which it was found.
#[derive(Clone, Debug)]
pub(in crate::command) struct Target {
    pub(in crate::command) node: NodeName,
    pub(in crate::command) session: Session,
    pub(in crate::command) key: ObjectKey,
    pub(in crate::command) container: ContainerName,
}

/// What is asked for.
pub(in crate::command) struct Wanted<'a> {
    /// `NAME` or `pod/NAME`.
    pub(in crate::command) pod: &'a str,
    pub(in crate::command) node: Option<&'a NodeName>,
    pub(in crate::command) container: Option<&'a str>,
    /// Nothing is remarked.
    pub(in crate::command) quiet: bool,
    /// What is done with it, should it be over, or no pod.
    pub(in crate::command) doing: &'static str,
}

/// Finds the pod that is meant. None where there are several of the name; that was said.
pub(in crate::command) async fn find(
    wanted: &Wanted<'_>,
    context: &Context,
    link: &mut Link,
    console: &mut Console,
) -> anyhow::Result<Option<Target>> {
    let named = Selection::Objects(Kind::Pod, vec![pod_named(wanted.pod, wanted.doing)?]);
    let scope = Scope {
        selection: &named,
        namespace: Some(&context.namespace),
        node: wanted.node,
        selector: None,
    };
    let filters = scope.filters(link);
    link.list(&filters).await?;
    if several(&scope, &link.fleet, console)? {
        return Ok(None);
    }
    if let Some(error) = scope.missing(&link.fleet).into_iter().next() {
        return Err(error.into());
    }
    let pods = scope.pods(&link.fleet);
    let Some(view) = pods.first() else { bail!("nothing is known of pod {}", wanted.pod) };
    let (Some(node), Some(facts)) = (view.node_name(), view.node) else {
        bail!("no node is known that has pod {}", view.key.name);
    };
    let heard = (facts.presence(now_s()), facts.session());
    let (Presence::Online | Presence::Silent { .. }, Some(session)) = heard else {
        bail!("node {node} is offline");
    };
    if let Some(phase) = view.status().map(|status| status.phase).filter(|p| p.is_terminal()) {
        bail!("cannot {} a completed pod; current phase is {}", wanted.doing, phase.as_str());
    }
    let chosen = select::choose(view, wanted.container, false)?;
    if let Some(note) = chosen.note.filter(|_| !wanted.quiet) {
        console.remark(note)?;
    }
    let Some(container) = chosen.names.first() else { bail!("pod {} has none", view.key.name) };
    let (node, key) = (node.clone(), view.key.clone());
    Ok(Some(Target { node, session, key, container: ContainerName::new(container)? }))
}
