//! What must hold after every step, whatever happens.
//!
//! The judge sees what goes in and out of the node, never what it thinks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mote_agent::runtime::{BootTime, ContainerId};
use mote_protocol::event::{Event, Involved};
use mote_protocol::name::Uid;
use mote_protocol::object::Revision;
use mote_protocol::pod::RestartPolicy;
use mote_protocol::rollout::ROLLED_BACK;
use mote_protocol::status::{Phase, PodStatus};
use tokio::time::Instant;

use crate::card::LEDGERS;
use crate::delays::LIMIT;
use crate::marker::Marker;
use crate::scope::Place;
use crate::shortage::Shortages;

/// Between the decision to start a container and the call of the runtime, at most.
const UNDER_WAY: Duration = Duration::from_millis(32);

/// An object that operators published.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) place: Place,
    pub(crate) revision: Revision,
    /// The life it asks for, and the image; none for a tombstone.
    pub(crate) life: Option<(u64, String)>,
    /// No node may accept it.
    pub(crate) invalid: bool,
    /// The node may put it off, and must while a lock is held.
    pub(crate) waits: bool,
    pub(crate) locked: bool,
    pub(crate) at: Instant,
}

/// The pauses between restarts, by the book.
#[derive(Clone, Copy, Debug, Default)]
struct Pauses {
    pause: Option<(Duration, BootTime)>,
    ended: Option<BootTime>,
    /// A probe failed: it may be ended for that, and its next attempt counts from another end.
    unwell: bool,
}

impl Pauses {
    fn fresh(&self, ended: BootTime) -> bool {
        self.pause.is_none_or(|(_, at)| ended.0.saturating_sub(at.0) > Duration::from_mins(10))
    }

    /// The earliest moment of the next start.
    fn earliest(&self) -> BootTime {
        match (self.ended.filter(|_| !self.unwell), self.pause) {
            (Some(ended), Some((pause, _))) if !self.fresh(ended) => BootTime(ended.0 + pause),
            _ => BootTime::default(),
        }
    }

    fn restarted(&mut self, now: BootTime) {
        if let Some(ended) = self.ended.take() {
            let next = match self.pause {
                Some((pause, _)) if !self.fresh(ended) => (pause * 2).min(Duration::from_mins(5)),
                _ => Duration::from_secs(10),
            };
            self.pause = (!std::mem::take(&mut self.unwell)).then_some((next, now));
        }
    }
}

/// Whether one word comes before another of the same name, whatever was said first.
pub(crate) fn comes_before(one: &Said, other: &Said) -> bool {
    let (near, far) = (one.place.distance(), other.place.distance());
    near < far || near == far && one.revision > other.revision
}

#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) said: Vec<Said>,
    /// The greatest valid object of each name that the node was given, or acknowledged.
    delivered: BTreeMap<Place, usize>,
    heard: BTreeSet<usize>,
    /// The last word of each name that asked for another life than the node was given before: what is older
    /// is too late, also where the file of that life is lost.
    successors: BTreeMap<Place, Revision>,
    pub(crate) acknowledged: BTreeMap<Place, usize>,
    /// When that was, for each name.
    since: BTreeMap<Place, Instant>,
    /// The greatest tombstone of each name that was acknowledged.
    ended: BTreeMap<Place, usize>,
    /// Names whose file was damaged, and whether something was said of them since.
    lost: BTreeMap<String, bool>,
    /// Whose status each name shows.
    shown: BTreeMap<String, Uid>,
    /// The first revision of each life that was told.
    first_told: BTreeMap<Uid, Revision>,
    /// Names that a tombstone ends which the node was given, and words that it was given meanwhile.
    dying: BTreeSet<String>,
    early: BTreeSet<usize>,
    /// The revision of each name that the node said last it works on.
    works_on: BTreeMap<String, Revision>,
    /// Words that were delivered and not acknowledged.
    owed: BTreeSet<usize>,
    /// Words that the node acknowledged, or said that it took.
    taken: BTreeSet<usize>,
    /// Words that were owed an answer when the card refused what could be their write: the node tries them
    /// again later, or drops them with their connection and is given them anew.
    hindered: BTreeSet<usize>,
    /// Revisions that the node refused for something nearer: it does not keep them.
    shadowed: BTreeSet<(String, Revision)>,
    /// Words that nothing nearer kept out at least once when they came, or that the node said it took. Which
    /// it refused it may never say: another refusal hides that.
    let_in: BTreeSet<usize>,
    /// Names and numbers of revisions that the node says it took back.
    rolled_back: BTreeSet<(String, u64)>,
    /// Lives whose change on trial was taken back, and which revision that was last.
    taken_back: BTreeMap<(String, u64), Revision>,
    /// Lives that are said to be gone, with the last revision of theirs that was heard before.
    over: BTreeMap<Uid, Revision>,
    lives: BTreeMap<Uid, (String, u64)>,
    ran: BTreeSet<(Uid, String)>,
    phases: BTreeMap<Uid, Phase>,
    pauses: BTreeMap<(Uid, String), Pauses>,
    /// The image of the last attempt of each container.
    images: BTreeMap<(Uid, String), String>,
    /// Events that the broker was told: start of the agent, number, reason.
    pub(crate) events: BTreeMap<(u32, u32), (u32, String)>,
    /// When each life began.
    began: BTreeMap<Uid, Instant>,
    /// Since when the lock is held, where it is.
    pub(crate) locked_since: Option<Instant>,
    /// When somebody set the clock last: it may say that a change waited long enough.
    pub(crate) clock_set: Option<Instant>,
    /// How often the agent died so far.
    deaths: u32,
    /// What ran short, and when.
    pub(crate) shortages: Shortages,
    /// Names and lives of pods that are critical.
    pub(crate) critical: BTreeSet<(String, u64)>,
    /// Words that came while something was short: the node need not take them.
    refusable: BTreeSet<usize>,
    /// The card refused to write at least once.
    card_failed: bool,
    violation: Option<String>,
}

