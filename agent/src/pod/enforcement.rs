//! Rights that a pod asks for and that not every node can enforce.
//!
//! A pod whose asked restriction nobody enforces would have more rights than it wants. So it is refused
//! by the name of the field, unless the operator of the node said that such pods run all the same:
//! then they do, and say so. Another right is another line in [`RIGHTS`].

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// A right that a node may not be able to enforce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// `appArmorProfile`.
    AppArmorProfile,
    /// `hostUsers: false`.
    HostUsers,
}

/// Each right, by the name of its field, and the word and the beginning of the sentence with which
/// a pod that asks for it in vain is refused.
const RIGHTS: [(Right, &str, &str, &str); 2] = [
    (Right::AppArmorProfile, "appArmorProfile", "AppArmor", "Cannot enforce AppArmor"),
    (Right::HostUsers, "hostUsers", "Unsupported", "Cannot give the pod users of its own"),
];

impl Right {
    fn line(self) -> (&'static str, &'static str, &'static str) {
        let line = RIGHTS.iter().find(|(right, ..)| *right == self);
        line.map_or(("", "Unsupported", ""), |(_, field, reason, text)| (field, reason, text))
    }

    /// The name of its field.
    pub fn field(self) -> &'static str {
        self.line().0
    }

    /// The reason of a refusal.
    pub(super) fn reason(self) -> &'static str {
        self.line().1
    }

    /// The message of a refusal.
    pub(super) fn message(self, why: &str) -> String {
        format!("{}: {why}", self.line().2)
    }
}

/// A name that is no right's.
#[derive(Debug, thiserror::Error)]
#[error("must be the name of a field that nodes may be unable to enforce: {}", names())]
pub struct RightError;

fn names() -> String {
    RIGHTS.map(|(_, field, ..)| format!("`{field}`")).join(", ")
}

impl FromStr for Right {
    type Err = RightError;

    fn from_str(text: &str) -> Result<Self, RightError> {
        let line = RIGHTS.iter().find(|(_, field, ..)| *field == text);
        line.map(|(right, ..)| *right).ok_or(RightError)
    }
}

/// What a node cannot enforce, and what its operator says of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enforcement {
    /// Why not, by right.
    lacks: BTreeMap<Right, &'static str>,
    allowed: BTreeSet<Right>,
}

/// What becomes of a pod that asks for a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enforced {
    /// It has it.
    Yes,
    /// It runs without it, and this is why.
    Waived(&'static str),
    /// It does not run, and this is why.
    Refused(&'static str),
}

impl Enforcement {
    /// That of a machine that lacks these, for these reasons.
    pub fn new(lacks: impl IntoIterator<Item = (Right, &'static str)>, allowed: &[Right]) -> Self {
        let (lacks, allowed) = (lacks.into_iter().collect(), allowed.iter().copied().collect());
        Self { lacks, allowed }
    }

    pub(super) fn of(&self, right: Right) -> Enforced {
        match self.lacks.get(&right) {
            None => Enforced::Yes,
            Some(why) if self.allowed.contains(&right) => Enforced::Waived(why),
            Some(why) => Enforced::Refused(why),
        }
    }

    /// The same for a pod that was accepted before: it is not refused any more. It has what it asks
    /// for, or is not started.
    #[must_use]
    pub fn of_accepted(&self) -> Self {
        let mut lenient = self.clone();
        lenient.lacks.retain(|right, _| self.allowed.contains(right));
        lenient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_enforced_refused_or_waived() {
        let lack = (Right::AppArmorProfile, "no");
        let of = |enforcement: Enforcement| enforcement.of(Right::AppArmorProfile);
        assert_eq!(of(Enforcement::default()), Enforced::Yes);
        assert_eq!(of(Enforcement::new([], &[Right::AppArmorProfile])), Enforced::Yes);
        assert_eq!(of(Enforcement::new([lack], &[])), Enforced::Refused("no"));
        assert_eq!(of(Enforcement::new([lack], &[]).of_accepted()), Enforced::Yes);
        let waived = Enforcement::new([lack], &[Right::AppArmorProfile]);
        assert_eq!(of(waived.of_accepted()), Enforced::Waived("no"));
        assert_eq!(of(waived), Enforced::Waived("no"));
    }

    #[test]
    fn every_right_is_known_by_its_field() {
        for (right, field, ..) in RIGHTS {
            assert_eq!(field.parse::<Right>().ok(), Some(right));
            assert_eq!(right.field(), field);
        }
        let error = "seccomp".parse::<Right>().expect_err("no right").to_string();
        assert!(error.ends_with("unable to enforce: `appArmorProfile`, `hostUsers`"), "{error}");
    }
}
