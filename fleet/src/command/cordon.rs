//! `mote cordon` and `mote uncordon`: whether new pods begin on a node.

use anyhow::anyhow;
use mote_protocol::command::{Answer, Request};
use mote_protocol::cordon::CordonRequest;
use mote_protocol::name::NodeName;

use super::ask::{self, ask};
use super::stream::asker;
use super::{Invocation, Link, Outcome, now_s};
use crate::output::console::Console;
use crate::view::node_filters;

/// Tells a node whether new pods begin there.
pub async fn run(
    node: &NodeName,
    cordoned: bool,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let context = invocation.context()?;
    let mut link = invocation.connect(&context).await?;
    find(&mut link, node).await?;
    let request = Request::Cordon(CordonRequest { cordoned, by: asker() });
    let patience = invocation.request_timeout();
    let mut answered = ask(&mut link, std::slice::from_ref(node), &request, patience).await?;
    link.session.close().await;
    let answer = answered.pop().map(|(_, answer)| answer);
    let parts = answer
        .ok_or_else(|| anyhow!("node {node} was not asked"))?
        .map_err(|why| anyhow!("node {node}: {}", ask::explain(why)))?;
    let already = parts.iter().any(|part| *part == Answer::Cordoned { already: true });
    console.line(format_args!("node/{node} {}", word(cordoned, already)))?;
    Ok(Outcome::Done)
}

/// What kubectl says of it.
pub(super) fn word(cordoned: bool, already: bool) -> String {
    let done = if cordoned { "cordoned" } else { "uncordoned" };
    if already { format!("already {done}") } else { done.to_owned() }
}

/// Makes sure that a node is there to be asked.
pub(super) async fn find(link: &mut Link, node: &NodeName) -> anyhow::Result<()> {
    link.list(&node_filters(&link.name, Some(node))).await?;
    let Some(found) = link.fleet.nodes.get(node) else {
        return Err(anyhow!("nodes \"{node}\" not found"));
    };
    if !found.is_online(now_s()) {
        return Err(anyhow!(
            "node {node} is offline: nothing was asked of it; try again when it is back"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_in_kubectls_words() {
        let words = [(true, false), (true, true), (false, false), (false, true)];
        let told = words.map(|(cordoned, already)| word(cordoned, already));
        assert_eq!(told, ["cordoned", "already cordoned", "uncordoned", "already uncordoned"]);
    }
}
