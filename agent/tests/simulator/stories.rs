//! Short stories that must end in one way only, told to the simulated node without any chance.

use std::time::Duration;

use mote_protocol::frame;
use mote_protocol::name::Uid;
use mote_protocol::status::PodStatus;

use crate::broker::node_topic;
use crate::history::simulate;
use crate::node::Agent;
use crate::operator::{forever, tombstone};
use crate::scope::Place;
use crate::universe::{Shared, Universe};

const KEY: &str = "pod/default/a";

/// A node in a world in which nothing goes wrong by itself.
struct Story {
    shared: Shared,
    agent: Option<Agent>,
}

impl Story {
    fn begin(shared: Shared) -> Self {
        {
            let mut universe = shared.get();
            universe.storm = false;
            universe.broker.network = true;
        }
        let agent = Some(Agent::start(&shared));
        Self { shared, agent }
    }

    async fn settle(&self) {
        self.shared.stirred.notify_one();
        tokio::time::sleep(Duration::from_mins(1)).await;
    }

    /// Somebody asks for a pod, which is another one for every revision.
    async fn say(&self, scope: &'static str, number: u64) {
        let place = Place { scope, key: KEY };
        self.shared.get().publish(&place.spec_topic(), forever(KEY, number, None), None);
        self.settle().await;
    }

    async fn delete(&self, scope: &'static str, number: u64) {
        let place = Place { scope, key: KEY };
        self.shared.get().publish(&place.spec_topic(), tombstone(number), None);
        self.settle().await;
    }

    /// The agent dies, something happens, and the next one starts.
    async fn restart(&mut self, meanwhile: impl FnOnce(&mut Universe)) {
        if let Some(agent) = self.agent.take() {
            agent.crash(&self.shared).await;
        }
        meanwhile(&mut self.shared.get());
        self.agent = Some(Agent::start(&self.shared));
        self.settle().await;
    }

    fn accepted(&self) -> u64 {
        let universe = self.shared.get();
        let kept = universe.broker.retained.get(&node_topic(&format!("status/{KEY}")));
        let status = kept.and_then(|(payload, _)| frame::decode::<PodStatus>(payload).ok());
        status.map_or(0, |status| status.accepted.number)
    }

    /// The revisions that began what runs.
    fn running(&self) -> Vec<u64> {
        self.shared.get().kernel.running().map(|(_, _, container)| container.marker.life).collect()
    }
}

#[test]
fn a_nearer_scope_wins_in_either_order() {
    for (nearer, farther) in [("n", "@all"), ("n", "@blue"), ("@red", "@all")] {
        simulate(0, false, async |shared| {
            let story = Story::begin(shared);
            story.say(farther, 1).await;
            story.say(nearer, 2).await;
            assert_eq!((story.accepted(), story.running()), (2, vec![2]), "{nearer} last");
        });
        simulate(0, false, async |shared| {
            let story = Story::begin(shared);
            story.say(nearer, 1).await;
            story.say(farther, 2).await;
            assert_eq!((story.accepted(), story.running()), (1, vec![1]), "{nearer} first");
        });
    }
}

#[test]
fn ends_that_found_no_room_are_looked_for_at_once() {
    simulate(0, false, async |shared| {
        let story = Story::begin(shared);
        story.say("n", 1).await;
        assert_eq!(story.running(), [1]);
        story.shared.get().end_all_unheard(1);
        assert_eq!(story.running(), [0; 0]);
        // Much less than the time after which the node is looked at without a reason.
        story.settle().await;
        assert_eq!(story.running(), [1], "it runs again");
    });
}

#[test]
fn of_equally_near_scopes_the_later_word_counts() {
    simulate(0, false, async |shared| {
        let story = Story::begin(shared);
        story.say("@red", 2).await;
        story.say("@blue", 1).await;
        assert_eq!(story.running(), [2]);
        story.say("@blue", 3).await;
        assert_eq!(story.running(), [3]);
    });
}

#[test]
fn what_a_farther_tombstone_ended_does_not_come_once_the_nearer_object_is_gone() {
    simulate(0, false, async |shared| {
        let story = Story::begin(shared);
        story.say("n", 3).await;
        story.say("@all", 1).await;
        story.delete("@all", 2).await;
        story.delete("n", 4).await;
        assert!(story.running().is_empty());
        story.say("@all", 1).await;
        assert!(story.running().is_empty());
    });
}

#[test]
fn one_copy_of_the_ledger_is_enough() {
    for name in ["ledger", "ledger-copy"] {
        simulate(0, false, async |shared| {
            let mut story = Story::begin(shared);
            story.say("n", 1).await;
            story.delete("n", 2).await;
            story.restart(|universe| drop(universe.card.files.insert(name.into(), vec![]))).await;
            story.say("n", 1).await;
            assert!(story.running().is_empty(), "without {name}");
        });
    }
}

#[test]
fn an_object_survives_power_that_is_lost_before_a_nearer_one_took_its_place() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared.clone());
        story.say("@all", 1).await;
        let file = format!("spec/{KEY}");
        let before = shared.get().card.files.get(&file).cloned().expect("it is on the card");
        story.say("n", 2).await;
        let nearer = Place { scope: "n", key: KEY };
        story
            .restart(|universe| {
                universe.publish(&nearer.spec_topic(), vec![], None);
                universe.card.files.insert(file, before);
            })
            .await;
        assert_eq!((story.accepted(), story.running()), (1, vec![1]));
    });
}

#[test]
fn the_successor_of_a_pod_that_lost_its_object_waits_for_its_end() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared);
        story.say("n", 1).await;
        let place = Place { scope: "n", key: KEY };
        story
            .restart(|universe| {
                universe.card.files.insert(format!("spec/{KEY}"), vec![0; 7]);
                let uid = Some(Uid([9; 16]));
                universe.publish(&place.spec_topic(), forever(KEY, 2, uid), None);
            })
            .await;
        assert_eq!((story.accepted(), story.running()), (2, vec![2]));
    });
}

#[test]
fn a_pod_that_lost_its_object_runs_on() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared);
        story.say("n", 1).await;
        story
            .restart(|universe| {
                universe.broker_forgets();
                universe.card.files.insert(format!("spec/{KEY}"), vec![]);
            })
            .await;
        assert_eq!(story.running(), [1]);
        story.delete("n", 2).await;
        assert!(story.running().is_empty());
    });
}
