//! Changes that wait for a lock or a window, told to the simulated node without any chance.

use std::time::Duration;

use mote_agent::pod::backoff::written;
use mote_protocol::name::Uid;
use mote_protocol::object::Pod;
use mote_protocol::rollout::{DELAY_LIMIT, DELAYED, UPDATE_LOCK, UPDATE_WINDOW};
use tokio::time::Instant;

use crate::history::simulate;
use crate::medium::Failure;
use crate::ports::START;
use crate::rollout::{LIFE, Words};
use crate::scope::Place;
use crate::stories::{KEY, Story};
use crate::universe::{Shared, Universe};

/// The lock that people of the simulation take and free.
pub(crate) const LOCK: &str = "busy";

/// How long it may hold a change up.
pub(crate) const LIMIT: Duration = Duration::from_mins(10);

const ANNOTATIONS: [&str; 3] = [UPDATE_LOCK, UPDATE_WINDOW, DELAY_LIMIT];

/// Asks that a change waits: in one of eight cases for a lock, for a window, or for both.
pub(crate) fn put_off(pod: &mut Pod, case: u64) {
    let annotations = &mut pod.meta.annotations;
    annotations.retain(|name, _| !ANNOTATIONS.contains(&name.as_str()));
    if matches!(case, 1 | 2) {
        annotations.insert(UPDATE_LOCK.into(), LOCK.into());
    }
    if matches!(case, 2 | 3) {
        // Half of all times, since clocks are wrong by weeks.
        annotations.insert(UPDATE_WINDOW.into(), "00:00-12:00".into());
    }
    if matches!(case, 1..=3) {
        annotations.insert(DELAY_LIMIT.into(), written(LIMIT));
    }
}

pub(crate) fn waits(pod: &Pod) -> bool {
    pod.meta.annotations.contains_key(DELAY_LIMIT)
}

pub(crate) fn is_locked(pod: &Pod) -> bool {
    pod.meta.annotations.contains_key(UPDATE_LOCK)
}

fn locked(pod: &mut Pod) {
    put_off(pod, 1);
}

/// It opens half an hour after every history began, which is at eight on a Friday.
fn windowed(pod: &mut Pod) {
    pod.meta.annotations.insert(UPDATE_WINDOW.into(), "Fri 08:30-09:00".into());
}

impl Universe {
    /// Somebody takes the lock, or frees it.
    pub(crate) fn lock(&mut self, held: bool) {
        if held {
            self.locks.insert(LOCK.into());
        } else {
            self.locks.clear();
        }
        self.judge.locked_since = held.then(Instant::now);
        self.note(|| format!("world: the lock is held: {held}"));
    }
}

impl Story {
    /// One pod runs, its lock is held, and its change waits.
    async fn waiting(shared: Shared) -> Self {
        let story = Self::begin(shared);
        story.put_off(1, "img:0", locked).await;
        story.take();
        story.put_off(2, "img:1", locked).await;
        assert_eq!(story.waits(), runs_while(1, "img:0", 2));
        story
    }

    fn take(&self) {
        self.shared.get().lock(true);
        self.shared.locks_changed.notify_one();
    }

    async fn free(&self) {
        self.shared.get().lock(false);
        self.shared.locks_changed.notify_one();
        self.settle().await;
    }

    async fn put_off(&self, number: u64, image: &str, with: fn(&mut Pod)) {
        LIFE.say_with(&mut self.shared.get(), number, image, with);
        self.settle().await;
    }

    /// Which revision runs, its image, and which one waits.
    fn waits(&self) -> (u64, Vec<String>, Option<u64>) {
        let told = self.told();
        let waits = told.refusal.filter(|refusal| &*refusal.reason == DELAYED);
        (told.accepted.number, self.images(), waits.map(|refusal| refusal.seen.number))
    }

    fn heard(&self, reason: &str) -> usize {
        let universe = self.shared.get();
        universe.judge.events.values().filter(|(_, of)| of == reason).count()
    }
}

fn runs(number: u64, image: &str) -> (u64, Vec<String>, Option<u64>) {
    (number, vec![image.to_owned()], None)
}

fn runs_while(number: u64, image: &str, waits: u64) -> (u64, Vec<String>, Option<u64>) {
    (number, vec![image.to_owned()], Some(waits))
}

