//! Which scopes a manifest is for.

use anyhow::anyhow;
use mote_protocol::name::Kind;
use mote_protocol::topic::Scope;

use crate::cli::Target;
use crate::manifest::Manifest;
use crate::view::Fleet;
use crate::view::node::Node;

/// The scopes of a manifest: what the command says, else what the manifest says.
pub(super) fn scopes(
    fleet: &Fleet,
    manifest: &Manifest,
    target: &Target,
) -> anyhow::Result<Vec<Scope>> {
    let named = manifest.node.as_ref();
    if let Some(name) =
        named.filter(|_| target.all || target.group.is_some() || target.selector.is_some())
    {
        return Err(anyhow!(
            "{}: spec.nodeName is \"{name}\": -l, --group and --all-nodes are for pods without it",
            manifest.source
        ));
    }
    if target.all {
        return Ok(vec![Scope::All]);
    }
    if let Some(group) = &target.group {
        return Ok(vec![Scope::Group(group.clone())]);
    }
    if let Some(selector) = &target.selector {
        let labelled = fleet.nodes.iter().filter(|(_, node)| {
            node.birth.as_ref().is_some_and(|birth| selector.matches(&birth.labels))
        });
        let scopes: Vec<_> = labelled.map(|(name, _)| Scope::Node(name.clone())).collect();
        if scopes.is_empty() {
            return Err(anyhow!("no node's labels match the selector; {}", known(fleet)));
        }
        return Ok(scopes);
    }
    match (&target.node, named) {
        (Some(asked), Some(named)) if asked != named => Err(anyhow!(
            "{}: spec.nodeName is \"{named}\", but --node is \"{asked}\"",
            manifest.source
        )),
        (Some(name), _) | (None, Some(name)) => Ok(vec![Scope::Node(name.clone())]),
        (None, None) => {
            let own = match manifest.content.kind() {
                Kind::Pod => "set spec.nodeName, or ",
                Kind::ConfigMap | Kind::Secret | Kind::Service => "",
            };
            Err(anyhow!(
                "{}: no node: {own}use --node, -l, --group or --all-nodes; {}",
                manifest.source,
                known(fleet)
            ))
        }
    }
}

/// Of whom nothing is known in a scope; `None` where somebody is, or may be. It may still come.
pub(super) fn stranger(fleet: &Fleet, scope: &Scope) -> Option<String> {
    match scope {
        Scope::Node(name) => {
            (!fleet.nodes.contains_key(name)).then(|| format!("no node \"{name}\""))
        }
        Scope::Group(group) => {
            let is_in = |node: &Node| node.is_in(group) != Some(false);
            (!fleet.nodes.values().any(is_in)).then(|| format!("no node of group \"{group}\""))
        }
        Scope::All => None,
    }
}

fn known(fleet: &Fleet) -> String {
    let names: Vec<_> = fleet.nodes.keys().map(ToString::to_string).collect();
    if names.is_empty() {
        "no node is known in this fleet".into()
    } else {
        format!("known nodes: {}", names.join(", "))
    }
}
