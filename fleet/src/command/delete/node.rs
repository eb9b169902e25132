//! `mote delete node`: forget a node that will not come back.

use anyhow::anyhow;
use mote_protocol::name::NodeName;
use mote_protocol::topic::ROOT;

use crate::broker::Retain;
use crate::cli::DeleteArgs;
use crate::command::{Invocation, Outcome, now_s};
use crate::context::Context;
use crate::failure::ServerError;
use crate::output::console::Console;

/// Clears every retained topic of the nodes.
pub(super) async fn run(
    args: &DeleteArgs,
    names: &[NodeName],
    context: &Context,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let mut link = invocation.connect(context).await?;
    let mut outcome = Outcome::Done;
    for name in names {
        // Everything below the node, secrets too: their payloads are not looked at.
        let messages = link.session.list(&[format!("{ROOT}/{}/{name}/#", link.name)]).await?;
        link.fleet.absorb_all(&messages);
        if messages.is_empty() {
            if !args.ignore_not_found {
                let error = ServerError::NotFound { resource: "nodes", name: name.to_string() };
                console.fail(&error.into())?;
                outcome = Outcome::Failed;
            }
            continue;
        }
        let online = link.fleet.nodes.get(name).is_some_and(|node| node.is_online(now_s()));
        if online && !args.force {
            console.fail(&anyhow!(
                "node {name} is online and would come back at once: stop its agent, or use --force"
            ))?;
            outcome = Outcome::Failed;
            continue;
        }
        for message in messages.iter().filter(|message| !message.payload.is_empty()) {
            link.session.publish(&message.topic, Vec::new(), Retain::Yes).await?;
        }
        console.line(format_args!("node \"{name}\" deleted"))?;
    }
    link.session.close().await;
    Ok(outcome)
}
