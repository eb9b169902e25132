//! Images from the command line: the words, and what is said of what was done.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::ImageFacts;
use super::describe::size;
use crate::image::{Ensured, Imported, Source, Swept, Verified};

/// Names in one command.
const MAX_NAMES: usize = 64;

/// Something to be done with images; takes as long as it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    Pull(String),
    /// An absolute path, on this machine.
    Import(String),
    Verify,
    Remove(Vec<String>),
    Prune,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Done {
    Pulled { id: String, bytes: Option<u64> },
    Imported { names: Vec<String>, skipped: Vec<String> },
    Verified { layers: u64, damaged: Vec<String> },
    Removed { images: Vec<ImageFacts>, names: Vec<String>, freed: u64 },
}

/// The words behind `images`; none where the images are to be listed.
pub(super) fn parse(words: &[&str]) -> Result<Option<Order>, String> {
    match words {
        [] | ["ls" | "list"] => Ok(None),
        ["pull", reference] => Ok(Some(Order::Pull((*reference).to_owned()))),
        ["pull", ..] => Err("`images pull` takes one image".to_owned()),
        ["import", path] => {
            // The agent works in another directory.
            let path = std::path::absolute(path).map_err(|error| format!("`{path}`: {error}"))?;
            let path = path.to_str().ok_or("the path is no text")?;
            Ok(Some(Order::Import(path.to_owned())))
        }
        ["import", ..] => Err("`images import` takes one file or directory".to_owned()),
        ["rm" | "remove"] => Err("`images rm` takes at least one name or id".to_owned()),
        ["rm" | "remove", names @ ..] if names.len() > MAX_NAMES => {
            Err(format!("`images rm` takes at most {MAX_NAMES} names"))
        }
        ["rm" | "remove", names @ ..] => {
            Ok(Some(Order::Remove(names.iter().map(|name| (*name).to_owned()).collect())))
        }
        ["verify"] => Ok(Some(Order::Verify)),
        ["prune"] => Ok(Some(Order::Prune)),
        _ => Err(format!("`images {}` is no command", words.join(" "))),
    }
}

/// What a person reads of it; the second text is a complaint.
pub(super) fn show(done: &Done) -> (String, String) {
    let (mut text, mut complaint) = (String::new(), String::new());
    match done {
        Done::Pulled { id, bytes: Some(bytes) } => {
            let _ = writeln!(text, "Pulled {id}, {} over the network", size(*bytes));
        }
        Done::Pulled { id, bytes: None } => {
            let _ = writeln!(text, "Up to date: {id}");
        }
        Done::Imported { names, skipped } => {
            for name in names {
                let _ = writeln!(text, "Imported {name}");
            }
            for why in skipped {
                let _ = writeln!(complaint, "not imported: {why}");
            }
        }
        Done::Verified { layers, damaged } => {
            for what in damaged {
                let _ = writeln!(complaint, "damaged, to be fetched again: {what}");
            }
            let sound = layers.saturating_sub(damaged.len() as u64);
            let _ = writeln!(text, "{sound} of {layers} layers are as they were unpacked");
        }
        Done::Removed { images, names, freed } => {
            for name in names.iter().chain(images.iter().flat_map(|image| &image.names)) {
                let _ = writeln!(text, "Untagged: {name}");
            }
            for image in images {
                let _ = writeln!(text, "Deleted: {}", image.id);
            }
            let _ = writeln!(text, "Total reclaimed space: {}", size(*freed));
        }
    }
    (text, complaint)
}

impl Done {
    /// An image that was to be fetched; why not, where only an old copy of it is here.
    pub(super) fn pulled(ensured: Ensured) -> Result<Self, String> {
        let bytes = match ensured.source {
            Source::FallbackStale { reason } => return Err(reason),
            Source::Pulled { bytes, .. } => Some(bytes),
            Source::Present => None,
        };
        Ok(Self::Pulled { id: ensured.id.to_string(), bytes })
    }
}

impl From<Imported> for Done {
    fn from(imported: Imported) -> Self {
        let names = imported.images.into_iter().map(|(id, name)| name.unwrap_or(id.to_string()));
        let skipped = imported.skipped.iter().map(crate::image::ImageError::message).collect();
        Self::Imported { names: names.collect(), skipped }
    }
}

impl From<Verified> for Done {
    fn from(Verified { layers, damaged }: Verified) -> Self {
        Self::Verified { layers, damaged }
    }
}

impl From<Swept> for Done {
    fn from(swept: Swept) -> Self {
        let images = swept.images.into_iter().map(ImageFacts::from).collect();
        Self::Removed { images, names: swept.names, freed: swept.freed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_orders() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&["ls"]), Ok(None));
        assert_eq!(parse(&["pull", "a:1"]), Ok(Some(Order::Pull("a:1".into()))));
        assert_eq!(parse(&["rm", "a", "b"]), Ok(Some(Order::Remove(vec!["a".into(), "b".into()]))));
        assert_eq!(parse(&["prune"]), Ok(Some(Order::Prune)));
        assert_eq!(parse(&["verify"]), Ok(Some(Order::Verify)));
        let import = parse(&["import", "x.tar"]);
        assert!(matches!(import, Ok(Some(Order::Import(path))) if path.starts_with('/')));
        let refused = |words: &[&str]| parse(words).expect_err("refused");
        assert_eq!(refused(&["pull"]), "`images pull` takes one image");
        assert_eq!(refused(&["rm"]), "`images rm` takes at least one name or id");
        assert_eq!(refused(&["burn", "all"]), "`images burn all` is no command");
        assert!(refused(&[&["rm"][..], &["a"; 65]].concat()).contains("at most 64"));
    }

    #[test]
    fn what_was_done_is_told_in_lines() {
        let image = ImageFacts { names: vec!["r/a:1".into()], id: "sha256:00".into(), bytes: 9 };
        let removed =
            Done::Removed { images: vec![image], names: vec!["r/b:2".into()], freed: 1_500_000 };
        let text = "Untagged: r/b:2\nUntagged: r/a:1\nDeleted: sha256:00\n\
                    Total reclaimed space: 1.5MB\n";
        assert_eq!(show(&removed), (text.to_owned(), String::new()));
        let verified = Done::Verified { layers: 3, damaged: vec!["layer x".into()] };
        let text = "2 of 3 layers are as they were unpacked\n".to_owned();
        assert_eq!(show(&verified), (text, "damaged, to be fetched again: layer x\n".to_owned()));
        let imported = Done::Imported { names: vec!["r/a:1".into()], skipped: vec!["bad".into()] };
        let (text, complaint) = show(&imported);
        assert_eq!((&text[..], &complaint[..]), ("Imported r/a:1\n", "not imported: bad\n"));
    }
}