impl Judge {
    pub(crate) fn violation(&mut self, text: String) {
        self.violation.get_or_insert(text);
    }

    pub(crate) fn verdict(&self) -> Option<&String> {
        self.violation.as_ref()
    }

    fn greater(&self, of: &BTreeMap<Place, usize>, said: usize) -> bool {
        let Some(new) = self.said.get(said) else { return false };
        let before = of.get(&new.place).and_then(|before| self.said.get(*before));
        !new.invalid && before.is_none_or(|before| before.revision < new.revision)
    }

    pub(crate) fn delivered(&mut self, said: usize) {
        self.note_early(said);
        self.note_refusable(said);
        self.owed.insert(said);
        self.heard.insert(said);
        if self.said.get(said).is_some_and(|word| !self.is_kept_out(word)) {
            self.let_in.insert(said);
        }
        if let Some(since) = self.lost.get_mut(self.said[said].place.key) {
            *since = true;
        }
        if self.greater(&self.delivered, said) {
            self.note_successor(said);
            self.delivered.insert(self.said[said].place, said);
        }
    }

    /// Where one life takes the place of another, unless it is on trial, the ledger guards against what was
    /// said before.
    fn note_successor(&mut self, number: usize) {
        let Some(word) = self.said.get(number) else { return };
        let life = |said: &Said| said.life.as_ref().map(|(life, _)| *life);
        let before = self.delivered.get(&word.place).and_then(|before| self.said.get(*before));
        // One that is to end may not have ended yet.
        let is_there = |said: &Said| said.life.is_some() || self.dying.contains(word.place.key);
        let other = |said: &Said| life(said) != life(word) && is_there(said);
        if word.life.is_some() && !word.is_on_trial() && before.is_some_and(other) {
            self.successors.insert(word.place, word.revision);
        }
    }

    /// Whether a word is older than one that began in another's place.
    pub(crate) fn is_too_late(&self, word: &Said) -> bool {
        self.successors.get(&word.place).is_some_and(|began| word.revision < *began)
    }

    /// What is said of a name while it ends asks for it anew, once it has ended.
    fn note_early(&mut self, number: usize) {
        let Some(said) = self.said.get(number) else { return };
        let key = said.place.key;
        if said.life.is_some() {
            if self.dying.contains(key) {
                self.early.insert(number);
            }
            return;
        }
        let shown = self.shown.get(key).copied();
        let life = shown.and_then(|uid| self.life_of(uid).or_else(|| self.life_told(key, uid)));
        let Some(place) = life.and_then(|life| self.place_of(key, life)) else { return };
        let words = self.heard(key).filter(|word| word.place == place && word.life.is_some());
        let newest = words.max_by_key(|word| word.revision);
        if newest.is_some_and(|newest| comes_before(said, newest)) {
            self.dying.insert(key.to_owned());
        }
    }

