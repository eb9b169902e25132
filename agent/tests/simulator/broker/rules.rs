//! Who may do what at the broker.

use std::collections::BTreeSet;

use crate::chance::Chance;

use super::FLEET;

/// MQTT 5, "Not authorized".
pub(super) const NOT_AUTHORIZED: u8 = 135;

/// What rules are about: the beginnings of topics and filters, below the fleet's.
const PLACES: [&str; 9] = [
    "n/spec",
    "@blue/spec",
    "@red/spec",
    "@all/spec",
    "n/birth",
    "n/will",
    "n/status",
    "n/event",
    "n/heartbeat",
];

/// What the node is denied.
#[derive(Default)]
pub(crate) struct Rules {
    denied: BTreeSet<&'static str>,
}

impl Rules {
    /// Denies something, or allows it again; says which.
    pub(crate) fn change(&mut self, chance: &mut Chance) -> Option<(&'static str, bool)> {
        let place = *chance.pick(&PLACES)?;
        let denied = !self.denied.remove(place) && self.denied.insert(place);
        Some((place, denied))
    }

    pub(crate) fn allow_everything(&mut self) {
        self.denied.clear();
    }

    /// Whether the node may not publish on a topic, or not subscribe to a filter.
    pub(super) fn deny(&self, topic: &str) -> bool {
        let below = topic.strip_prefix(FLEET).unwrap_or(topic);
        self.denied.iter().any(|place| below.starts_with(place))
    }
}
