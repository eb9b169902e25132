//! Asking nodes: a command to each, and the parts of their answers.
//!
//! A command names the boot and the session it is meant for, so that a copy does nothing later;
//! a node that does not answer in time is named, not waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;
use mote_protocol::command::{Answer, Command, Reply, Request};
use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::name::{NodeName, RequestId, Uid};
use mote_protocol::node::Birth;
use mote_protocol::topic::{Address, ROOT, Scope, Topic};
use tokio::time::Instant;

use super::{Link, now_s, unix_now};
use crate::broker::Retain;
use crate::kubernetes::event::Told;
use crate::view::node::Node;
use crate::view::node_filters;

/// How long a command is of use, with room for clocks that disagree.
const USEFUL: Duration = Duration::from_mins(5);

/// Most parts of one answer.
const MAX_PARTS: u32 = 256;

/// Why a node refuses a question that it does not know.
pub(super) const NOT_UNDERSTOOD: &str = "MalformedBody";

/// What is said of a node that is offline, where the question can wait until it is back.
pub(super) const ASK_LATER: &str = "nothing was asked of it; try again when it is back";

/// What nodes answered to a question about events.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Events, in the order of the nodes' names and then of their rings.
    pub events: Vec<Told>,
    /// Nodes that did not answer or refused, and why.
    pub failed: Vec<(NodeName, String)>,
}

/// What one node answered, or why not.
pub(super) type Answered = (NodeName, Result<Vec<Answer>, String>);

/// Asks nodes for the events they remember.
pub(super) async fn events(
    link: &mut Link,
    nodes: &[NodeName],
    about: Option<Uid>,
    patience: Duration,
) -> anyhow::Result<Answers> {
    let mut answers = Answers::default();
    for (name, answered) in ask(link, nodes, &Request::Events { about }, patience).await? {
        let node = link.fleet.nodes.get(&name);
        match answered {
            Ok(parts) => answers.events.extend(
                parts
                    .into_iter()
                    .flat_map(|part| match part {
                        Answer::Events(events) => events,
                        // No answer to this question.
                        _ => Vec::new(),
                    })
                    .map(|event| Told::new(&name, node, event)),
            ),
            Err(why) => answers.failed.push((name, why)),
        }
    }
    answers.events.sort_by(|a, b| (&a.node, a.event.sequence).cmp(&(&b.node, b.event.sequence)));
    Ok(answers)
}

/// Asks nodes, and gives what each answered, in the order in which they did; those that did not in
/// time come last.
pub(super) async fn ask(
    link: &mut Link,
    nodes: &[NodeName],
    request: &Request,
    patience: Duration,
) -> anyhow::Result<Vec<Answered>> {
    let id = link.session.id().clone();
    // Answers are not retained: listing only makes sure that the subscription stands.
    link.session.list(&[format!("{ROOT}/{}/+/reply/{id}", link.name)]).await?;
    let mut waiting: BTreeMap<NodeName, Vec<Reply>> = BTreeMap::new();
    for name in nodes {
        if send(link, name, &id, request).await? {
            waiting.insert(name.clone(), Vec::new());
        }
    }
    let mut answered = Vec::new();
    let deadline = Instant::now() + patience;
    while !waiting.is_empty() {
        let Some(message) = link.session.next(Some(deadline)).await? else { break };
        let Ok(Address { scope: Scope::Node(name), topic: Topic::Reply(found), .. }) =
            Address::parse(&message.topic)
        else {
            link.fleet.absorb(&message);
            continue;
        };
        if found != id {
            continue;
        }
        let Some(parts) = waiting.get_mut(&name) else { continue };
        match frame::decode::<Reply>(&message.payload) {
            Ok(reply) if reply.part < MAX_PARTS => parts.push(reply),
            Ok(_) => {}
            Err(error) => {
                waiting.remove(&name);
                answered.push((name, Err(error.to_string())));
                continue;
            }
        }
        if is_whole(parts) {
            let parts = waiting.remove(&name).unwrap_or_default();
            answered.push((name, collect(parts)));
        }
    }
    let silent = waiting.into_keys().map(|name| (name, Err("it does not answer".to_owned())));
    answered.extend(silent);
    Ok(answered)
}

/// Makes sure that a node is there to be asked; `offline` says what to do where it is offline.
pub(super) async fn find(link: &mut Link, node: &NodeName, offline: &str) -> anyhow::Result<()> {
    link.list(&node_filters(&link.name, Some(node))).await?;
    let Some(found) = link.fleet.nodes.get(node) else {
        return Err(anyhow!("nodes \"{node}\" not found"));
    };
    if !found.is_online(now_s()) {
        return Err(anyhow!("node {node} is offline: {offline}"));
    }
    Ok(())
}

/// Asks one node, and gives the parts of its answer; why it gave none is an error that names it.
pub(super) async fn ask_one(
    link: &mut Link,
    node: &NodeName,
    request: &Request,
    patience: Duration,
) -> anyhow::Result<Vec<Answer>> {
    let mut answered = ask(link, std::slice::from_ref(node), request, patience).await?;
    let (_, answer) = answered.pop().ok_or_else(|| anyhow!("node {node} was not asked"))?;
    answer.map_err(|why| anyhow!("node {node}: {}", explain(why)))
}

/// How following the parts of an answer ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// The last one came.
    ToTheEnd,
    /// The node refused, and why.
    Refused(String),
    /// Nothing came.
    Silent,
    /// Not all came in time.
    TimedOut,
    /// The node lost its connection, and with it the rest.
    Lost,
}