#[test]
fn a_change_waits_for_its_lock_through_restarts_and_without_a_broker() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared);
        story.take();
        story.put_off(1, "img:0", locked).await;
        assert_eq!(story.waits(), runs(1, "img:0"), "what is new disturbs nobody");
        story.put_off(2, "img:1", locked).await;
        assert_eq!(story.waits(), runs_while(1, "img:0", 2));
        let why = story.told().refusal.expect("a refusal").message.to_string();
        assert_eq!(why, "waits for the lock busy; it is made after 10m0s in any case");
        story
            .restart(|universe| {
                universe.broker_forgets();
                universe.broker.network = false;
            })
            .await;
        story.restart(Universe::reboot).await;
        assert_eq!(story.images(), ["img:0"]);
        story.free().await;
        assert_eq!(story.images(), ["img:1"], "it is on flash");
        story.restart(|universe| universe.broker.network = true).await;
        assert_eq!(story.waits(), runs(2, "img:1"));
        assert_eq!(story.heard("UpdateOverdue"), 0);
    });
}

#[test]
fn a_change_whose_lock_is_free_does_not_wait() {
    simulate(0, false, async |shared| {
        let story = Story::begin(shared);
        story.put_off(1, "img:0", locked).await;
        story.put_off(2, "img:1", locked).await;
        assert_eq!(story.waits(), runs(2, "img:1"));
        assert_eq!(story.heard(DELAYED), 0);
    });
}

#[test]
fn nothing_waits_for_longer_than_its_limit_and_a_later_change_no_longer_for_its() {
    simulate(0, false, async |shared| {
        let story = Story::waiting(shared).await;
        tokio::time::sleep(Duration::from_mins(5)).await;
        story.put_off(3, "img:2", locked).await;
        assert_eq!(story.waits(), runs_while(1, "img:0", 3));
        tokio::time::sleep(Duration::from_secs(150)).await;
        assert_eq!(story.waits(), runs_while(1, "img:0", 3));
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(story.waits(), runs(3, "img:2"), "ten minutes after the first");
        assert_eq!(story.heard("UpdateOverdue"), 1);
    });
}

#[test]
fn what_does_not_ask_for_it_does_not_wait_and_ends_do_not() {
    simulate(0, false, async |shared| {
        let story = Story::waiting(shared).await;
        story.change(3, "img:2").await;
        assert_eq!(story.waits(), runs(3, "img:2"));
        story.put_off(4, "img:1", locked).await;
        assert_eq!(story.waits(), runs_while(3, "img:2", 4));
        story.delete("n", 5).await;
        assert_eq!(story.images(), [""; 0]);
        story.free().await;
        tokio::time::sleep(Duration::from_mins(15)).await;
        assert_eq!(story.images(), [""; 0], "what waited went with it");
    });
}

#[test]
fn a_change_waits_for_its_window() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared);
        story.put_off(1, "img:0", windowed).await;
        story.put_off(2, "img:1", windowed).await;
        assert_eq!(story.waits(), runs_while(1, "img:0", 2));
        tokio::time::sleep(Duration::from_mins(25)).await;
        story.restart(Universe::reboot).await;
        assert_eq!(story.waits(), runs_while(1, "img:0", 2));
        tokio::time::sleep(Duration::from_mins(3)).await;
        assert_eq!(story.waits(), runs(2, "img:1"));
    });
}

#[test]
fn a_clock_that_nobody_keeps_opens_no_window() {
    simulate(0, false, async |shared| {
        let story = Story::begin(shared.clone());
        shared.get().wall_error_ms = -1000 * START.cast_signed();
        story.put_off(1, "img:0", windowed).await;
        story.put_off(2, "img:1", windowed).await;
        tokio::time::sleep(Duration::from_mins(35)).await;
        assert_eq!(story.waits(), runs_while(1, "img:0", 2));
        shared.get().wall_error_ms = 0;
        tokio::time::sleep(Duration::from_mins(6)).await;
        assert_eq!(story.waits(), runs(2, "img:1"), "the node looks again without a reason");
    });
}

