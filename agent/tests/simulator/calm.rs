//! After the storm: nothing fails any more, and the node must become what was asked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mote_protocol::frame;
use mote_protocol::name::Uid;
use mote_protocol::object::Revision;
use mote_protocol::status::{ContainerState, PodStatus};

use crate::judge::Said;
use crate::kernel::{Container, State};
use crate::node::Agent;
use crate::operator::{KEYS, spec_topic, status_topic};
use crate::universe::{Shared, Universe};

/// Long enough for the longest back-off, a look at the node, and what follows from either.
const CALM: Duration = Duration::from_mins(25);

pub(crate) async fn check(shared: &Shared, agent: Agent) {
    {
        let mut universe = shared.get();
        universe.note(|| "world: calm".into());
        universe.storm = false;
        universe.card.failing = false;
        universe.images_failing = false;
        universe.broker.network = true;
    }
    shared.stirred.notify_one();
    tokio::time::sleep(CALM).await;
    if agent.ended() {
        shared.get().judge.violation("the agent ended by itself".into());
    }
    judge(shared);
    agent.crash(shared).await;
}

fn judge(shared: &Shared) {
    let mut universe = shared.get();
    if !universe.link_is_quiet() {
        universe.judge.violation("something is still owed on the link".into());
    }
    let mut wanted = BTreeSet::new();
    for key in KEYS {
        if let Err(violation) = check_name(&universe, key, &mut wanted) {
            universe.judge.violation(format!("in the end: {key}: {violation}"));
        }
    }
    let left = universe.kernel.pods.keys().find(|uid| !wanted.contains(uid)).copied();
    if let Some(uid) = left {
        universe.judge.violation(format!("in the end: {uid} is left and nobody wants it"));
    }
}

/// The last word on a name that the node must have heard.
fn last_word<'a>(universe: &'a Universe, key: &str) -> Option<&'a Said> {
    let said = |place: &usize| universe.judge.said.get(*place).filter(|said| !said.invalid);
    let kept = universe.broker.retained.get(&spec_topic(key)).and_then(|(_, said)| *said);
    let acknowledged = universe.judge.acknowledged.get(key).and_then(said);
    acknowledged.into_iter().chain(kept.as_ref().and_then(said)).max_by_key(|said| said.revision)
}

fn status(universe: &Universe, key: &str) -> Option<PodStatus> {
    let (payload, _) = universe.broker.retained.get(&status_topic(key))?;
    frame::decode(payload).ok()
}

fn check_name(universe: &Universe, key: &str, wanted: &mut BTreeSet<Uid>) -> Result<(), String> {
    let word = last_word(universe, key);
    let ended = word.is_some_and(|word| universe.judge.heard_of_its_end(word));
    let word = word.filter(|_| !ended);
    let status = status(universe, key);
    let accepted = status.as_ref().map(|status| status.accepted).unwrap_or_default();
    if word.is_some_and(|word| word.life.is_some() && accepted < word.revision) {
        return Err(format!("{:?} is lost, the node has {accepted:?}", word.map(|w| w.revision)));
    }
    if accepted == Revision::default() {
        let word = word.filter(|word| word.life.is_some());
        return word.map_or(Ok(()), |word| Err(format!("{word:?} is not there")));
    }
    let of = |said: &&Said| said.key == key && said.revision == accepted && !said.invalid;
    let Some(said) = universe.judge.said.iter().find(of) else {
        return Err(format!("nobody ever said {accepted:?}"));
    };
    // Deleted and not gone: its end takes its grace, not 25 minutes.
    let Some((life, image)) = &said.life else {
        return Err("it is deleted and still there".into());
    };
    if word.is_some_and(|word| accepted < word.revision) {
        return Err(format!("{accepted:?} is older than {word:?}"));
    }
    let status = status.unwrap_or_default();
    let uid = status.uid.ok_or("its status has no uid")?;
    wanted.insert(uid);
    check_pod(universe, &status, uid, *life, image)
}

fn check_pod(
    universe: &Universe,
    status: &PodStatus,
    uid: Uid,
    life: u64,
    image: &str,
) -> Result<(), String> {
    let none = BTreeMap::new();
    let pod = universe.kernel.pods.get(&uid);
    let containers = pod.map_or(&none, |pod| &pod.containers);
    let running = |c: &Container| matches!(c.state, State::Running { .. });
    if status.phase.is_terminal() {
        let runs = containers.values().any(running);
        return if runs { Err(format!("{:?} and runs", status.phase)) } else { Ok(()) };
    }
    let fails = |((name, _), c): (&(String, u32), &Container)| {
        name == "init" && c.marker.ends().is_some_and(|(code, _)| code != 0)
    };
    if containers.iter().any(fails) {
        // It is tried again for ever, and nothing starts before it succeeds.
        return Ok(());
    }
    for told in &status.containers {
        if matches!(told.state, ContainerState::Terminated(_)) {
            // By its policy; that nothing runs that should is checked where it waits.
            continue;
        }
        let newest = containers
            .iter()
            .filter(|((name, _), _)| **name == *told.name)
            .max_by_key(|((_, attempt), _)| *attempt);
        let Some((_, container)) = newest else {
            return Err(format!("container {} was never started: {told:?}", told.name));
        };
        if container.marker.life != life {
            return Err(format!("container {} is of life {}", told.name, container.marker.life));
        }
        let alive = container.marker.ends().is_none();
        if alive && !running(container) {
            return Err(format!("container {} should run: {told:?}", told.name));
        }
        let app = matches!(&*told.name, "main" | "side");
        if app && running(container) && !container.tag.ends_with(image) {
            return Err(format!("container {} runs {}, not {image}", told.name, container.tag));
        }
    }
    Ok(())
}
