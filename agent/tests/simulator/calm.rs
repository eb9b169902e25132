//! After the storm: nothing fails any more, and the node must become what was asked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mote_protocol::frame::{self, Body};
use mote_protocol::name::Uid;
use mote_protocol::node::{Birth, NodeStatus, Will};
use mote_protocol::object::Revision;
use mote_protocol::rollout::ROLLED_BACK;
use mote_protocol::status::{ContainerState, PodStatus, Refusal};

use crate::broker::node_topic;
use crate::judge::{Said, comes_before};
use crate::kernel::{Container, State};
use crate::node::Agent;
use crate::operator::KEYS;
use crate::scope::{Place, SCOPES};
use crate::universe::{Shared, Universe};

/// Long enough for the longest back-off, a look at the node, and what follows from either.
const CALM: Duration = Duration::from_mins(25);

/// Seconds that something which just happened may take to be told.
const SETTLING: u32 = 5;

pub(crate) async fn check(shared: &Shared, agent: Agent) {
    {
        let mut universe = shared.get();
        universe.note(|| "world: calm".into());
        universe.storm = false;
        universe.card.failure = None;
        universe.images_failing = false;
        universe.run_short(None);
        universe.lock(false);
        universe.broker.network = true;
        universe.broker.rules.allow_everything();
        universe.say_wills(|_| true);
        // What was denied is asked for again with the next connection.
        universe.cut();
    }
    shared.locks_changed.notify_one();
    shared.stirred.notify_one();
    tokio::time::sleep(CALM).await;
    for _ in 0..SETTLING {
        if shared.get().link_is_quiet() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
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
    if let Err(violation) = check_presence(&universe) {
        universe.judge.violation(format!("in the end: {violation}"));
    }
    // What belongs to an object that was lost goes on until something is said of it.
    // Where no container of it was started nobody knows of which object it was.
    let judge = &universe.judge;
    let kept =
        |uid: &Uid| judge.key_of(*uid).map_or(!judge.nothing_lost(), |key| judge.is_lost(key));
    let left = universe.kernel.pods.keys().find(|uid| !wanted.contains(uid) && !kept(uid)).copied();
    if let Some(uid) = left {
        universe.judge.violation(format!("in the end: {uid} is left and nobody wants it"));
    }
}

/// The last word on a name in one scope that the node must have heard.
fn last_word(universe: &Universe, place: Place) -> Option<&Said> {
    let said = |number: &usize| universe.judge.said.get(*number).filter(|said| !said.invalid);
    let kept = universe.broker.retained.get(&place.spec_topic()).and_then(|(_, said)| *said);
    let acknowledged = universe.judge.acknowledged.get(&place).and_then(said);
    acknowledged.into_iter().chain(kept.as_ref().and_then(said)).max_by_key(|said| said.revision)
}

/// What the node must run of a name: of all scopes that want something of it, the nearest has it.
fn best_word<'a>(universe: &'a Universe, key: &'static str) -> Option<&'a Said> {
    let words = SCOPES.iter().filter_map(|scope| last_word(universe, Place { scope, key }));
    let live = words.filter(|word| word.life.is_some() && !universe.judge.heard_of_its_end(word));
    live.reduce(|one, other| if comes_before(one, other) { one } else { other })
}

/// Whether the node has no excuse for not having a word.
fn must_have(universe: &Universe, word: &Said) -> bool {
    // It asks for everything anew when it starts, so that what was lost comes back, unless the
    // broker has lost it too. What another scope had said of it may be lost as well.
    let kept = universe.broker.retained.contains_key(&word.place.spec_topic());
    let lost = universe.judge.is_lost(word.place.key);
    let judge = &universe.judge;
    let other = judge.heard_elsewhere(word.place) || judge.is_replaced(word);
    let excused = lost && (!kept || other || judge.is_too_late(word));
    let refused = universe.judge.was_refusable(word);
    !excused && !refused && !universe.judge.may_be_ended(word)
}

fn kept<B: Body>(universe: &Universe, of: &str) -> Option<B> {
    let (payload, _) = universe.broker.retained.get(&node_topic(of))?;
    frame::decode(payload).ok()
}

fn status(universe: &Universe, key: &str) -> Option<PodStatus> {
    // The node was not allowed to clear it.
    let told = !universe.broker.uncleared.contains(key);
    told.then(|| kept(universe, &format!("status/{key}"))).flatten()
}

/// Everybody sees the node online, and with what it has.
fn check_presence(universe: &Universe) -> Result<(), String> {
    let Some(session) = universe.broker.connected else { return Err("it is not connected".into()) };
    let birth: Birth = kept(universe, "birth").ok_or("it has no birth")?;
    if birth.session != session {
        return Err(format!("its birth is of {:?}, its session {session:?}", birth.session));
    }
    let will = kept::<Will>(universe, "will");
    if let Some(will) = will.filter(|will| will.session >= session) {
        return Err(format!("{will:?} says that {session:?} is offline"));
    }
    let told: NodeStatus = kept(universe, "status/node").ok_or("it has no status")?;
    let accepted = |key: &&&str| {
        status(universe, key).is_some_and(|status| status.accepted != Revision::default())
    };
    let objects = KEYS.iter().filter(accepted).count();
    // The status of an object that was lost stays until something is said of it.
    let counted = !universe.judge.nothing_lost() || told.objects.count as usize == objects;
    if told.session != session || !counted {
        return Err(format!("{told:?} for {objects} objects in {session:?}"));
    }
    Ok(())
}

fn check_name(
    universe: &Universe,
    key: &'static str,
    wanted: &mut BTreeSet<Uid>,
) -> Result<(), String> {
    let best = best_word(universe, key).filter(|word| must_have(universe, word));
    let status = status(universe, key).unwrap_or_default();
    let accepted = status.accepted;
    if accepted == Revision::default() {
        return best.map_or(Ok(()), |best| Err(format!("{best:?} is not there")));
    }
    let of = |said: &&Said| said.place.key == key && said.revision == accepted && !said.invalid;
    let Some(said) = universe.judge.said.iter().find(of) else {
        return Err(format!("nobody ever said {accepted:?}"));
    };
    // Deleted and not gone: its end takes its grace, not 25 minutes.
    let Some((life, image)) = &said.life else {
        let kept = universe.judge.is_lost(key);
        return if kept { Ok(()) } else { Err("it is deleted and still there".into()) };
    };
    // A later refusal hides that a change was taken back while nobody heard.
    let other = |no: &Refusal, word: &Said| no.seen != word.revision && &*no.reason != ROLLED_BACK;
    let is_hidden = |word: &Said| {
        word.is_on_trial() && status.refusal.as_ref().is_some_and(|no| other(no, word))
    };
    // A word that a nearer scope kept out is not remembered, nor is what damage took.
    // What is tried may be taken back, and says so; what is older than it is stale then.
    let may_stay = |word: &&Said| {
        let back = word.is_doomed() || universe.judge.is_rolled_back(word) || is_hidden(word);
        let refused = universe.judge.was_refusable(word);
        !back && !refused && !universe.judge.heard_of_later_trial(word)
    };
    let newer = |word: &&Said| word.revision > accepted && !universe.judge.may_be_ended(word);
    let newer = last_word(universe, said.place).filter(newer).filter(may_stay);
    if let Some(word) = newer.filter(|_| !universe.judge.is_lost(key)) {
        return Err(format!("{said:?} is older than {word:?}"));
    }
    if let Some(best) = best.filter(may_stay).filter(|best| comes_before(best, said)) {
        return Err(format!("{best:?} comes before {said:?}"));
    }
    let uid = status.uid.ok_or("its status has no uid")?;
    wanted.insert(uid);
    let before = universe.judge.first_told(uid).is_some_and(|first| first < accepted);
    if said.is_doomed() && !status.phase.is_terminal() {
        // A pod that is new has nothing to go back to.
        let stays = before && !universe.judge.is_lost(key);
        let why = || format!("{said:?} is never ready and was not taken back");
        return if stays { Err(why()) } else { Ok(()) };
    }
    if universe.judge.is_lost(key) && best.is_none() {
        // What is still told of it may be from before.
        return Ok(());
    }
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
        let left = pod.is_some_and(|pod| pod.alive) || containers.values().any(running);
        return if left { Err(format!("{:?} and not stopped", status.phase)) } else { Ok(()) };
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
            if told.last.is_some() {
                // Its next attempt is just being made.
                continue;
            }
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
