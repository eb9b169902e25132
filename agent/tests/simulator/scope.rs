//! Whom objects are for, as the simulated fleet has it.

/// Those that the node listens to.
pub(crate) const SCOPES: [&str; 4] = ["n", "@blue", "@red", "@all"];

/// One name in one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) scope: &'static str,
    pub(crate) key: &'static str,
}

impl Place {
    /// How near its scope is: smaller is nearer.
    pub(crate) fn distance(&self) -> u8 {
        match self.scope {
            "n" => 0,
            "@all" => 2,
            _ => 1,
        }
    }

    pub(crate) fn spec_topic(&self) -> String {
        format!("mote/v1/f/{}/spec/{}", self.scope, self.key)
    }
}
