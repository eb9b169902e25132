//! Making room: which images nobody needs, and that nobody begins to need one while it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Puller, store_error};
use crate::image::error::{Cause, ImageError};
use crate::image::gc::{Choice, FOR_A_PULL, Inventory, Stored, Thresholds, choose};
use crate::image::room::{Amount, Room};
use crate::image::store::{Store, StoreError, Writer};
use crate::image::{ImageId, Sweep, Swept, What};

/// When images were needed last, and which are about to go.
#[derive(Debug, Default)]
pub(super) struct UseOf {
    touched: BTreeMap<ImageId, Instant>,
    leaving: BTreeSet<ImageId>,
}

impl UseOf {
    /// Somebody needs it. False where it is about to go: then it is as good as gone.
    pub(super) fn touch(&mut self, id: ImageId) -> bool {
        if self.leaving.contains(&id) {
            return false;
        }
        self.touched.insert(id, Instant::now());
        true
    }
}

/// What was decided.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    choice: Choice,
    /// Names that go while their image stays.
    names: BTreeSet<String>,
    /// What was to be freed.
    wanted: Amount,
    /// Nothing goes, since all of it would not be enough.
    in_vain: bool,
}

impl Puller {
    /// Removes what is asked for; no pull runs meanwhile.
    pub(super) async fn make_room(&self, sweep: Sweep) -> Result<Swept, ImageError> {
        let _turn = self.turn.take().await?;
        let thresholds = self.config.thresholds;
        let room = room(&self.store).map_err(|error| store_error(&error))?;
        if sweep.what == What::Excess && !thresholds.exceeded(room) {
            return Ok(Swept::default());
        }
        let store = self.store.clone();
        let look = move || Ok((store.inventory()?, store.partial_bytes()));
        let (inventory, partial) = apart(look).await?;
        // Downloads that were cut off go before any image does; not where the card is just rather
        // full: then they would begin at nothing each time.
        let clears = matches!(sweep.what, What::Room { .. } | What::All);
        let available = room.available.saturating_add(if clears { partial } else { 0 });
        let room = Room { available, ..room };
        let plan = {
            let mut uses = self.uses();
            let judge = Judge {
                sweep: &sweep,
                pinned: &self.config.pinned,
                inventory: &inventory,
                touched: &uses.touched,
                thresholds,
            };
            let plan = judge.decide(room)?;
            uses.leaving.clone_from(&plan.choice.images);
            plan
        };
        let (store, images) = (self.store.clone(), plan.choice.images.clone());
        let (names, loose) = (plan.names.clone(), plan.choice.loose);
        let images_go = !images.is_empty() || !names.is_empty() || loose;
        let clears = clears && !plan.in_vain;
        let removed = if images_go || clears {
            let remove = move || {
                let writer = Writer::lock(&store)?;
                if clears {
                    writer.remove_partials()?;
                }
                if images_go { writer.remove(&images, &names, loose) } else { Ok(()) }
            };
            apart(remove).await
        } else {
            Ok(())
        };
        let mut uses = self.uses();
        uses.leaving.clear();
        uses.touched.retain(|id, _| !plan.choice.images.contains(id));
        removed.map(|()| swept(plan, &inventory))
    }
}

fn swept(plan: Plan, inventory: &Inventory) -> Swept {
    let gone = inventory.images.iter().filter(|image| plan.choice.images.contains(&image.id));
    Swept {
        images: gone.map(|image| inventory.summary(image)).collect(),
        names: plan.names.into_iter().collect(),
        freed: plan.choice.freed,
        wanted: plan.wanted,
    }
}

/// The file system that the store is on.
fn room(store: &Store) -> Result<Room, StoreError> {
    let found = rustix::fs::statvfs(store.root());
    let found = found.map_err(|errno| StoreError::at("measure", store.root())(errno.into()))?;
    Ok(found.into())
}

/// Works on the card beside the agent's own work.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ImageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| store_error(&error)),
        Err(broken) => Err(ImageError::Store { cause: Cause::of(&broken) }),
    }
}

/// Everything that a decision is made from.
struct Judge<'a> {
    sweep: &'a Sweep,
    pinned: &'a BTreeSet<String>,
    inventory: &'a Inventory,
    touched: &'a BTreeMap<ImageId, Instant>,
    thresholds: Thresholds,
}

