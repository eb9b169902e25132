//! Decides what an object that arrives means beside what the node has of its name.
//!
//! Greater revisions win within one scope, nearer scopes win over farther ones. Pure: what is
//! decided here is written by the store before anybody acts on it.

use mote_protocol::name::Uid;
use mote_protocol::object::{Intent, Object, Revision};
use mote_protocol::static_pod;

use super::source::Source;

/// What the node has of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its uid.
    pub uid: Uid,
    /// The last revision that was accepted: of the object, or of its tombstone.
    pub revision: Revision,
    /// Whom it was said to.
    pub scope: Source,
    /// It is being deleted.
    pub deleting: bool,
}

/// Why an object is refused for its revision, scope or uid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// Something later was said.
    #[error("revision {have} of this object is newer")]
    Stale {
        /// What the node has.
        have: u64,
    },
    /// Somebody else said something at the same time.
    #[error("another object with the same revision won (hash {have})")]
    Conflict {
        /// What the node has.
        have: mote_protocol::object::ContentHash,
    },
    /// A nearer scope says something else.
    #[error("scope {by} says something else of this name, and is nearer")]
    Shadowed {
        /// Which.
        by: String,
    },
    /// A file of the node says something else.
    #[error("it is a static pod of this node, which goes with its file and changes with it")]
    StaticPod,
    /// Another object of the node has the uid.
    #[error("the node has uid {uid} for {key}")]
    TakenUid {
        /// The uid that was asked for.
        uid: Uid,
        /// Whose it is.
        key: String,
    },
    /// A tombstone for another life.
    #[error("the node has uid {have}, not {asked}")]
    OtherUid {
        /// What the node has.
        have: Uid,
        /// What was asked for.
        asked: Uid,
    },
}

impl Objection {
    /// Something else is said of the name by who comes first.
    fn nearer(source: &Source) -> Self {
        match source {
            Source::Static => Self::StaticPod,
            Source::Broker(scope) => Self::Shadowed { by: scope.to_string() },
        }
    }

    /// A stable word for the reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Stale { .. } => "Stale",
            Self::Conflict { .. } | Self::OtherUid { .. } | Self::TakenUid { .. } => "Conflict",
            Self::Shadowed { .. } => "Shadowed",
            Self::StaticPod => static_pod::REFUSED,
        }
    }
}

/// What an object means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// What the node has already.
    Same,
    /// No.
    Refused(Objection),
    /// A name that the node does not have; the uid to give it, where one was asked for.
    New(Option<Uid>),
    /// A change of what it has.
    Update,
    /// Another life: the old one ends first.
    Replace(Option<Uid>),
    /// Its end.
    Delete,
    /// The end of something that the node does not have.
    DeleteUnknown,
}

/// What an object means that is said to `scope` where one was lost that was said to `lost`: nothing, where
/// that was nearer. It may be said again later, and what runs is its.
pub(super) fn behind_lost(judgement: Judgement, scope: &Source, lost: &Source) -> Judgement {
    let decides = matches!(judgement, Judgement::New(_) | Judgement::DeleteUnknown);
    if decides && lost.distance() < scope.distance() {
        return Judgement::Refused(Objection::nearer(lost));
    }
    judgement
}

/// What an object means where one was lost that was said to its scope, at revision `lost`: what is older ends
/// nothing of that. An older word on the `same` life is better than none.
pub(super) fn older_than_lost(
    judgement: Judgement,
    object: &Object,
    lost: Revision,
    same: bool,
) -> Judgement {
    let ends = match judgement {
        Judgement::New(_) => !same,
        Judgement::DeleteUnknown => true,
        _ => false,
    };
    if ends && object.revision < lost {
        return Judgement::Refused(older(object.revision, lost));
    }
    judgement
}