    /// Whether something that stands is nearer than a word, or later and as near. That a life is to end is
    /// remembered all the same.
    fn is_kept_out(&self, word: &Said) -> bool {
        let others = self.heard(word.place.key).filter(|other| other.place != word.place);
        let mut nearer = others.filter(|other| other.life.is_some() && comes_before(other, word));
        let ended = |other: &Said| self.heard_of_its_end(other) || self.may_be_ended(other);
        word.life.is_some() && nearer.any(|other| !ended(other))
    }

    /// Whether the node said that it took a word back.
    pub(crate) fn is_rolled_back(&self, word: &Said) -> bool {
        self.rolled_back.contains(&(word.place.key.to_owned(), word.revision.number))
    }

    /// Whether a life was asked for again after it was taken back: it begins anew then.
    fn is_tried_again(&self, key: &str, life: u64) -> bool {
        let Some(tried) = self.taken_back.get(&(key.to_owned(), life)) else { return false };
        let of = |said: &&Said| said.life.as_ref().is_some_and(|(of, _)| *of == life);
        self.heard(key).filter(of).any(|said| said.revision > *tried)
    }

    /// The node says that it took a change back.
    fn note_taken_back(&mut self, key: &str, revision: Revision) {
        self.rolled_back.insert((key.to_owned(), revision.number));
        self.note_gone_back(key, revision);
    }

    fn note_gone_back(&mut self, key: &str, revision: Revision) {
        let of = |said: &&Said| said.place.key == key && said.revision == revision;
        let life = self.said.iter().find(of).and_then(|said| said.life.as_ref());
        if let Some((life, _)) = life {
            let last = self.taken_back.entry((key.to_owned(), *life)).or_default();
            *last = revision.max(*last);
        }
    }

    /// A word that comes while something is short may be refused for that.
    fn note_refusable(&mut self, said: usize) {
        if self.shortages.refuses() {
            self.refusable.insert(said);
        }
    }

    /// Whether a word was refused, perhaps, because something was short.
    pub(crate) fn was_refusable(&self, word: &Said) -> bool {
        let said = self.refusable.iter().filter_map(|said| self.said.get(*said));
        said.into_iter().any(|said| said.place == word.place && said.revision == word.revision)
    }

    /// The card refused a change of a file.
    pub(crate) fn card_refused(&mut self, name: &str) {
        self.card_failed = true;
        // The ledger holds up whatever was said.
        let concerns = |said: &Said| match name.strip_prefix("spec/") {
            Some(key) => said.place.key == key,
            None => LEDGERS.contains(&name),
        };
        let owed = self.owed.iter().filter(|said| self.said.get(**said).is_some_and(concerns));
        self.hindered.extend(owed);
    }

    /// Whether a word on a life may be taken in only later: what flash refused is not acknowledged, and tried
    /// or given again. An end is remembered before flash has all of it.
    fn may_come_later(&self, number: usize) -> bool {
        let asks = self.said.get(number).is_some_and(|said| said.life.is_some());
        asks && self.hindered.contains(&number) && !self.taken.contains(&number)
    }

    /// When a life began, as far as anything of it was started.
    pub(crate) fn began_at(&self, uid: Uid) -> Option<Instant> {
        self.began.get(&uid).copied()
    }

    /// The number of a life.
    pub(crate) fn life_of(&self, uid: Uid) -> Option<u64> {
        self.lives.get(&uid).map(|(_, life)| *life)
    }

    pub(crate) fn acknowledged(&mut self, said: usize) {
        self.owed.remove(&said);
        self.taken.insert(said);
        self.note_refusable(said);
        if self.greater(&self.acknowledged, said) {
            let place = self.said[said].place;
            self.since.insert(place, Instant::now());
            self.acknowledged.insert(place, said);
        }
        if self.said[said].life.is_none() && self.greater(&self.ended, said) {
            self.ended.insert(self.said[said].place, said);
        }
    }

    /// The file of a name is damaged: the node cannot know any more what it was told of it, except
    /// what ended.
    pub(crate) fn object_lost(&mut self, key: &str) {
        self.lost.insert(key.to_owned(), false);
        // Nor what it took back: that stood in the file.
        let tried = self.taken_back.iter_mut().filter(|((of, _), _)| of == key);
        tried.for_each(|(_, revision)| *revision = Revision::default());
        self.acknowledged.retain(|place, _| place.key != key);
        let ended = self.ended.iter().filter(|(place, _)| place.key == key);
        self.acknowledged.extend(ended.map(|(place, said)| (*place, *said)));
    }

