//! Whose question is answered next: everybody who asks has a turn, however many questions of others came before. PURE.
//!
//! Taking a question in costs a part of what answering it does. In the order in which they came one pod that asks
//! faster than it is answered would fill the socket, and what others ask would be lost.

use std::collections::VecDeque;
use std::net::IpAddr;

/// Questions of one asker that wait. The network's rules let so many through at once.
const MOST_OF_ONE: usize = 250;

/// Questions that wait in all. Beyond that only who has none yet has room for one.
const MOST: usize = 1000;

/// Those who ask: far more than a node has pods.
const ASKERS: usize = 512;

/// Questions that wait.
#[derive(Debug)]
pub(super) struct Turns<Q> {
    /// Those who ask, who is next first; each with something.
    askers: VecDeque<(IpAddr, VecDeque<Q>)>,
    /// All that waits.
    waiting: usize,
}

impl<Q> Default for Turns<Q> {
    fn default() -> Self {
        Self { askers: VecDeque::new(), waiting: 0 }
    }
}

impl<Q> Turns<Q> {
    /// Takes a question in, unless its asker has enough that waits: then it is lost, and he asks again.
    pub(super) fn add(&mut self, asker: IpAddr, question: Q) {
        let askers = self.askers.len();
        match self.askers.iter_mut().find(|(other, _)| *other == asker) {
            Some((_, own)) if own.len() < MOST_OF_ONE && self.waiting < MOST => {
                own.push_back(question);
            }
            None if askers < ASKERS => self.askers.push_back((asker, [question].into())),
            Some(_) | None => return,
        }
        self.waiting += 1;
    }

    /// The question whose turn it is.
    pub(super) fn next(&mut self) -> Option<Q> {
        let (asker, mut waiting) = self.askers.pop_front()?;
        let question = waiting.pop_front();
        self.waiting -= 1;
        if !waiting.is_empty() {
            self.askers.push_back((asker, waiting));
        }
        question
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.askers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn asker(number: usize) -> IpAddr {
        Ipv4Addr::from_bits(u32::try_from(number).expect("a few")).into()
    }

    #[test]
    fn who_asks_once_is_answered_after_one_of_who_asks_a_lot() {
        let mut turns = Turns::default();
        for number in 0..1000 {
            turns.add(asker(1), number);
        }
        turns.add(asker(2), 5000);
        assert_eq!([turns.next(), turns.next(), turns.next()], [Some(0), Some(5000), Some(1)]);
        let left = std::iter::from_fn(|| turns.next()).count();
        assert_eq!(left, MOST_OF_ONE - 2, "the rest was lost");
        assert!(turns.is_empty());
    }

    proptest! {
        #[test]
        fn what_waits_is_bounded_and_comes_in_order(asked in proptest::collection::vec(0usize..700, 0..4000)) {
            let mut turns = Turns::default();
            for (number, from) in asked.iter().enumerate() {
                turns.add(asker(*from), (*from, number));
            }
            let found: Vec<_> = std::iter::from_fn(|| turns.next()).collect();
            prop_assert!(found.len() <= MOST + ASKERS && turns.waiting == 0, "{}", found.len());
            for from in 0..700 {
                let of: Vec<_> = found.iter().filter(|(one, _)| *one == from).collect();
                prop_assert!(of.is_sorted() && of.len() <= MOST_OF_ONE);
            }
            let askers = asked.iter().collect::<std::collections::BTreeSet<_>>().len();
            let heard = found.iter().map(|(from, _)| from).collect::<std::collections::BTreeSet<_>>().len();
            prop_assert_eq!(heard, askers.min(ASKERS));
        }
    }
}