/// Decides what `object`, said to `scope`, means; `forgotten` is the ledger's word on its name.
pub fn judge(
    held: Option<&Held>,
    forgotten: Option<Revision>,
    scope: &Source,
    object: &Object,
) -> Judgement {
    let same_scope = held.filter(|held| held.scope == *scope).map(|held| held.revision);
    if let Some(floor) = same_scope.max(forgotten) {
        if object.revision == floor {
            return Judgement::Same;
        }
        if object.revision < floor {
            return Judgement::Refused(older(object.revision, floor));
        }
    }
    let Some(held) = held else {
        return match object.intent {
            Intent::Apply { .. } => Judgement::New(object.uid),
            Intent::Delete { .. } => Judgement::DeleteUnknown,
        };
    };
    if held.scope != *scope && !held.deleting && !comes_first(scope, object, held) {
        return Judgement::Refused(Objection::nearer(&held.scope));
    }
    match object.intent {
        // It may bear the very uid that the file will have: who publishes knows both.
        Intent::Apply { .. } if *scope == Source::Static && held.scope != *scope => {
            Judgement::Replace(object.uid.filter(|uid| *uid != held.uid))
        }
        Intent::Apply { .. } => apply(held, object.uid),
        Intent::Delete { .. } => delete(held, object.uid),
    }
}

fn older(seen: Revision, have: Revision) -> Objection {
    if seen.number == have.number {
        Objection::Conflict { have: have.hash }
    } else {
        Objection::Stale { have: have.number }
    }
}

/// Whether an object comes before what is held from another scope.
fn comes_first(scope: &Source, object: &Object, held: &Held) -> bool {
    let (asked, have) = (scope.distance(), held.scope.distance());
    asked < have || asked == have && object.revision > held.revision
}

fn apply(held: &Held, uid: Option<Uid>) -> Judgement {
    match (held.deleting, uid) {
        // Under the uid that it had, too: whoever changed it had not heard of its end, and what was said
        // last is what should be.
        (true, uid) => Judgement::Replace(uid),
        (false, Some(uid)) if uid != held.uid => Judgement::Replace(Some(uid)),
        (false, _) => Judgement::Update,
    }
}

