//! The names of a layer's entries, checked before anything is done with them.

use super::error::EntryError;
use super::limits::Limits;

/// Longest file name of Linux' file systems.
const MAX_NAME: usize = 255;

/// Prefix of names that say something about lower layers.
const WHITEOUT: &[u8] = b".wh.";
/// Prefix of the storage driver's own files.
const WHITEOUT_META: &[u8] = b".wh..wh.";
/// Hides everything that lower layers have in this directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Where an entry goes: below the root, free of `.`, `..` and empty components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPath {
    /// The directory, empty for the root.
    pub parent: Vec<u8>,
    /// The last component, empty for the root itself.
    pub name: Vec<u8>,
}

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A file of the image.
    File(EntryPath),
    /// The file that lower layers have by this name is gone.
    Whiteout(EntryPath),
    /// Lower layers' files in this directory are gone.
    Opaque(EntryPath),
    /// A note of some storage driver to itself.
    Ignored,
}

impl EntryPath {
    /// Checks a name from an archive. A leading slash means the layer's root: some builders write it,
    /// for entries and for the targets of hard links, and every tool reads it so.
    pub fn parse(name: &[u8], limits: &Limits) -> Result<Self, EntryError> {
        let start = name.iter().position(|byte| *byte != b'/').unwrap_or(name.len());
        let name = name.get(start..).unwrap_or_default();
        let length = name.len();
        if length > limits.path {
            return Err(EntryError::TooLong { length, limit: limits.path });
        }
        if name.contains(&0) {
            return Err(EntryError::Nul);
        }
        let mut path = Self { parent: Vec::new(), name: Vec::new() };
        let mut depth = 0;
        for component in name.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(EntryError::ParentDirectory),
                _ => {}
            }
            if component.len() > MAX_NAME {
                return Err(EntryError::TooLong { length: component.len(), limit: MAX_NAME });
            }
            depth += 1;
            if depth > limits.depth {
                return Err(EntryError::TooDeep { limit: limits.depth });
            }
            path.push(component);
        }
        Ok(path)
    }

    /// Whether this is the layer's root.
    pub fn is_root(&self) -> bool {
        self.name.is_empty()
    }

    /// The whole path again, empty for the root.
    pub fn whole(&self) -> Vec<u8> {
        let mut whole = self.parent.clone();
        if !whole.is_empty() && !self.name.is_empty() {
            whole.push(b'/');
        }
        whole.extend_from_slice(&self.name);
        whole
    }

    fn push(&mut self, component: &[u8]) {
        // Appended to, never copied: a name may have two thousand components.
        if !self.parent.is_empty() && !self.name.is_empty() {
            self.parent.push(b'/');
        }
        self.parent.append(&mut self.name);
        self.name.extend_from_slice(component);
    }

    /// What this name means in a layer.
    pub fn meaning(self) -> Result<Meaning, EntryError> {
        if self.name == OPAQUE {
            let mut directory = Self { parent: Vec::new(), name: Vec::new() };
            for component in self.parent.split(|byte| *byte == b'/').filter(|c| !c.is_empty()) {
                directory.push(component);
            }
            return Ok(Meaning::Opaque(directory));
        }
        if self.name.starts_with(WHITEOUT_META) {
            return Ok(Meaning::Ignored);
        }
        match self.name.strip_prefix(WHITEOUT) {
            None => Ok(Meaning::File(self)),
            Some(b"" | b"." | b"..") => Err(EntryError::Whiteout),
            Some(hidden) => {
                Ok(Meaning::Whiteout(Self { name: hidden.to_vec(), parent: self.parent }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(name: &str) -> Result<(String, String), EntryError> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        EntryPath::parse(name.as_bytes(), &Limits::default())
            .map(|p| (text(p.parent), text(p.name)))
    }

    fn meaning(name: &str) -> Result<Meaning, EntryError> {
        EntryPath::parse(name.as_bytes(), &Limits::default())?.meaning()
    }

    fn at(parent: &str, name: &str) -> EntryPath {
        EntryPath { parent: parent.into(), name: name.into() }
    }

    #[test]
    fn spellings_of_one_path_are_one_path() {
        for name in ["a/b", "./a/b", "a//b/", "a/./b", "./a/b/.", "/a/b", "//a/b", "/./a/b"] {
            assert_eq!(parse(name).unwrap(), ("a".to_owned(), "b".to_owned()), "{name}");
        }
        for name in ["", ".", "./", "./.", "/", "//."] {
            assert_eq!(parse(name).unwrap(), (String::new(), String::new()), "{name}");
        }
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for name in ["..", "../x", "a/../../x", "a/..", "./../x", "/..", "/../x"] {
            assert!(matches!(parse(name), Err(EntryError::ParentDirectory)), "{name}");
        }
        assert!(matches!(parse("a\0b"), Err(EntryError::Nul)));
        assert!(parse("...").is_ok());
    }

    #[test]
    fn absurd_names_are_refused() {
        assert!(matches!(parse(&"a".repeat(256)), Err(EntryError::TooLong { limit: 255, .. })));
        assert!(matches!(parse(&"a/".repeat(3000)), Err(EntryError::TooLong { limit: 4095, .. })));
        assert!(matches!(parse(&"a/".repeat(500)), Err(EntryError::TooDeep { limit: 128 })));
    }

    #[test]
    fn whiteouts_name_what_they_hide() {
        assert_eq!(meaning("a/.wh.b").unwrap(), Meaning::Whiteout(at("a", "b")));
        assert_eq!(meaning("a/b/.wh..wh..opq").unwrap(), Meaning::Opaque(at("a", "b")));
        assert_eq!(meaning(".wh..wh..opq").unwrap(), Meaning::Opaque(at("", "")));
        assert_eq!(meaning(".wh..wh.plnk").unwrap(), Meaning::Ignored);
        assert_eq!(meaning("a.wh.b").unwrap(), Meaning::File(at("", "a.wh.b")));
        for name in [".wh.", ".wh..", ".wh..."] {
            assert!(matches!(meaning(name), Err(EntryError::Whiteout)), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_leads_out(name in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(path) = EntryPath::parse(&name, &Limits::default()) {
                let whole = path.whole();
                prop_assert!(!whole.starts_with(b"/") && !whole.contains(&0));
                let mut parts = whole.split(|b| *b == b'/');
                prop_assert!(parts.all(|part| part != b".." && part != b"."));
            }
        }
    }
}
