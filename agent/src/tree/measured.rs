//! What a look at directories comes to.

use std::time::Duration;

/// What a look at directories found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Bytes on disk, at least.
    pub bytes: u64,
    /// Names: what inodes it takes, as far as each has one.
    pub names: u64,
    /// How much of them that is.
    pub counted: Counted,
    /// How long it took to find out.
    pub took: Duration,
}

/// How much of a tree was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counted {
    /// All of it.
    #[default]
    Whole,
    /// Time was up, or something could not be looked at: there may be more.
    Part,
    /// It is deeper, or has more names, than is ever counted: whoever made it so may hide anything
    /// there.
    Endless,
}
