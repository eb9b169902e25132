//! What a node has promised of its objects, and whether it kept it.
//!
//! A status that says which revision was accepted is a promise: whatever happens to the power, the
//! node has that revision from then on, or a later one. That the status is gone is one as well: what
//! it spoke of does not come back. Pure; where statuses and objects come from is `node`'s to know.

use std::fmt;

/// What is known of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promise {
    /// The highest revision that the node ever said it accepted.
    pub(crate) accepted: Option<u64>,
    /// Its status is there.
    pub(crate) is_told: bool,
    /// Revision of what was said last of that name.
    pub(crate) said: u64,
    /// Its end was said, and nothing later than that was accepted.
    pub(crate) ended: bool,
}

/// What a node had no right to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// It had accepted this revision, and has nothing.
    Lost(u64),
    /// It has the first, and had accepted the second.
    Older(u64, u64),
    /// It has this, which it had said was gone.
    Back(u64),
    /// Nobody ever said this.
    Invented(u64),
}

impl Promise {
    /// Whether what the node has of the name after a power cut is what it may have.
    pub(crate) fn judge(&self, found: Option<u64>) -> Result<(), Breach> {
        match (found, self.accepted) {
            (Some(found), _) if found > self.said => Err(Breach::Invented(found)),
            (Some(found), Some(accepted)) if !self.is_told && found <= accepted => {
                Err(Breach::Back(found))
            }
            (Some(found), Some(accepted)) if found < accepted => {
                Err(Breach::Older(found, accepted))
            }
            // Its end may be on flash and not yet told.
            (None, Some(accepted)) if self.is_told && !self.ended => Err(Breach::Lost(accepted)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(accepted) => write!(f, "revision {accepted} was accepted and is lost"),
            Self::Older(found, accepted) => {
                write!(f, "revision {accepted} was accepted, and {found} is there")
            }
            Self::Back(found) => write!(f, "revision {found} was gone and is back"),
            Self::Invented(found) => write!(f, "nobody ever said revision {found}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(accepted: u64, said: u64) -> Promise {
        Promise { accepted: Some(accepted), is_told: true, said, ended: false }
    }

    #[test]
    fn what_was_accepted_is_there_or_something_later() {
        assert_eq!(told(5, 7).judge(Some(5)), Ok(()));
        assert_eq!(told(5, 7).judge(Some(7)), Ok(()));
        assert_eq!(told(5, 7).judge(Some(4)), Err(Breach::Older(4, 5)));
        assert_eq!(told(5, 7).judge(None), Err(Breach::Lost(5)));
        assert_eq!(told(5, 7).judge(Some(8)), Err(Breach::Invented(8)));
    }

    #[test]
    fn what_is_being_ended_may_be_gone_and_may_be_there() {
        let ending = Promise { ended: true, ..told(5, 7) };
        for found in [None, Some(5), Some(7)] {
            assert_eq!(ending.judge(found), Ok(()));
        }
        assert_eq!(ending.judge(Some(4)), Err(Breach::Older(4, 5)));
        // The end itself was accepted, and something later said: it may be between both.
        let again = Promise { ended: true, ..told(7, 9) };
        assert_eq!((again.judge(None), again.judge(Some(9))), (Ok(()), Ok(())));
        assert_eq!(again.judge(Some(5)), Err(Breach::Older(5, 7)));
    }

    #[test]
    fn what_is_gone_does_not_come_back_but_its_name_may_be_used_again() {
        let gone = Promise { is_told: false, ended: true, ..told(5, 6) };
        assert_eq!(gone.judge(None), Ok(()));
        assert_eq!(gone.judge(Some(5)), Err(Breach::Back(5)));
        let anew = Promise { said: 8, ended: false, ..gone };
        assert_eq!(anew.judge(Some(8)), Ok(()));
        assert_eq!(anew.judge(Some(4)), Err(Breach::Back(4)));
    }

    #[test]
    fn what_was_never_told_may_be_there_or_not() {
        let unknown = Promise { said: 3, ..Promise::default() };
        assert_eq!(unknown.judge(None), Ok(()));
        assert_eq!(unknown.judge(Some(3)), Ok(()));
    }
}