    pub(crate) fn nothing_lost(&self) -> bool {
        self.lost.is_empty()
    }

    pub(crate) fn is_lost(&self, key: &str) -> bool {
        self.lost.contains_key(key)
    }

    /// The record of a pod is damaged: how far it got is not known any more.
    pub(crate) fn record_lost(&mut self, uid: Uid) {
        self.phases.remove(&uid);
        self.first_told.remove(&uid);
        self.ran.retain(|(of, _)| *of != uid);
        self.pauses.retain(|(of, _), _| *of != uid);
    }

    /// The first revision that was told of a life.
    pub(crate) fn first_told(&self, uid: Uid) -> Option<Revision> {
        self.first_told.get(&uid).copied()
    }

    /// The name of a pod that was started.
    pub(crate) fn key_of(&self, uid: Uid) -> Option<&str> {
        self.lives.get(&uid).map(|(key, _)| key.as_str())
    }

    /// Where a life was asked for.
    fn place_of(&self, key: &str, life: u64) -> Option<Place> {
        let of = |said: &&Said| said.place.key == key && said.revision.number == life;
        self.said.iter().find(of).map(|said| said.place)
    }

    fn heard(&self, key: &str) -> impl Iterator<Item = &Said> {
        let heard = self.heard.iter().filter_map(|said| self.said.get(*said));
        heard.filter(move |said| said.place.key == key && !said.invalid)
    }

    /// Whether another scope's tombstone may have ended what a word asks for.
    pub(crate) fn may_be_ended(&self, word: &Said) -> bool {
        let others = self.heard(word.place.key).filter(|said| said.life.is_none());
        let mut others = others.filter(|said| said.place.scope != word.place.scope);
        others.any(|said| comes_before(said, word))
    }

    /// Whether the node heard of a later change that it may have taken back, as the last that it tried.
    pub(crate) fn heard_of_later_trial(&self, word: &Said) -> bool {
        let later = self.heard(word.place.key).filter(|said| said.place == word.place);
        later.filter(|said| said.is_on_trial()).any(|said| said.revision > word.revision)
    }

    /// Whether the node ever heard of a name in another scope.
    pub(crate) fn heard_elsewhere(&self, place: Place) -> bool {
        self.heard(place.key).any(|said| said.place.scope != place.scope)
    }

    /// Whether the node heard that a name should go after this was said. It may have written that
    /// down and died before it could say so.
    pub(crate) fn heard_of_its_end(&self, word: &Said) -> bool {
        let said = self.heard(word.place.key).filter(|said| said.place == word.place);
        said.filter(|said| said.life.is_none()).any(|said| said.revision > word.revision)
    }

    /// Whether another life took the place of what a word asks for, as far as the node was told.
    pub(crate) fn is_replaced(&self, word: &Said) -> bool {
        let life = |said: &Said| said.life.as_ref().map(|(life, _)| *life);
        let later = |said: &&Said| said.place == word.place && said.revision > word.revision;
        self.heard(word.place.key).filter(later).any(|said| life(said) != life(word))
    }

    /// Whether scopes that are equally near may take turns: a life whose scope has the last word again
    /// begins anew, under the uid that its object has.
    fn comes_and_goes(&self, place: Place) -> bool {
        place.distance() > 0 && self.heard_elsewhere(place)
    }

    /// Whether images of this life were changed: its containers may run again then.
    fn updated(&self, marker: &Marker) -> bool {
        let of = |said: &&Said| said.place.key == marker.key;
        let lives = self.said.iter().filter(of).filter_map(|said| said.life.as_ref());
        lives.filter(|(life, _)| *life == marker.life).count() > 1
    }