fn delete(held: &Held, uid: Option<Uid>) -> Judgement {
    match uid {
        Some(asked) if asked != held.uid => {
            Judgement::Refused(Objection::OtherUid { have: held.uid, asked })
        }
        _ => Judgement::Delete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::extension::Extensions;
    use mote_protocol::object::ContentHash;
    use proptest::prelude::*;

    const OLD: Uid = Uid([1; 16]);
    const NEW: Uid = Uid([2; 16]);

    fn revision(number: u64, hash: u8) -> Revision {
        Revision { number, hash: ContentHash([hash; 8]) }
    }

    fn object(number: u64, hash: u8, uid: Option<Uid>, delete: bool) -> Object {
        let apply = Intent::Apply { schema: 1, body: vec![] };
        let intent = if delete { Intent::Delete { grace_s: None } } else { apply };
        Object { revision: revision(number, hash), uid, intent, extensions: Extensions::default() }
    }

    fn held(number: u64, scope: &str, deleting: bool) -> Held {
        let scope = Source::parse(scope).unwrap();
        Held { uid: OLD, revision: revision(number, 5), scope, deleting }
    }

    fn judged(held: Option<&Held>, forgotten: Option<u64>, scope: &str, o: &Object) -> Judgement {
        judge(held, forgotten.map(|n| revision(n, 5)), &Source::parse(scope).unwrap(), o)
    }

    #[test]
    fn greater_revisions_win_and_the_loser_is_told() {
        let have = held(7, "n1", false);
        let of = |o: Object| judged(Some(&have), None, "n1", &o);
        assert_eq!(of(object(8, 0, None, false)), Judgement::Update);
        assert_eq!(of(object(7, 5, None, false)), Judgement::Same);
        assert_eq!(of(object(7, 6, None, false)), Judgement::Update);
        let refused = |objection| Judgement::Refused(objection);
        let conflict = Objection::Conflict { have: ContentHash([5; 8]) };
        assert_eq!(of(object(7, 4, None, false)), refused(conflict));
        assert_eq!(of(object(6, 9, None, true)), refused(Objection::Stale { have: 7 }));
    }

    #[test]
    fn a_forgotten_name_is_not_brought_back() {
        let stale = Judgement::Refused(Objection::Stale { have: 7 });
        assert_eq!(judged(None, Some(7), "n1", &object(6, 0, None, false)), stale);
        assert_eq!(judged(None, Some(7), "n1", &object(7, 5, None, true)), Judgement::Same);
        assert_eq!(judged(None, Some(7), "n1", &object(8, 0, None, false)), Judgement::New(None));
        assert_eq!(judged(None, None, "n1", &object(8, 0, None, true)), Judgement::DeleteUnknown);
    }

    #[test]
    fn another_uid_is_another_life() {
        let have = held(7, "n1", false);
        let of = |uid, delete| judged(Some(&have), None, "n1", &object(8, 0, uid, delete));
        assert_eq!(of(Some(OLD), false), Judgement::Update);
        assert_eq!(of(Some(NEW), false), Judgement::Replace(Some(NEW)));
        assert_eq!(of(Some(OLD), true), Judgement::Delete);
        let other = Judgement::Refused(Objection::OtherUid { have: OLD, asked: NEW });
        assert_eq!(of(Some(NEW), true), other);
        let dying = held(7, "n1", true);
        let again = |uid| judged(Some(&dying), None, "n1", &object(8, 0, uid, false));
        assert_eq!(again(None), Judgement::Replace(None));
        assert_eq!(again(Some(OLD)), Judgement::Replace(Some(OLD)));
    }

    #[test]
    fn nearer_scopes_win_whatever_their_revision() {
        let group = held(7, "@blue", false);
        let of = |have: &Held, scope: &str, number| {
            judged(Some(have), None, scope, &object(number, 0, None, false))
        };
        assert_eq!(of(&group, "n1", 3), Judgement::Update);
        let shadowed = |by: &str| Judgement::Refused(Objection::Shadowed { by: by.into() });
        assert_eq!(of(&group, "@all", 9), shadowed("@blue"));
        assert_eq!(of(&group, "@red", 8), Judgement::Update);
        assert_eq!(of(&group, "@red", 6), shadowed("@blue"));
        assert_eq!(of(&held(7, "n1", true), "@blue", 3), Judgement::Replace(None));
    }

    #[test]
    fn a_lost_object_stands_before_farther_ones() {
        let behind = |judgement: Judgement, scope: &str| {
            let scope = Source::parse(scope).unwrap();
            behind_lost(judgement, &scope, &Source::parse("@blue").unwrap())
        };
        let shadowed = Judgement::Refused(Objection::Shadowed { by: "@blue".into() });
        assert_eq!(behind(Judgement::New(None), "@all"), shadowed);
        assert_eq!(behind(Judgement::DeleteUnknown, "@all"), shadowed);
        assert_eq!(behind(Judgement::Same, "@all"), Judgement::Same);
        assert_eq!(behind(Judgement::New(None), "@red"), Judgement::New(None));
        assert_eq!(behind(Judgement::DeleteUnknown, "n1"), Judgement::DeleteUnknown);
    }

    #[test]
    fn an_older_word_ends_nothing_that_was_lost() {
        let of = |judgement: Judgement, number, delete, same| {
            older_than_lost(judgement, &object(number, 5, None, delete), revision(7, 5), same)
        };
        let stale = Judgement::Refused(Objection::Stale { have: 7 });
        assert_eq!(of(Judgement::DeleteUnknown, 6, true, false), stale);
        assert_eq!(of(Judgement::New(Some(NEW)), 6, false, false), stale);
        assert_eq!(of(Judgement::New(None), 6, false, true), Judgement::New(None));
        assert_eq!(of(Judgement::New(Some(NEW)), 7, false, false), Judgement::New(Some(NEW)));
        assert_eq!(of(Judgement::DeleteUnknown, 8, true, false), Judgement::DeleteUnknown);
    }

    proptest! {
        /// The order of arrival does not matter: the greatest revision is what is left.
        #[test]
        fn the_greatest_revision_is_left(said in proptest::collection::vec((0..6_u64, 0..4_u8), 1..12)) {
            let mut have: Option<Held> = None;
            for (number, hash) in &said {
                let o = object(*number, *hash, None, false);
                match judged(have.as_ref(), None, "n1", &o) {
                    Judgement::New(_) | Judgement::Update => {
                        have = Some(Held { revision: o.revision, ..held(0, "n1", false) });
                    }
                    Judgement::Same | Judgement::Refused(_) => {}
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            let greatest = said.iter().map(|(number, hash)| revision(*number, *hash)).max();
            prop_assert_eq!(have.map(|held| held.revision), greatest);
        }
    }
}
