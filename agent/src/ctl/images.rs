//! Images from the command line: the words, and what is said of what was done.

use mote_protocol::image::{ImageWork, size};
use serde::{Deserialize, Serialize};

use crate::image::Imported;

/// Names in one command.
const MAX_NAMES: usize = 64;

/// Something to be done with images; takes as long as it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    Pull(String),
    /// An absolute path, on this machine.
    Import(String),
    /// A name or id, and an absolute path on this machine.
    Export(String, String),
    Verify,
    Remove(Vec<String>),
    Prune,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Done {
    Work(ImageWork),
    Imported { names: Vec<String>, skipped: Vec<String> },
    Exported { bytes: u64 },
}

/// The words behind `images`; none where the images are to be listed.
pub(super) fn parse(words: &[&str]) -> Result<Option<Order>, String> {
    match words {
        [] | ["ls" | "list"] => Ok(None),
        ["pull", reference] => Ok(Some(Order::Pull((*reference).to_owned()))),
        ["pull", ..] => Err("`images pull` takes one image".to_owned()),
        ["import", path] => Ok(Some(Order::Import(absolute(path)?))),
        ["export", _, "-"] => Err("`images export` writes to a file only".to_owned()),
        ["export", reference, path] => {
            Ok(Some(Order::Export((*reference).to_owned(), absolute(path)?)))
        }
        ["export", ..] => Err("`images export` takes an image and a file".to_owned()),
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

/// The agent works in another directory.
fn absolute(path: &str) -> Result<String, String> {
    let absolute = std::path::absolute(path).map_err(|error| format!("`{path}`: {error}"))?;
    Ok(absolute.to_str().ok_or("the path is no text")?.to_owned())
}

/// What a person reads of it; the second text is a complaint.
pub(super) fn show(done: &Done) -> (String, String) {
    let (news, complaints) = match done {
        Done::Work(work) => work.lines(),
        Done::Exported { bytes } => (vec![format!("Exported {}", size(*bytes))], Vec::new()),
        Done::Imported { names, skipped } => {
            let news = names.iter().map(|name| format!("Imported {name}")).collect();
            (news, skipped.iter().map(|why| format!("not imported: {why}")).collect())
        }
    };
    let whole = |lines: Vec<String>| lines.into_iter().map(|line| line + "\n").collect();
    (whole(news), whole(complaints))
}

impl From<Imported> for Done {
    fn from(imported: Imported) -> Self {
        let names = imported.images.into_iter().map(|(id, name)| name.unwrap_or(id.to_string()));
        let skipped = imported.skipped.iter().map(crate::image::ImageError::message).collect();
        Self::Imported { names: names.collect(), skipped }
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
        let export = parse(&["export", "a:1", "x.tar"]);
        assert!(matches!(export, Ok(Some(Order::Export(_, path))) if path.starts_with('/')));
        let refused = |words: &[&str]| parse(words).expect_err("refused");
        assert_eq!(refused(&["pull"]), "`images pull` takes one image");
        assert_eq!(refused(&["rm"]), "`images rm` takes at least one name or id");
        assert_eq!(refused(&["burn", "all"]), "`images burn all` is no command");
        assert!(refused(&[&["rm"][..], &["a"; 65]].concat()).contains("at most 64"));
    }

    #[test]
    fn what_was_imported_is_told_in_lines() {
        let imported = Done::Imported { names: vec!["r/a:1".into()], skipped: vec!["bad".into()] };
        let (text, complaint) = show(&imported);
        assert_eq!((&text[..], &complaint[..]), ("Imported r/a:1\n", "not imported: bad\n"));
    }
}