    pub(crate) fn start(&mut self, id: &ContainerId, marker: &Marker, now: BootTime) {
        self.lives.insert(id.pod, (marker.key.clone(), marker.life));
        self.began.entry(id.pod).or_insert_with(Instant::now);
        let Some(place) = self.place_of(&marker.key, marker.life) else {
            return self.violation(format!("nobody asked for {marker:?}"));
        };
        // An older life begins where a newer one was on trial, but not where that still waits.
        let tried = self.acknowledged.get(&place).and_then(|said| self.said.get(*said));
        let newer = |said: &&Said| said.life.as_ref().is_some_and(|(of, _)| *of > marker.life);
        let tried = tried.filter(newer).filter(|said| said.is_on_trial() && !said.waits);
        if let Some(tried) = tried.map(|said| said.revision) {
            self.note_gone_back(&marker.key, tried);
        }
        self.check_over(id, place, marker.life);
        let newest = self.acknowledged.get(&place).and_then(|said| self.said.get(*said));
        // A start that was under way when the object arrived is brought to its end. What is behind
        // something that waits is not made before that.
        let since = self.since.get(&place).map_or(Duration::ZERO, Instant::elapsed);
        if let Some(newest) = newest
            && since > UNDER_WAY
            && newest.revision.number > marker.life
            && newest.life.as_ref().is_none_or(|(life, _)| *life != marker.life)
            && !newest.is_on_trial()
            && !newest.waits
            && !self.shadowed.contains(&(marker.key.clone(), newest.revision))
            && !self.was_refusable(newest)
            && !self.heard(&marker.key).any(|said| said.waits && said.place != place)
        {
            let text = format!("{id} of {marker:?} starts after {newest:?} was acknowledged");
            self.violation(text);
        }
        let again = self.comes_and_goes(place) || self.is_tried_again(&marker.key, marker.life);
        if self.phases.get(&id.pod).is_some_and(|phase| phase.is_terminal()) && !again {
            self.violation(format!("{id} starts although its pod is said to be over"));
        }
        let name = (id.pod, id.name.clone());
        let once = marker.policy == RestartPolicy::Never && !self.updated(marker) && !again;
        if once && self.ran.contains(&name) {
            self.violation(format!("{id} of a pod that runs once starts again"));
        }
        let earliest = self.pauses.get(&name).map(Pauses::earliest).unwrap_or_default();
        if now < earliest && !self.updated(marker) {
            self.violation(format!("{id} starts at {now:?}, before {earliest:?}"));
        }
    }

    /// Who is gone comes back only where somebody asked for it later.
    fn check_over(&mut self, id: &ContainerId, place: Place, life: u64) {
        let Some(limit) = self.over.get(&id.pod) else { return };
        let later = |said: &Said| said.place == place && said.revision > *limit;
        let asked = |said: &Said| said.life.as_ref().is_some_and(|(of, _)| *of == life);
        if !self.heard(place.key).any(|said| later(said) && asked(said)) && !self.is_lost(place.key)
        {
            self.violation(format!("{id} of {place:?} is said to be gone and comes back"));
        }
    }

    pub(crate) fn started(&mut self, id: &ContainerId, image: &str, now: BootTime) {
        let name = (id.pod, id.name.clone());
        self.ran.insert(name.clone());
        let before = self.images.insert(name.clone(), image.to_owned());
        let pauses = self.pauses.entry(name).or_default();
        // Another image is another container: it owes nothing to the failures of the one before. Whose
        // object is lost may go on by a word of another life.
        if before.is_some_and(|before| before != image) {
            *pauses = Pauses::default();
        }
        pauses.restarted(now);
    }

    /// Its entrypoint could not be executed: an attempt, but nothing ran.
    pub(crate) fn start_failed(&mut self, id: &ContainerId) {
        self.pauses.remove(&(id.pod, id.name.clone()));
    }

    pub(crate) fn exited(&mut self, id: &ContainerId, at: BootTime) {
        self.pauses.entry((id.pod, id.name.clone())).or_default().ended = Some(at);
    }

    /// A probe of it failed.
    pub(crate) fn unwell(&mut self, id: &ContainerId) {
        self.pauses.entry((id.pod, id.name.clone())).or_default().unwell = true;
    }

    pub(crate) fn sandbox_lost(&mut self, uid: Uid) {
        self.pauses.retain(|(of, _), _| *of != uid);
        // What was told and could not be written down is not known when nothing else shows it.
        if self.card_failed && self.phases.get(&uid).is_some_and(|phase| !phase.is_terminal()) {
            self.phases.remove(&uid);
        }
    }

    /// What an agent did not write down in time, the next does not know.
    pub(crate) fn agent_died(&mut self) {
        self.deaths += 1;
        self.pauses.clear();
        // It may never have taken in what it owes an answer to.
        self.early.append(&mut self.owed);
        // Nor does it know what was told and could not be written down.
        if self.card_failed {
            self.phases.retain(|_, phase| phase.is_terminal());
        }
    }

