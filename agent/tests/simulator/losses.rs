//! What a node makes of the words on a name whose object was lost, told without any chance.

use mote_protocol::name::Uid;

use crate::history::simulate;
use crate::operator::forever;
use crate::scope::Place;
use crate::stories::{KEY, Story};
use crate::universe::Universe;

const FIRST: Uid = Uid([7; 16]);
const SECOND: Uid = Uid([9; 16]);

/// The file of the object is damaged, and the broker has nothing either.
fn lose(universe: &mut Universe) {
    universe.broker_forgets();
    universe.card.files.put(&format!("spec/{KEY}"), vec![0; 7]);
}

fn publish(story: &Story, number: u64, uid: Uid) {
    let place = Place { scope: "n", key: KEY };
    story.shared.get().publish(&place.spec_topic(), forever(KEY, number, Some(uid)), None);
    story.shared.stirred.notify_one();
}

#[test]
fn a_lost_object_stands_before_farther_ones() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared);
        story.say("n", 1).await;
        let lives = story.lives();
        story.restart(lose).await;
        story.say("@all", 2).await;
        story.delete("@all", 3).await;
        assert_eq!((story.running(), story.lives()), (vec![1], lives.clone()));
        story.say("n", 1).await;
        assert_eq!((story.running(), story.lives()), (vec![1], lives));
        story.delete("n", 4).await;
        assert!(story.running().is_empty());
    });
}

#[test]
fn what_was_replaced_does_not_come_back_where_its_successor_is_lost() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared);
        publish(&story, 1, FIRST);
        story.settle().await;
        publish(&story, 2, SECOND);
        story.settle().await;
        assert_eq!(story.running(), [2]);
        story.restart(lose).await;
        publish(&story, 1, FIRST);
        story.settle().await;
        assert_eq!((story.running(), story.lives()), (vec![2], vec![SECOND]));
    });
}

#[test]
fn an_older_word_ends_nothing_that_lost_its_object() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared);
        publish(&story, 3, SECOND);
        story.settle().await;
        let runs = (vec![3], vec![SECOND]);
        story.restart(lose).await;
        story.delete("n", 1).await;
        publish(&story, 2, FIRST);
        story.settle().await;
        assert_eq!((story.running(), story.lives()), runs);
        publish(&story, 3, SECOND);
        story.settle().await;
        assert_eq!((story.running(), story.lives()), runs);
        assert_eq!(story.accepted(), 3);
        // One that is older and of the same life is better than none.
        story.restart(lose).await;
        publish(&story, 2, SECOND);
        story.settle().await;
        assert_eq!((story.accepted(), story.running(), story.lives()), (2, runs.0, runs.1));
        story.delete("n", 4).await;
        assert!(story.running().is_empty());
    });
}

#[test]
fn a_life_that_is_wanted_again_while_it_ends_begins_anew() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared);
        publish(&story, 1, FIRST);
        story.settle().await;
        publish(&story, 2, SECOND);
        publish(&story, 3, FIRST);
        story.settle().await;
        assert_eq!((story.accepted(), story.running()), (3, vec![3]));
        assert_eq!(story.lives(), [FIRST]);
        // What began under its uid is not taken for what ended.
        story.restart(|_| {}).await;
        assert_eq!((story.accepted(), story.running()), (3, vec![3]));
    });
}
