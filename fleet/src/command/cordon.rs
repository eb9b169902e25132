//! `mote cordon` and `mote uncordon`: whether new pods begin on a node.

use mote_protocol::command::{Answer, Request};
use mote_protocol::cordon::CordonRequest;
use mote_protocol::name::NodeName;

use super::ask::{ASK_LATER, ask_one, find};
use super::stream::asker;
use super::{Invocation, Outcome};
use crate::output::console::Console;

/// Tells a node whether new pods begin there.
pub async fn run(
    node: &NodeName,
    cordoned: bool,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let context = invocation.context()?;
    let mut link = invocation.connect(&context).await?;
    find(&mut link, node, ASK_LATER).await?;
    let request = Request::Cordon(CordonRequest { cordoned, by: asker() });
    let patience = invocation.request_timeout();
    let answer = ask_one(&mut link, node, &request, patience).await;
    link.session.close().await;
    let parts = answer?;
    let already = parts.iter().any(|part| *part == Answer::Cordoned { already: true });
    console.line(format_args!("node/{node} {}", word(cordoned, already)))?;
    Ok(Outcome::Done)
}

/// What kubectl says of it.
pub(super) fn word(cordoned: bool, already: bool) -> String {
    let done = if cordoned { "cordoned" } else { "uncordoned" };
    if already { format!("already {done}") } else { done.to_owned() }
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