#[test]
fn another_life_waits_as_well() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared.clone());
        story.put_off(1, "img:0", locked).await;
        let lives = story.lives();
        story.take();
        let other = Words { life: 2, uid: Some(Uid([9; 16])) };
        other.say_with(&mut shared.get(), 2, "img:1", locked);
        story.settle().await;
        assert_eq!((story.waits(), story.lives()), (runs_while(1, "img:0", 2), lives));
        story.restart(|_| {}).await;
        story.free().await;
        let made = (runs(2, "img:1"), vec![Uid([9; 16])]);
        assert_eq!((story.waits(), story.lives()), made);
        // Its file is lost, and the broker says it again.
        story.restart(|universe| universe.card.files.put("spec/pod/default/a", vec![])).await;
        assert_eq!((story.waits(), story.lives()), made);
    });
}

#[test]
fn what_runs_ends_by_its_tombstone_also_while_something_nearer_waits() {
    simulate(0, false, async |shared| {
        let story = Story::begin(shared.clone());
        story.say("@all", 1).await;
        story.take();
        let nearer = Words { life: 2, uid: None };
        nearer.say_with(&mut shared.get(), 2, "img:1", locked);
        story.settle().await;
        assert_eq!((story.waits().2, story.running()), (Some(2), vec![1]));
        story.delete("@all", 3).await;
        assert_eq!((story.waits(), story.running()), (runs(2, "img:1"), vec![2]));
    });
}

/// Three scopes, one after the other: each takes the place of the one before, and none of them comes back.
#[test]
fn what_never_was_made_and_what_ran_stay_away_once_something_nearer_is_gone() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared.clone());
        story.say("@all", 1).await;
        story.take();
        let farther = Place { scope: "@red", key: KEY };
        let waits = Words { life: 2, uid: None }.frame(2, "img:1", locked);
        shared.get().publish(&farther.spec_topic(), waits, None);
        story.settle().await;
        assert_eq!((story.waits().2, story.running()), (Some(2), vec![1]));
        story.restart(|_| {}).await;
        assert_eq!((story.waits().2, story.running()), (Some(2), vec![1]), "the ledger spares it");
        story.say("n", 3).await;
        assert_eq!(story.running(), [3]);
        story.delete("n", 4).await;
        story.free().await;
        story.restart(Universe::reboot).await;
        assert_eq!(story.running(), [0; 0]);
    });
}

/// The same, where the nearest waits as well, of what runs and waited in the same scope.
#[test]
fn what_waited_stays_away_once_what_waited_in_its_place_is_gone() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared.clone());
        story.say("@all", 1).await;
        story.take();
        let farther = Place { scope: "@all", key: KEY };
        let waits = Words { life: 2, uid: Some(Uid([9; 16])) }.frame(2, "img:1", locked);
        shared.get().publish(&farther.spec_topic(), waits, None);
        story.settle().await;
        Words { life: 3, uid: None }.say_with(&mut shared.get(), 3, "img:1", locked);
        story.settle().await;
        assert_eq!((story.waits().2, story.running()), (Some(3), vec![1]));
        story.restart(|_| {}).await;
        assert_eq!(story.running(), [1], "the ledger spares it");
        story.free().await;
        assert_eq!(story.running(), [3]);
        story.delete("n", 4).await;
        story.restart(Universe::reboot).await;
        assert_eq!(story.running(), [0; 0]);
    });
}

#[test]
fn what_flash_refuses_is_made_later() {
    simulate(0, false, async |shared| {
        let story = Story::waiting(shared.clone()).await;
        shared.get().card.failure = Some(Failure::ReadOnly);
        story.free().await;
        assert_eq!(story.images(), ["img:0"]);
        shared.get().card.failure = None;
        story.settle().await;
        assert_eq!(story.waits(), runs(2, "img:1"));
    });
}

#[test]
fn what_is_on_trial_may_be_taken_back_while_a_later_change_waits() {
    for life in [LIFE, Words { life: 2, uid: Some(Uid([9; 16])) }] {
        simulate(0, false, async |shared| {
            let mut story = Story::begin(shared.clone());
            story.change(1, "img:0").await;
            life.say_with(&mut shared.get(), 2, "img:broken", |_| {});
            shared.stirred.notify_one();
            tokio::time::sleep(Duration::from_secs(5)).await;
            story.take();
            life.say_with(&mut shared.get(), 3, "img:1", locked);
            story.settle().await;
            assert_eq!(story.waits(), runs_while(1, "img:0", 3));
            story.restart(|_| {}).await;
            assert_eq!(story.waits(), runs_while(1, "img:0", 3));
            story.free().await;
            assert_eq!(story.waits(), runs(3, "img:1"));
        });
    }
}
