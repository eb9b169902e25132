//! Bounded strings that truncate visibly and never fail.
//!
//! [`Short`] lies inline (heapless): for reasons, names, versions. [`Text`] lies on the heap, so
//! that a status with room for a long message does not carry that room about: for messages.

use alloc::string::String;
use core::fmt;
use core::ops::Deref;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands at the end of a string that was cut.
pub const CUT: &str = "…";

/// A text without what would move a terminal's cursor: what is shown may come from an image, a node, or
/// an operator.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Longest prefix of `text` that fits `capacity` bytes together with the mark, on a character
/// boundary; `None` where nothing needs cutting.
fn cut(text: &str, capacity: usize) -> Option<&str> {
    if text.len() <= capacity {
        return None;
    }
    let mut end = capacity.saturating_sub(CUT.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end)
}

macro_rules! bounded {
    ($name:ident) => {
        impl<const N: usize> Deref for $name<N> {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl<const N: usize> fmt::Display for $name<N> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self)
            }
        }

        impl<const N: usize> fmt::Debug for $name<N> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&**self, f)
            }
        }

        impl<const N: usize> Serialize for $name<N> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self)
            }
        }

        impl<'de, const N: usize> Deserialize<'de> for $name<N> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Bounded<const N: usize>;
                impl<const N: usize> Visitor<'_> for Bounded<N> {
                    type Value = $name<N>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "at most {N} bytes of text")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                        if text.len() > N {
                            return Err(E::invalid_length(text.len(), &self));
                        }
                        Ok($name::new(text))
                    }
                }
                deserializer.deserialize_str(Bounded::<N>)
            }
        }

        impl<const N: usize> From<&str> for $name<N> {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl<const N: usize> PartialEq<str> for $name<N> {
            fn eq(&self, other: &str) -> bool {
                &**self == other
            }
        }

        impl<const N: usize> PartialEq<&str> for $name<N> {
            fn eq(&self, other: &&str) -> bool {
                &**self == *other
            }
        }
    };
}

/// At most `N` bytes of text, inline.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Short<const N: usize>(heapless::String<N>);

impl<const N: usize> Short<N> {
    /// Takes `text`, cut visibly where it is longer than `N` bytes.
    pub fn new(text: &str) -> Self {
        let mut inner = heapless::String::new();
        let (head, mark) = cut(text, N).map_or((text, ""), |head| (head, CUT));
        // Cannot fail: `cut` left room for the mark (and for `N` below the mark's length both
        // are dropped rather than split).
        let _ = inner.push_str(head);
        let _ = inner.push_str(mark);
        Self(inner)
    }
}

/// At most `N` bytes of text, on the heap.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize>(String);

impl<const N: usize> Text<N> {
    /// Takes `text`, cut visibly where it is longer than `N` bytes.
    pub fn new(text: &str) -> Self {
        let Some(head) = cut(text, N) else { return Self(text.into()) };
        let mut inner = String::with_capacity(head.len() + CUT.len());
        inner.push_str(head);
        inner.push_str(CUT);
        Self(inner)
    }
}

bounded!(Short);
bounded!(Text);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_is_cut_on_a_character_and_marked() {
        let text = Short::<8>::new("zwölf Boxkämpfer");
        assert_eq!(&*text, "zwöl…");
        assert!(text.len() <= 8);
        assert_eq!(&*Text::<8>::new("zwölf Boxkämpfer"), "zwöl…");
        assert_eq!(&*Short::<8>::new("eight ch"), "eight ch");
    }

    #[test]
    fn a_longer_text_from_the_wire_is_refused() {
        let bytes = postcard::to_allocvec("longer than eight").expect("encodes");
        assert!(postcard::from_bytes::<Short<8>>(&bytes).is_err());
        assert!(postcard::from_bytes::<Text<8>>(&bytes).is_err());
    }
}
