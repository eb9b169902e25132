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

pub(crate) const KEY: &str = "pod/default/a";

/// A node in a world in which nothing goes wrong by itself.
pub(crate) struct Story {
    pub(crate) shared: Shared,
    agent: Option<Agent>,
}

impl Story {
    pub(crate) fn begin(shared: Shared) -> Self {
        {
            let mut universe = shared.get();
            universe.storm = false;
            universe.broker.network = true;
        }
        let agent = Some(Agent::start(&shared));
        Self { shared, agent }
    }

    pub(crate) async fn settle(&self) {
        self.shared.stirred.notify_one();
        tokio::time::sleep(Duration::from_mins(1)).await;
    }

    /// Somebody asks for a pod, which is another one for every revision.
    pub(crate) async fn say(&self, scope: &'static str, number: u64) {
        let place = Place { scope, key: KEY };
        self.shared.get().publish(&place.spec_topic(), forever(KEY, number, None), None);
        self.settle().await;
    }

    /// Somebody asks for another life of the pod.
    pub(crate) async fn replace(&self, scope: &'static str, number: u64) {
        let place = Place { scope, key: KEY };
        let uid = Some(Uid([u8::try_from(number).expect("few"); 16]));
        self.shared.get().publish(&place.spec_topic(), forever(KEY, number, uid), None);
        self.settle().await;
    }

    pub(crate) fn status(&self) -> Option<PodStatus> {
        let universe = self.shared.get();
        let kept = universe.broker.retained.get(&node_topic(&format!("status/{KEY}")));
        kept.and_then(|(payload, _)| frame::decode::<PodStatus>(payload).ok())
    }

    pub(crate) async fn delete(&self, scope: &'static str, number: u64) {
        let place = Place { scope, key: KEY };
        self.shared.get().publish(&place.spec_topic(), tombstone(number), None);
        self.settle().await;
    }

    /// The agent dies, something happens, and the next one starts.
    pub(crate) async fn restart(&mut self, meanwhile: impl FnOnce(&mut Universe)) {
        self.swap(meanwhile).await;
        self.settle().await;
    }

    /// The same, and nobody waits for what follows.
    pub(crate) async fn swap(&mut self, meanwhile: impl FnOnce(&mut Universe)) {
        if let Some(agent) = self.agent.take() {
            agent.crash(&self.shared).await;
        }
        meanwhile(&mut self.shared.get());
        self.agent = Some(Agent::start(&self.shared));
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.status().map_or(0, |status| status.accepted.number)
    }

    /// Which pods run.
    pub(crate) fn lives(&self) -> Vec<Uid> {
        self.shared.get().kernel.running().map(|(uid, _, _)| uid).collect()
    }

    /// The revisions that began what runs.
    pub(crate) fn running(&self) -> Vec<u64> {
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
fn what_happened_without_a_network_is_told_by_a_later_agent() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared);
        story.say("n", 1).await;
        let damaged = |universe: &Universe| {
            let told = universe.judge.events.iter().filter(|(_, (_, what))| what == "DamagedFile");
            told.map(|(number, _)| *number).collect::<Vec<_>>()
        };
        let spoil = |universe: &mut Universe| {
            universe.broker.network = false;
            let names = universe.card.files.names().filter(|name| name.starts_with("record/"));
            for name in names.cloned().collect::<Vec<_>>() {
                universe.card.files.put(&name, vec![]);
            }
        };
        story.restart(spoil).await;
        story.settle().await;
        assert_eq!(damaged(&story.shared.get()), []);
        story.restart(|universe| universe.broker.network = true).await;
        assert_eq!(damaged(&story.shared.get()), [(3, 0)], "two starts of the agent later");
    });
}

#[test]
fn a_node_that_is_heard_writes_no_events() {
    simulate(0, false, async |shared| {
        let story = Story::begin(shared);
        story.say("n", 1).await;
        tokio::time::sleep(Duration::from_hours(24)).await;
        assert!(!story.shared.get().judge.events.is_empty(), "it started a pod");
        assert_eq!(story.shared.get().card.files.get("events"), None);
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
            story.restart(|universe| universe.card.files.put(name, vec![])).await;
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
                universe.card.files.put(&file, before);
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
                universe.card.files.put(&format!("spec/{KEY}"), vec![0; 7]);
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
                universe.card.files.put(&format!("spec/{KEY}"), vec![]);
            })
            .await;
        assert_eq!(story.running(), [1]);
        story.delete("n", 2).await;
        assert!(story.running().is_empty());
    });
}

/// What may be done to the card of a node while no agent runs.
type Loss = fn(&mut Universe);

#[test]
fn pods_run_on_where_all_objects_are_gone() {
    let losses: [(&str, Loss); 3] = [
        ("the directory", |universe| {
            universe.card.files.retain(|name| !name.starts_with("spec/"));
        }),
        ("the card", |universe| universe.card.files.retain(|_| false)),
        ("its lists", |universe| universe.card.unreadable = true),
    ];
    for (what, loss) in losses {
        simulate(0, false, async |shared| {
            let mut story = Story::begin(shared);
            story.say("n", 1).await;
            story.restart(|universe| (universe.broker_forgets(), loss(universe)).1).await;
            assert_eq!(story.running(), [1], "without {what}");
            let lives = story.lives();
            // Neither does the next agent think that it may remove it.
            story.restart(|universe| universe.card.unreadable = false).await;
            assert_eq!((story.running(), story.lives()), (vec![1], lives.clone()), "after {what}");
            // Said again, it is the same pod; and somebody can end it.
            story.say("n", 1).await;
            assert_eq!((story.running(), story.lives()), (vec![1], lives), "after {what}");
            story.delete("n", 2).await;
            assert!(story.running().is_empty(), "after {what}");
        });
    }
}

#[test]
fn what_runs_without_an_object_ends_by_a_word_and_not_before() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared);
        story.say("n", 1).await;
        let place = Place { scope: "n", key: "pod/default/b" };
        let other = forever(place.key, 5, None);
        story.shared.get().publish(&place.spec_topic(), other, None);
        story.settle().await;
        assert_eq!(story.running().len(), 2);
        story
            .restart(|universe| {
                universe.broker_forgets();
                universe.card.files.retain(|name| name != format!("spec/{KEY}"));
            })
            .await;
        assert_eq!(story.running().len(), 2, "another object is known");
        story.delete("n", 2).await;
        assert_eq!(story.running(), [5]);
    });
}

#[test]
fn a_pod_that_gives_no_answer_is_left_alone_and_can_be_ended() {
    simulate(0, false, async |shared| {
        let mut story = Story::begin(shared.clone());
        story.say("n", 1).await;
        let lives = story.lives();
        story.restart(|universe| universe.kernel.silent = true).await;
        assert_eq!((story.running(), story.lives()), (vec![1], lives.clone()));
        // Others are looked after meanwhile.
        let place = Place { scope: "n", key: "pod/default/b" };
        shared.get().publish(&place.spec_topic(), forever(place.key, 5, None), None);
        story.settle().await;
        assert_eq!(story.running().len(), 2);
        shared.get().kernel.silent = false;
        story.settle().await;
        assert_eq!(story.lives().len(), 2, "it is the same, and looked after");
        shared.get().end_all_unheard(1);
        story.settle().await;
        assert_eq!(story.running().len(), 2, "and again");
        story.restart(|universe| universe.kernel.silent = true).await;
        story.delete("n", 2).await;
        story.settle().await;
        assert_eq!(story.running(), [5]);
        assert!(!story.lives().contains(&lives[0]));
    });
}
