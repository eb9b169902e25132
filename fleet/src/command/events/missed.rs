//! Which events of a node did not come.

use std::collections::BTreeMap;

use mote_protocol::event::Event;
use mote_protocol::name::NodeName;

/// What came last of each node: a start of its agent, and the number that comes next.
#[derive(Debug, Default)]
pub(super) struct Missed(BTreeMap<NodeName, (u32, u32)>);

impl Missed {
    /// How many events there were of a node between this one and the one before. Nobody knows what
    /// was before the first.
    pub(super) fn before(&mut self, node: &NodeName, event: &Event) -> u32 {
        let after = event.sequence.saturating_add(1);
        let Some((start, next)) = self.0.get_mut(node) else {
            self.0.insert(node.clone(), (event.start, after));
            return 0;
        };
        // Each start of an agent counts from zero.
        let expected = if *start == event.start { *next } else { 0 };
        // What comes a second time was not missed.
        (*start, *next) = (event.start, after.max(expected));
        event.sequence.saturating_sub(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_left_out_are_counted_for_each_node() {
        let mut missed = Missed::default();
        let [one, other] = ["one", "other"].map(|name| NodeName::new(name).expect("a name"));
        let mut before = |node: &NodeName, start, sequence| {
            missed.before(node, &Event { start, sequence, ..Event::default() })
        };
        assert_eq!(before(&one, 3, 7), 0, "what was before it is not known");
        assert_eq!(before(&one, 3, 8), 0);
        assert_eq!(before(&other, 1, 0), 0);
        assert_eq!(before(&one, 3, 11), 2);
        assert_eq!(before(&one, 3, 8), 0, "a second time");
        assert_eq!(before(&one, 3, 12), 0);
        assert_eq!(before(&one, 4, 0), 0, "its agent was started again");
        assert_eq!(before(&one, 5, 6), 6, "and could not keep all");
    }
}
