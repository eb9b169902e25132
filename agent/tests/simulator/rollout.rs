//! Changes on trial, told to the simulated node without any chance.

use std::time::Duration;

use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::name::Uid;
use mote_protocol::object::{Meta, Pod};
use mote_protocol::pod::{Container, PodSpec, RestartPolicy};
use mote_protocol::rollout::{ROLLBACK_AFTER, ROLLED_BACK};
use mote_protocol::status::PodStatus;

use crate::broker::node_topic;
use crate::history::simulate;
use crate::judge::Said;
use crate::marker::{Behaviour, Marker};
use crate::operator::object;
use crate::scope::Place;
use crate::stories::{KEY, Story};
use crate::universe::Universe;

/// Images of changes on trial: one that is well, one whose containers end at once, one that nobody
/// has.
pub(crate) const IMAGES: [&str; 3] = ["img:try", "img:broken", "img:never"];

/// The time that a change on trial has.
const LIMIT: &str = "30s";

/// Asks that a change is taken back where it is not ready in time, or not any more.
pub(crate) fn on_trial(pod: &mut Pod, asked: bool) {
    if asked {
        pod.meta.annotations.insert(ROLLBACK_AFTER.into(), LIMIT.into());
    } else {
        pod.meta.annotations.remove(ROLLBACK_AFTER);
    }
}

impl Said {
    fn image(&self) -> &str {
        self.life.as_ref().map_or("", |(_, image)| image)
    }

    /// It may be taken back.
    pub(crate) fn is_on_trial(&self) -> bool {
        IMAGES.contains(&self.image())
    }

    /// No container of it is ever ready.
    pub(crate) fn is_doomed(&self) -> bool {
        IMAGES[1..].contains(&self.image())
    }
}

/// A revision of one life, and of its image.
pub(crate) struct Words {
    pub(crate) life: u64,
    pub(crate) uid: Option<Uid>,
}

impl Words {
    pub(crate) fn frame(&self, number: u64, image: &str, with: impl FnOnce(&mut Pod)) -> Vec<u8> {
        let (life, policy) = (self.life, RestartPolicy::Always);
        let marker = Marker { key: KEY.into(), life, policy, behaviour: Behaviour::Forever };
        let (name, command) = ("main".into(), marker.args());
        let container = Container { name, image: image.into(), command, ..Container::default() };
        let spec = PodSpec { containers: vec![container], ..PodSpec::default() };
        let mut pod = Pod { meta: Meta::default(), spec, extensions: Extensions::default() };
        on_trial(&mut pod, IMAGES.contains(&image));
        with(&mut pod);
        let object = object(number, self.uid, pod.to_intent().expect("encodes"));
        frame::encode(&object).expect("encodes")
    }

    fn say(&self, universe: &mut Universe, number: u64, image: &str) {
        self.say_with(universe, number, image, |_| {});
    }

    pub(crate) fn say_with(
        &self,
        universe: &mut Universe,
        number: u64,
        image: &str,
        with: impl FnOnce(&mut Pod),
    ) {
        let place = Place { scope: "n", key: KEY };
        universe.publish(&place.spec_topic(), self.frame(number, image, with), None);
    }
}

pub(crate) const LIFE: Words = Words { life: 1, uid: None };

impl Story {
    pub(crate) async fn change(&self, number: u64, image: &str) {
        LIFE.say(&mut self.shared.get(), number, image);
        self.settle().await;
    }

    pub(crate) fn told(&self) -> PodStatus {
        let universe = self.shared.get();
        let kept = universe.broker.retained.get(&node_topic(&format!("status/{KEY}")));
        let (payload, _) = kept.expect("a status");
        frame::decode(payload).expect("a status")
    }

    /// The revision that it works on, and the one that it took back.
    pub(crate) fn works_on(&self) -> (u64, Option<u64>) {
        let told = self.told();
        let back = told.refusal.filter(|refusal| &*refusal.reason == ROLLED_BACK);
        (told.accepted.number, back.map(|refusal| refusal.seen.number))
    }

    /// Images of what runs.
    pub(crate) fn images(&self) -> Vec<String> {
        let universe = self.shared.get();
        let tags = universe.kernel.running().map(|(_, _, container)| container.tag.clone());
        tags.map(|tag| tag.rsplit(' ').next().unwrap_or_default().to_owned()).collect()
    }
}