impl Judge<'_> {
    fn decide(&self, room: Room) -> Result<Plan, ImageError> {
        let used = |id: &ImageId| self.touched.get(id).copied();
        match &self.sweep.what {
            What::Excess | What::Room { .. } => {
                let (least, wanted) = self.wanted(room);
                let young = |image: &Stored| {
                    used(&image.id).is_some_and(|at| at.elapsed() < self.thresholds.min_age)
                };
                let spared = |image: &Stored| young(image) || self.must_stay(image);
                let choice = choose(self.inventory, wanted, spared, used);
                if choice.freed.covers(least) {
                    return Ok(Plan { choice, wanted, ..Plan::default() });
                }
                // What is here is worth more than a failure a moment later.
                Ok(Plan { wanted: least, in_vain: true, ..Plan::default() })
            }
            What::All => {
                // More than there is: nothing that may go stays.
                let spared = |image: &Stored| self.must_stay(image);
                let choice = choose(self.inventory, Amount::EVERYTHING, spared, used);
                Ok(Plan { choice, ..Plan::default() })
            }
            What::Named(names) => self.named(names),
        }
    }

    /// What must be freed, or nothing needs to be, and what should be.
    fn wanted(&self, room: Room) -> (Amount, Amount) {
        let missing = self.thresholds.missing(room);
        let What::Room { needed } = self.sweep.what else { return (Amount::default(), missing) };
        let least = Amount { bytes: needed.saturating_sub(room.available), inodes: 0 };
        // What was free was not enough, whatever the thresholds say.
        (least, missing.max(FOR_A_PULL).max(least))
    }

    /// Every name must stand for an image that may go, or nothing goes.
    fn named(&self, asked: &[String]) -> Result<Plan, ImageError> {
        let mut plan = Plan::default();
        for text in asked {
            let (image, name) = self.inventory.resolve(text)?;
            if self.asked_since(image) {
                let by = "a pod or a command that asked for it meanwhile".to_owned();
                return Err(ImageError::InUse { reference: text.clone(), by });
            }
            if let Some(by) = name.as_ref().and_then(|name| self.named_by(name)) {
                return Err(ImageError::InUse { reference: text.clone(), by });
            }
            if let Some(name) = name {
                plan.names.insert(name);
            } else {
                plan.choice.images.insert(image.id);
            }
        }
        for image in &self.inventory.images {
            let untagged = image.names.iter().filter(|name| plan.names.contains(*name)).count();
            if untagged > 0 && untagged == image.names.len() {
                plan.choice.images.insert(image.id);
            }
            let goes = plan.choice.images.contains(&image.id);
            if let Some(by) = goes.then(|| self.needed_by(image)).flatten() {
                let reference = image.names.first().cloned();
                let reference = reference.unwrap_or_else(|| image.id.to_string());
                return Err(ImageError::InUse { reference, by });
            }
        }
        let gone = |name: &String| {
            let of = |image: &&Stored| plan.choice.images.contains(&image.id);
            self.inventory.images.iter().filter(of).any(|image| image.names.contains(name))
        };
        let names = plan.names.iter().filter(|name| !gone(name)).cloned().collect();
        plan.names = names;
        plan.choice.freed = self.inventory.freed_without(&plan.choice.images);
        Ok(plan)
    }

    fn must_stay(&self, image: &Stored) -> bool {
        self.asked_since(image) || self.needed_by(image).is_some()
    }

    /// Who needs an image; none where nobody does.
    fn needed_by(&self, image: &Stored) -> Option<String> {
        let by_id = self.sweep.in_use.images.get(&image.id).cloned();
        by_id.or_else(|| image.names.iter().find_map(|name| self.named_by(name)))
    }

    /// Whether somebody asked for it after it was found out who needs what: that may be long ago, since
    /// a download had its turn before.
    fn asked_since(&self, image: &Stored) -> bool {
        self.touched.get(&image.id).is_some_and(|at| *at >= self.sweep.asked)
    }

    /// Who needs an image by that name.
    fn named_by(&self, name: &str) -> Option<String> {
        if self.pinned.contains(name) {
            return Some("the node's configuration, which pins it".to_owned());
        }
        self.sweep.in_use.references.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mote_registry::digest::Digest;

    use super::*;
    use crate::image::InUse;

    /// Three images of one layer each: `r.example/a:1`, `r.example/b:1` also named `b:2`, and one
    /// without a name.
    fn inventory() -> Inventory {
        let layer = |number: u8| Digest::of(&[number]);
        let image = |number: u8, names: &[&str]| Stored {
            id: Digest::of(&[100 + number]),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            layers: vec![layer(number)],
        };
        Inventory {
            images: vec![
                image(1, &["r.example/a:1"]),
                image(2, &["r.example/b:1", "r.example/b:2"]),
                image(3, &[]),
            ],
            layers: (1..=3)
                .map(|number| (layer(number), Amount { bytes: 100, inodes: 1 }))
                .collect(),
        }
    }

    fn id(number: u8) -> ImageId {
        Digest::of(&[100 + number])
    }

    struct Case {
        in_use: InUse,
        pinned: BTreeSet<String>,
        touched: BTreeMap<ImageId, Instant>,
    }

    impl Case {
        fn new() -> Self {
            let (in_use, pinned) = (InUse::default(), BTreeSet::new());
            Self { in_use, pinned, touched: BTreeMap::new() }
        }

        fn plan(&self, what: What) -> Result<Plan, ImageError> {
            let asked = Instant::now();
            let sweep = Sweep { what, in_use: self.in_use.clone(), asked };
            let judge = Judge {
                sweep: &sweep,
                pinned: &self.pinned,
                inventory: &inventory(),
                touched: &self.touched,
                thresholds: Thresholds::default(),
            };
            // A hundred bytes are missing.
            judge.decide(Room { capacity: 10_000, available: 1_900, ..Room::default() })
        }

        fn gone(&self, what: What) -> Vec<u8> {
            let plan = self.plan(what).expect("a plan");
            (1..=3).filter(|number| plan.choice.images.contains(&id(*number))).collect()
        }
    }

    const ROOM: What = What::Room { needed: 0 };

    fn named(names: &[&str]) -> What {
        What::Named(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn what_a_pod_or_the_configuration_needs_stays() {
        let mut case = Case::new();
        assert_eq!(case.gone(What::All), [1, 2, 3]);
        case.in_use.images.insert(id(3), "pod default/web".into());
        case.in_use.references.insert("r.example/b:2".into(), "pod default/web".into());
        assert_eq!(case.gone(What::All), [1]);
        case.pinned.insert("r.example/a:1".into());
        assert_eq!(case.gone(What::All), [0_u8; 0]);
        let refused = |names: &[&str]| case.plan(named(names)).expect_err("refused").message();
        assert!(refused(&["r.example/b:2"]).ends_with("is used by pod default/web"));
        assert!(refused(&["r.example/a:1"]).contains("configuration"));
        assert!(refused(&["r.example/b:1", "r.example/a:1"]).contains("r.example/a:1"));
        let hex = id(3).hex();
        assert!(refused(&[&hex]).contains("pod default/web"));
    }

    #[test]
    fn what_was_asked_for_while_a_removal_waited_for_its_turn_stays() {
        let mut case = Case::new();
        case.touched.insert(id(1), Instant::now() + Duration::from_mins(1));
        let refused = case.plan(named(&["r.example/a:1"])).expect_err("refused").message();
        assert!(refused.ends_with("asked for it meanwhile"), "{refused}");
        assert_eq!(case.gone(What::All), [2, 3]);
    }

    #[test]
    fn room_is_made_with_what_was_unused_for_longest_and_not_with_what_is_young() {
        let mut case = Case::new();
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        let (Some(young), Some(old), Some(older)) = (ago(60), ago(600), ago(900)) else {
            // The machine was booted just now.
            return;
        };
        case.touched = [(id(1), old), (id(2), older), (id(3), young)].into_iter().collect();
        assert_eq!(case.gone(What::Excess), [2]);
        assert_eq!(case.gone(ROOM), [1, 2], "a pull needs more than a few bytes");
        case.touched.insert(id(1), young);
        case.touched.insert(id(2), young);
        assert_eq!(case.gone(ROOM), [0_u8; 0], "nothing is old enough");
        assert_eq!(case.gone(What::All), [1, 2, 3], "who asks for all means all");
    }

    #[test]
    fn nothing_goes_where_all_of_it_would_not_be_enough() {
        let mut case = Case::new();
        let needed = |bytes| What::Room { needed: 1_900 + bytes };
        assert_eq!(case.gone(needed(300)), [1, 2, 3]);
        let plan = case.plan(needed(301)).expect("a plan");
        assert_eq!((plan.choice, plan.in_vain), (Choice::default(), true));
        assert_eq!(plan.wanted, Amount { bytes: 301, inodes: 0 });
        case.in_use.images.insert(id(3), "pod default/web".into());
        assert_eq!(case.gone(needed(201)), [0_u8; 0]);
        assert_eq!(case.gone(needed(200)), [1, 2]);
        assert!(case.plan(needed(u64::MAX - 1_900)).expect("a plan").in_vain);
    }

    #[test]
    fn what_somebody_asked_for_meanwhile_stays() {
        let mut case = Case::new();
        case.touched.insert(id(1), Instant::now() + Duration::from_mins(1));
        assert_eq!(case.gone(What::All), [2, 3]);
        let mut uses = UseOf::default();
        uses.leaving.insert(id(1));
        assert!(!uses.touch(id(1)) && uses.touch(id(2)));
    }

    #[test]
    fn one_of_several_names_goes_alone_and_the_last_with_its_image() {
        let case = Case::new();
        let plan = case.plan(named(&["r.example/b:1"])).expect("a plan");
        assert!(plan.choice.images.is_empty() && plan.names.contains("r.example/b:1"));
        assert_eq!(case.gone(named(&["r.example/b:1", "r.example/b:2"])), [2]);
        assert_eq!(case.gone(named(&["r.example/a:1"])), [1]);
        assert_eq!(case.gone(named(&[&id(3).hex()[..12], "r.example/a:1"])), [1, 3]);
        let refused = |name: &str| case.plan(named(&[name])).expect_err("refused").message();
        assert_eq!(refused("r.example/c:1"), "no image \"r.example/c:1\" is on this node");
        assert_eq!(refused(&id(3).hex()[..4]).matches("no image").count(), 1);
    }
}