    pub(crate) fn remove(&mut self, uid: Uid, sandbox_alive: bool) {
        let Some((key, life)) = self.lives.get(&uid) else { return };
        let Some(place) = self.place_of(key, *life) else { return };
        // Another scope that is as near may have said something else; so may anybody, where what was
        // said before is lost.
        let other = |p: &Place| p.key == place.key && p.scope != place.scope;
        let nearer = |p: &Place| other(p) && p.distance() <= place.distance();
        if self.delivered.keys().any(nearer) || self.lost.get(key).is_some_and(|since| *since) {
            return;
        }
        let newest = self.delivered.get(&place).and_then(|said| self.said.get(*said));
        let wanted = newest
            .is_some_and(|newest| newest.life.as_ref().is_some_and(|(wanted, _)| wanted == life));
        // One that came by the trial itself goes with it.
        let on_trial = |of: &Revision| {
            let is = |said: &Said| said.place.key == place.key && said.revision == *of;
            self.said.iter().find(|said| is(said)).is_some_and(Said::is_on_trial)
        };
        // What was delivered since may not be accepted yet, or never.
        let accepted = self.acknowledged.get(&place).and_then(|said| self.said.get(*said));
        let tried = newest.into_iter().chain(accepted).any(Said::is_on_trial)
            || self.works_on.get(key).is_some_and(on_trial);
        let came = tried && self.first_told.get(&uid).is_none_or(on_trial);
        let taken_back = came || self.is_tried_again(key, *life);
        if wanted && sandbox_alive && !taken_back {
            self.violation(format!("{uid} of {key}/{life} is removed although it is wanted"));
        }
    }

    /// An event is told, or was refused for now. Nothing falls out in a history, so that no number
    /// of a start is left out.
    pub(crate) fn event(&mut self, event: &Event) {
        let Event { start, sequence, reason, .. } = event;
        let before = self.events.range((*start, 0)..(*start, u32::MAX)).next_back();
        let expected = before.map_or(0, |((_, last), _)| last + 1);
        if *sequence > expected {
            self.violation(format!("event {sequence} of start {start} after {expected} others"));
        }
        if let (ROLLED_BACK, Involved::Object { kind, namespace, name, .. }) =
            (&**reason, &event.involved)
        {
            let number =
                event.message.strip_prefix("revision ").and_then(|text| text.split_once(' '));
            let number = number.and_then(|(number, _)| number.parse::<u64>().ok());
            let key = format!("{kind}/{namespace}/{name}");
            let of = |said: &&Said| said.place.key == key && Some(said.revision.number) == number;
            let tried = self.said.iter().filter(of).map(|said| said.revision);
            for revision in tried.collect::<Vec<_>>() {
                self.note_taken_back(&key, revision);
            }
        }
        // A start that flash did not count gives the next one its number, and its events theirs.
        let told = self.events.insert((*start, *sequence), (self.deaths, reason.to_string()));
        if let Some((_, told)) = told.filter(|(of, told)| *of == self.deaths && *told != **reason) {
            let text = format!("event {sequence} of start {start} is {told} and {reason}");
            self.violation(text);
        }
    }

    /// A change of a life that runs is not made while its lock is held, but after its limit.
    fn check_patience(&mut self, key: &str, uid: Uid, accepted: Revision) {
        let of = |said: &&Said| said.place.key == key && said.revision == accepted && said.locked;
        let Some(said) = self.said.iter().find(of) else { return };
        let life = self.lives.get(&uid).map(|(_, life)| *life);
        let changed = said.life.as_ref().map(|(life, _)| *life) == life
            && self.first_told(uid).is_some_and(|first| first < accepted);
        // Whose life before has not ended yet disturbs nothing.
        let ran = self.began.get(&uid).is_some_and(|began| *began < said.at);
        if !changed || !ran || self.is_lost(key) || self.heard_elsewhere(said.place) {
            return;
        }
        // Whoever takes the place of what waits does not begin anew.
        let waiting = self.said.iter().filter(|said| said.place.key == key && said.waits);
        let first = waiting.map(|said| said.at).min();
        let held = self.locked_since.is_some_and(|since| since <= said.at);
        // Its days are counted from the first on.
        let young = |first: Instant| {
            first.elapsed() < LIMIT && self.clock_set.is_none_or(|set| set < first)
        };
        if held && first.is_some_and(young) {
            self.violation(format!("{said:?} is made although its lock is held"));
        }
    }

