//! PURE: whether a node takes pods, and which of them wait.
//!
//! ```text
//!   Open -- cordon --> Cordoned -- drain --> Drained
//!     ^                   |                     |
//!     +---- uncordon -----+---------------------+
//! ```
//! A node that is cordoned goes on with what it has; a pod that comes meanwhile waits. On one that is
//! drained all wait, whenever they came. Who tolerates the taint of such a node waits for nothing.

use serde::{Deserialize, Serialize};

/// How far a node is kept free of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Taking {
    /// Pods begin when they come.
    #[default]
    Open,
    /// New ones wait.
    Cordoned,
    /// All wait.
    Drained,
}

/// What is decided of a node. Its form on flash is frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordon {
    /// Counts how often it was cordoned. A pod keeps the number that it came under, so that nothing
    /// needs to be written of any pod when the node takes pods again, nor when it ceases to once more.
    number: u32,
    taking: Taking,
}

impl Cordon {
    /// How far it is kept free of pods.
    pub const fn taking(self) -> Taking {
        self.taking
    }

    /// New pods wait.
    pub fn is_cordoned(self) -> bool {
        self.taking != Taking::Open
    }

    /// The same node, where new pods wait. One that is drained stays so.
    #[must_use]
    pub fn cordoned(self) -> Self {
        match self.taking {
            Taking::Open => Self { number: self.number.wrapping_add(1), taking: Taking::Cordoned },
            Taking::Cordoned | Taking::Drained => self,
        }
    }

    /// The same node, where all pods wait.
    #[must_use]
    pub fn drained(self) -> Self {
        Self { taking: Taking::Drained, ..self.cordoned() }
    }

    /// The same node, where those that were there before do not wait after all.
    #[must_use]
    pub fn not_drained(self) -> Self {
        match self.taking {
            Taking::Drained => Self { taking: Taking::Cordoned, ..self },
            Taking::Open | Taking::Cordoned => self,
        }
    }

    /// The same node, where none does.
    #[must_use]
    pub const fn uncordoned(self) -> Self {
        Self { number: self.number, taking: Taking::Open }
    }

    /// The same, where pods came under one of this number: should flash have lost how often the node was
    /// cordoned, the next time is no earlier one.
    #[must_use]
    pub fn later_than(self, came_under: Option<u32>) -> Self {
        Self { number: self.number.max(came_under.unwrap_or(0)), ..self }
    }

    /// What a pod that comes now keeps of that.
    pub fn came_under(self) -> Option<u32> {
        self.is_cordoned().then_some(self.number)
    }

    /// Whether a pod waits that came under this one.
    pub fn holds(self, came_under: Option<u32>, tolerates: bool) -> bool {
        let new = came_under == Some(self.number);
        match self.taking {
            Taking::Open => false,
            Taking::Cordoned => new && !tolerates,
            Taking::Drained => !tolerates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_waits_for_the_cordon_that_it_came_under_and_for_no_other() {
        let open = Cordon::default();
        assert_eq!(open.came_under(), None);
        let first = open.cordoned();
        assert_eq!(first.cordoned(), first, "once more is nothing new");
        let mark = first.came_under();
        assert!(first.holds(mark, false) && !first.holds(None, false), "what was there goes on");
        assert!(!first.holds(mark, true), "it tolerates that");
        assert!(!first.uncordoned().holds(mark, false));
        let second = first.uncordoned().cordoned();
        assert!(!second.holds(mark, false), "it has begun meanwhile");
        assert!(second.holds(second.came_under(), false));
        let lost = Cordon::default().later_than(second.came_under()).cordoned();
        assert!(!lost.holds(second.came_under(), false), "it was another one");
    }

    #[test]
    fn on_a_node_that_is_drained_all_wait_until_it_is_uncordoned() {
        for before in [Cordon::default(), Cordon::default().cordoned()] {
            let drained = before.drained();
            assert!(drained.holds(None, false) && drained.holds(Some(77), false));
            assert!(!drained.holds(None, true));
            assert_eq!(drained.cordoned(), drained, "it is more than cordoned");
            assert_eq!(drained.not_drained().drained(), drained);
            assert!(!drained.not_drained().holds(None, false));
            assert!(!drained.uncordoned().holds(drained.came_under(), false));
        }
    }

    #[test]
    fn the_form_on_flash_is_frozen() {
        let cordon = Cordon { number: 300, taking: Taking::Drained };
        assert_eq!(postcard::to_allocvec(&cordon).unwrap(), [0xac, 2, 2]);
        assert_eq!(postcard::from_bytes(&[0xac, 2, 2]), Ok(cordon));
        assert_eq!(postcard::from_bytes(&[1, 1]), Ok(Cordon::default().cordoned()));
    }
}
