//! Where an object comes from, which says what it gives way to.

use std::fmt;

use mote_protocol::name::NameError;
use mote_protocol::topic::Scope;

use crate::pod::qos;

/// How the node's own files stand where others have a scope: no topic can hold a `#`, so that nobody
/// publishes anything in their place.
const STATIC: &str = "#static";

/// Where an object comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of this node: a static pod, which nothing that is published changes or ends.
    Static,
    /// The broker, where it was said to this scope.
    Broker(Scope),
}

impl Source {
    /// Reads a source as it stands on flash.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text == STATIC { Ok(Self::Static) } else { Scope::parse(text).map(Self::Broker) }
    }

    /// Whether a pod from there is critical, with this priority.
    pub(super) fn makes_critical(&self, priority: i32) -> bool {
        *self == Self::Static || priority >= qos::CRITICAL
    }

    /// How near it is: the smaller is the nearer.
    pub(super) const fn distance(&self) -> u8 {
        match self {
            Self::Static => 0,
            Self::Broker(Scope::Node(_)) => 1,
            Self::Broker(Scope::Group(_)) => 2,
            Self::Broker(Scope::All) => 3,
        }
    }
}

impl From<Scope> for Source {
    fn from(scope: Scope) -> Self {
        Self::Broker(scope)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static => f.write_str(STATIC),
            Self::Broker(scope) => scope.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::topic::Address;

    #[test]
    fn what_is_on_flash_is_read_again() {
        for text in ["#static", "n1", "@blue", "@all"] {
            assert_eq!(Source::parse(text).map(|source| source.to_string()), Ok(text.to_owned()));
        }
        assert!(Source::parse("#other").is_err());
        let distances =
            ["#static", "n1", "@blue", "@all"].map(|text| Source::parse(text).unwrap().distance());
        assert!(distances.is_sorted());
    }

    #[test]
    fn nobody_publishes_in_the_place_of_a_file() {
        assert!(Address::parse("mote/v1/f/#static/spec/pod/default/web").is_err());
    }
}
