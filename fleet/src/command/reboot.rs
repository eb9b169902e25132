//! `mote reboot`: has a node reboot its machine.

use anyhow::anyhow;
use mote_protocol::command::{Answer, RebootRequest, Request};
use mote_protocol::name::NodeName;

use super::ask::{ASK_LATER, ask_one, find};
use super::stream::asker;
use super::{Invocation, Outcome};
use crate::output::console::Console;

/// Runs the command: it has succeeded when the node says that it goes down.
pub async fn run(
    node: &NodeName,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let context = invocation.context()?;
    let mut link = invocation.connect(&context).await?;
    find(&mut link, node, ASK_LATER).await?;
    let request = Request::Reboot(RebootRequest { by: asker() });
    let patience = invocation.request_timeout();
    let answer = ask_one(&mut link, node, &request, patience).await;
    link.session.close().await;
    let parts = answer?;
    if !parts.contains(&Answer::Rebooting) {
        return Err(anyhow!("node {node}: it does not say that it goes down"));
    }
    console.line(format_args!("node/{node} rebooting"))?;
    Ok(Outcome::Done)
}
