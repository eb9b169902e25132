//! Locks of a node, while which changes are not made.

use alloc::string::String;

use super::RolloutError;

/// Longest name of a lock: it becomes a file's.
pub(super) const MAX_LOCK: usize = 63;

/// The name of a lock, which is that of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockName(String);

impl LockName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, RolloutError> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric();
        let valid = name.len() <= MAX_LOCK
            && name.bytes().next().is_some_and(letter)
            && name.bytes().all(|byte| letter(byte) || b"-_.".contains(&byte));
        if valid { Ok(Self(name.into())) } else { Err(RolloutError::Lock) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_names_of_files_in_one_directory() {
        for name in ["a", "printing", "pump-1.run_2"] {
            assert_eq!(LockName::new(name).unwrap().as_str(), name);
        }
        let long = "a".repeat(64);
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "-x", "a b", "ä", &long] {
            assert_eq!(LockName::new(name), Err(RolloutError::Lock), "{name}");
        }
    }
}
