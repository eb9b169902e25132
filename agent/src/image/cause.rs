//! Why something failed, as text: errors of images cross a pipe.

use std::error::Error;
use std::fmt;

use mote_registry::chain;
use serde::{Deserialize, Serialize};

/// The causes of an error that crossed a pipe, innermost last, joined by `: `.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cause(String);

impl Cause {
    /// Longest text kept. It ends up in a pod's status, where long texts cost airtime.
    const MAX: usize = 1024;

    /// `error` and everything beneath it, as one line.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        Self::from_text(chain(error))
    }

    /// A cause that never was more than text.
    pub fn from_text(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.len() > Self::MAX {
            text.truncate(text.floor_char_boundary(Self::MAX));
            text.push_str("...");
        }
        Self(text)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Cause {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_causes_are_cut_at_a_character() {
        let text = Cause::from_text("ä".repeat(2000)).to_string();
        assert!(text.len() <= Cause::MAX + 3 && text.ends_with("ä..."));
    }
}