#[test]
fn a_change_that_is_never_ready_goes_back_and_is_not_tried_again() {
    for image in ["img:broken", "img:never"] {
        simulate(0, false, async |shared| {
            let mut story = Story::begin(shared);
            story.change(1, "img:0").await;
            let lives = story.lives();
            story.change(2, image).await;
            story.settle().await;
            assert_eq!(story.works_on(), (1, Some(2)), "{image}");
            assert_eq!((story.images(), story.lives()), (vec!["img:0".to_owned()], lives));
            let why = story.told().refusal.expect("a refusal").message.to_string();
            assert!(why.starts_with("not ready after 30s: container main: "), "{why}");
            // Said again, also to another agent, and after another boot.
            story.change(2, image).await;
            assert_eq!(story.works_on(), (1, Some(2)), "{image}");
            story.restart(|_| {}).await;
            assert_eq!(story.works_on(), (1, Some(2)), "{image}");
            story.restart(Universe::reboot).await;
            story.change(2, image).await;
            assert_eq!((story.works_on(), story.images()), ((1, Some(2)), vec!["img:0".into()]));
            // The next one is.
            story.change(3, "img:1").await;
            assert_eq!((story.works_on(), story.images()), ((3, None), vec!["img:1".into()]));
        });
    }
}

#[test]
fn a_change_that_was_ready_stays_whatever_comes() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared);
        story.change(1, "img:0").await;
        story.change(2, "img:try").await;
        assert_eq!((story.works_on(), story.images()), ((2, None), vec!["img:try".into()]));
        story
            .restart(|universe| {
                universe.images_failing = true;
                universe.reboot();
            })
            .await;
        tokio::time::sleep(Duration::from_mins(5)).await;
        assert_eq!(story.works_on(), (2, None));
    });
}

#[test]
fn what_was_on_trial_is_not_gone_back_to() {
    simulate(0, false, async |shared| {
        let story = Story::begin(shared.clone());
        story.change(1, "img:0").await;
        LIFE.say(&mut shared.get(), 2, "img:broken");
        shared.stirred.notify_one();
        tokio::time::sleep(Duration::from_secs(5)).await;
        story.change(3, "img:never").await;
        story.settle().await;
        assert_eq!((story.works_on(), story.images()), ((1, Some(3)), vec!["img:0".into()]));
    });
}

#[test]
fn a_trial_outlives_agents_and_begins_anew_with_a_boot_a_few_times() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared.clone());
        story.change(1, "img:0").await;
        LIFE.say(&mut shared.get(), 2, "img:broken");
        shared.stirred.notify_one();
        tokio::time::sleep(Duration::from_secs(20)).await;
        story.swap(|_| {}).await;
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(story.works_on(), (2, None), "a new agent has its time to see it ready");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(story.works_on(), (1, Some(2)), "and no more");
        LIFE.say(&mut shared.get(), 3, "img:broken");
        shared.stirred.notify_one();
        for boot in 1..=3 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!(story.works_on(), (3, None), "boot {boot}");
            story.swap(Universe::reboot).await;
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        let why = story.told().refusal.expect("a refusal").message.to_string();
        assert_eq!((story.works_on().0, &*why), (1, "the machine was rebooted 3 times meanwhile"));
    });
}

#[test]
fn a_clock_that_was_not_set_changes_nothing() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared.clone());
        story.change(1, "img:0").await;
        LIFE.say(&mut shared.get(), 2, "img:broken");
        story
            .swap(|universe| {
                universe.wall_error_ms = -1_800_000_000_000;
                universe.reboot();
            })
            .await;
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(story.works_on(), (2, None));
        shared.get().wall_error_ms = 0;
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(story.works_on(), (1, Some(2)));
    });
}

#[test]
fn another_life_on_trial_gives_way_to_one_like_that_before() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared.clone());
        story.change(1, "img:0").await;
        let lives = story.lives();
        let other = Words { life: 2, uid: Some(Uid([9; 16])) };
        other.say(&mut shared.get(), 2, "img:broken");
        story.settle().await;
        story.settle().await;
        assert_eq!((story.works_on(), story.running()), ((1, Some(2)), vec![1]));
        let back = story.lives();
        assert!(back != lives && back != [Uid([9; 16])], "{back:?}");
        story.restart(|_| {}).await;
        assert_eq!((story.works_on(), story.lives()), ((1, Some(2)), back));
    });
}
