//! Every instant of a pod's life at which the node can die: one history for each.

use std::time::Duration;

use crate::calm;
use crate::history::simulate;
use crate::node::Agent;
use crate::operator::Operator;
use crate::scope::Place;
use crate::universe::Shared;

const PLACE: Place = Place { scope: "n", key: "pod/default/a" };

/// What people do with one name, a step after the other.
const STEPS: [fn(&mut Operator, &Shared); 6] = [
    |operator, shared| operator.apply(&mut shared.get(), PLACE),
    |operator, shared| operator.update(&mut shared.get(), PLACE),
    |operator, shared| operator.replace(&mut shared.get(), PLACE),
    |operator, shared| operator.delete(&mut shared.get(), PLACE),
    |operator, shared| operator.apply(&mut shared.get(), PLACE),
    |operator, shared| operator.delete(&mut shared.get(), PLACE),
];

/// Long enough for what follows from a step.
const STEP: Duration = Duration::from_mins(1);

/// How a node dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// The agent is killed, and what runs goes on.
    Killed,
    /// Power is lost, and with it all that was not synced.
    PowerCut,
}

/// Goes through the steps, with one death after so many awaits of ports. What was found, and whether
/// there were so many.
fn story(seed: u64, awaits: u32, death: Death) -> (Option<String>, bool) {
    simulate(seed, false, async |shared| {
        let mut operator = Operator::new(&mut shared.get());
        {
            let mut universe = shared.get();
            universe.storm = false;
            universe.broker.network = true;
            universe.doom = Some(awaits);
        }
        let mut agent = Agent::start(&shared);
        let mut died = false;
        for step in STEPS {
            step(&mut operator, &shared);
            shared.stirred.notify_one();
            if tokio::time::timeout(STEP, shared.doomed.notified()).await.is_ok() {
                died = true;
                agent.crash(&shared).await;
                shared.get().doom = None;
                if matches!(death, Death::PowerCut) {
                    shared.get().reboot();
                }
                agent = Agent::start(&shared);
                tokio::time::sleep(STEP).await;
            }
        }
        shared.get().doom = None;
        calm::check(&shared, agent).await;
        (shared.get().judge.verdict().cloned(), died)
    })
}

#[test]
fn the_node_may_die_at_every_instant_of_a_pods_life() {
    for death in [Death::Killed, Death::PowerCut] {
        for seed in 0..4 {
            let mut awaits = 0;
            loop {
                let (violation, died) = story(seed, awaits, death);
                assert_eq!(violation, None, "{death:?} at await {awaits} of seed {seed}");
                if !died {
                    break;
                }
                awaits += 1;
            }
            assert!(awaits > 60, "only {awaits} instants");
        }
    }
}