/// Asks one node, and hands over the parts of its answer, in their order, as they come. The first may take
/// as long as the first of `patience` says, all together until the second, where there is one.
pub(super) async fn follow(
    link: &mut Link,
    node: &NodeName,
    request: &Request,
    (first, deadline): (Duration, Option<Instant>),
    mut take: impl FnMut(Answer) -> anyhow::Result<()>,
) -> anyhow::Result<Followed> {
    let id = link.session.id().clone();
    link.session.list(&[format!("{ROOT}/{}/{node}/reply/{id}", link.name)]).await?;
    let session = link.fleet.nodes.get(node).and_then(Node::session);
    send(link, node, &id, request).await?;
    let first = Instant::now() + first;
    let mut parts: BTreeMap<u32, Reply> = BTreeMap::new();
    let mut next = 0;
    loop {
        let until =
            if next == 0 { Some(deadline.map_or(first, |end| end.min(first))) } else { deadline };
        let Some(message) = link.session.next(until).await? else {
            return Ok(if next == 0 { Followed::Silent } else { Followed::TimedOut });
        };
        match Address::parse(&message.topic) {
            Ok(Address { topic: Topic::Reply(found), .. }) if found == id => {
                let reply = frame::decode::<Reply>(&message.payload)?;
                parts.insert(reply.part, reply);
            }
            _ => {
                link.fleet.absorb(&message);
                let known = link.fleet.nodes.get(node);
                if known.and_then(Node::session) != session
                    || !known.is_some_and(|node| node.is_online(now_s()))
                {
                    return Ok(Followed::Lost);
                }
            }
        }
        while let Some(reply) = parts.remove(&next) {
            next += 1;
            match reply.answer {
                Answer::Refused { reason, message } => {
                    return Ok(Followed::Refused(format!("{reason}: {message}")));
                }
                answer => take(answer)?,
            }
            if reply.last {
                return Ok(Followed::ToTheEnd);
            }
        }
    }
}

/// Sends a node a command; false where it was never heard of.
async fn send(
    link: &mut Link,
    node: &NodeName,
    id: &RequestId,
    request: &Request,
) -> anyhow::Result<bool> {
    let Some(known) = link.fleet.nodes.get(node) else { return Ok(false) };
    let Some(birth) = known.birth.as_ref() else { return Ok(false) };
    let command = command(birth, last_heard(known), request.clone());
    let address = Address {
        fleet: link.name.clone(),
        scope: Scope::Node(node.clone()),
        topic: Topic::Command(id.clone()),
    };
    let payload = frame::encode(&command)?;
    link.session.publish(&address.to_string(), payload, Retain::Expires(USEFUL)).await?;
    Ok(true)
}

/// Why a node refused, for a person.
pub(super) fn explain(why: String) -> String {
    if why.starts_with(NOT_UNDERSTOOD) {
        return "its agent is too old for this: update it".to_owned();
    }
    why
}

/// When the node was heard last, in its own seconds.
pub(super) fn last_heard(node: &Node) -> i64 {
    node.heartbeat.as_ref().map_or(0, |beat| beat.at)
}

pub(super) fn command(birth: &Birth, last_heard: i64, request: Request) -> Command {
    // By our clock the node has been up for this long; by its own at least until the heartbeat.
    let now = now_s().saturating_sub(birth.boot_epoch).max(last_heard);
    let useful = i64::try_from(USEFUL.as_secs()).unwrap_or(i64::MAX);
    let silence = i64::from(birth.heartbeat_s).saturating_mul(4);
    Command {
        boot_id: birth.boot_id,
        session: birth.session,
        counter: u64::try_from(unix_now().as_micros()).unwrap_or(u64::MAX),
        expires: now.saturating_add(useful).saturating_add(silence),
        request,
        extensions: Extensions::default(),
    }
}

/// Whether all parts up to the last are there, in whatever order they came.
fn is_whole(parts: &[Reply]) -> bool {
    let last = parts.iter().find(|reply| reply.last).map(|reply| reply.part);
    let there = |part| parts.iter().any(|reply| reply.part == part);
    last.is_some_and(|last| (0..=last).all(there))
}

/// The parts in their order, or why the node refused.
fn collect(mut parts: Vec<Reply>) -> Result<Vec<Answer>, String> {
    parts.sort_by_key(|reply| reply.part);
    parts.dedup_by_key(|reply| reply.part);
    let answers = parts.into_iter().map(|reply| match reply.answer {
        Answer::Refused { reason, message } => Err(format!("{reason}: {message}")),
        answer => Ok(answer),
    });
    answers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(part: u32, last: bool) -> Reply {
        let answer = Answer::Events(Vec::new());
        Reply { part, last, answer, extensions: Extensions::default() }
    }

    #[test]
    fn an_answer_is_whole_when_every_part_up_to_the_last_is_there() {
        assert!(!is_whole(&[]));
        assert!(is_whole(&[part(0, true)]));
        assert!(!is_whole(&[part(0, false), part(2, true)]));
        assert!(is_whole(&[part(2, true), part(0, false), part(1, false)]));
    }

    #[test]
    fn an_old_agent_is_told_from_one_that_refuses() {
        let refused = |why: &str| explain(why.to_owned());
        let old = refused("MalformedBody: body cannot be decoded");
        assert!(old.contains("too old") && old.contains("update"), "{old}");
        assert_eq!(refused("Failed: no"), "Failed: no");
    }

    #[test]
    fn a_command_outlives_the_doubt_about_the_nodes_clock() {
        let birth = Birth { boot_epoch: i64::MAX, heartbeat_s: 300, ..Birth::default() };
        let command = command(&birth, 900, Request::Events { about: None });
        assert_eq!(command.expires, 900 + 300 + 1200);
    }
}