    /// The status of a name is cleared: what lived under it is gone.
    pub(crate) fn cleared(&mut self, key: &str) {
        self.dying.remove(key);
        let Some(uid) = self.shown.remove(key) else { return };
        self.note_end_of_lost(key, uid);
        let Some((_, life)) = self.lives.get(&uid) else { return };
        let Some(place) = self.place_of(key, *life) else { return };
        let (early, let_in) = (&self.early, &self.let_in);
        let heard = self.heard.iter().filter(|said| !early.contains(said) && let_in.contains(said));
        let heard = heard.filter(|said| !self.may_come_later(**said));
        let heard = heard.filter_map(|said| self.said.get(*said));
        let heard = heard.filter(|said| said.place == place && !said.invalid);
        // A word that something nearer kept out is not remembered: it may be said again.
        let heard = heard.filter(|said| !self.shadowed.contains(&(key.to_owned(), said.revision)));
        let last = heard.map(|said| said.revision).max().unwrap_or_default();
        self.over.insert(uid, last);
    }

    /// A life whose object was lost ended by an old word, or for another of its name: said again, it begins
    /// anew, unless it was over.
    fn note_end_of_lost(&mut self, key: &str, ended: Uid) {
        if self.is_lost(key) && self.phases.get(&ended).is_some_and(|phase| !phase.is_terminal()) {
            self.phases.remove(&ended);
        }
    }

    /// Of a life that was taken back before anybody could be told of it, the first that is told is that.
    fn note_first_told(&mut self, uid: Uid, status: &PodStatus) {
        let mut told = status.accepted;
        if let Some(no) = status.refusal.as_ref().filter(|no| &*no.reason == ROLLED_BACK) {
            let of = |said: &&Said| said.revision == no.seen;
            let life = self.said.iter().find(of).and_then(|said| said.life.as_ref());
            if life.is_some_and(|(life, _)| self.life_of(uid) == Some(*life)) {
                told = no.seen;
            }
        }
        self.first_told.entry(uid).or_insert(told);
    }

    /// Which life a status may be of, where nothing of it was started: the one that it was told of first.
    fn life_told(&self, key: &str, uid: Uid) -> Option<u64> {
        let first = self.first_told(uid)?;
        let of = |said: &&Said| said.place.key == key && said.revision == first;
        self.said.iter().find(of)?.life.as_ref().map(|(life, _)| *life)
    }

    pub(crate) fn status(&mut self, key: &str, status: &PodStatus, running: bool) {
        let Some(uid) = status.uid else {
            self.dying.remove(key);
            self.shown.remove(key);
            return;
        };
        let of =
            |(_, said): &(usize, &Said)| said.place.key == key && said.revision == status.accepted;
        let taken = self.said.iter().enumerate().filter(of).map(|(number, _)| number);
        let taken: Vec<_> = taken.collect();
        self.let_in.extend(&taken);
        self.taken.extend(taken);
        // Another refusal may hide why.
        let before = self.works_on.insert(key.to_owned(), status.accepted);
        if let Some(tried) = before.filter(|before| *before > status.accepted) {
            self.note_gone_back(key, tried);
        }
        if let Some(no) = &status.refusal {
            match &*no.reason {
                ROLLED_BACK => self.note_taken_back(key, no.seen),
                "Shadowed" => drop(self.shadowed.insert((key.to_owned(), no.seen))),
                _ => {}
            }
        }
        let before = self.shown.insert(key.to_owned(), uid).filter(|before| *before != uid);
        if let Some(ended) = before {
            self.note_end_of_lost(key, ended);
        }
        self.check_eviction(key, status);
        self.note_first_told(uid, status);
        self.check_patience(key, uid, status.accepted);
        if status.phase.is_terminal() && running {
            self.violation(format!("{uid} is said to be {:?} and runs", status.phase));
        }
        let before = self.phases.insert(uid, status.phase).unwrap_or_default();
        let again = self.life_of(uid).or_else(|| self.life_told(key, uid)).is_some_and(|life| {
            let place = self.place_of(key, life);
            place.is_some_and(|place| self.comes_and_goes(place)) || self.is_tried_again(key, life)
        });
        if before > status.phase && !again {
            self.violation(format!("phase of {uid} goes from {before:?} to {:?}", status.phase));
        }
    }
}
