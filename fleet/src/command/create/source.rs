//! Keys and values from files, directories, literals and files of variables.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use mote_protocol::limits::MAX_DATA;
use mote_protocol::object::check_key;

use crate::cli::ContentArgs;

/// What an object shall hold.
pub(super) type Entries = BTreeMap<String, Vec<u8>>;

/// What stands at the beginning of a file that a Windows editor wrote.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Reads all that the command line names.
pub(super) fn read(args: &ContentArgs) -> anyhow::Result<Entries> {
    let mut entries = Entries::new();
    for source in &args.from_file {
        add_source(source, &mut entries)?;
    }
    for literal in &args.from_literal {
        let pair = literal.split_once('=').filter(|(key, _)| !key.is_empty());
        // It may be a secret: the error does not repeat it.
        let (key, value) =
            pair.ok_or_else(|| anyhow!("invalid literal source, expected key=value"))?;
        add(checked(key)?, value.as_bytes().to_vec(), &mut entries)?;
    }
    for path in &args.from_env_file {
        let text = String::from_utf8(read_file(path)?);
        let text = text.map_err(|_| anyhow!("{} is not UTF-8 text", path.display()))?;
        let variable = |key: &str| std::env::var(key).ok();
        for (key, value) in variables(&text, variable)? {
            add(&key, value.into_bytes(), &mut entries)?;
        }
    }
    Ok(entries)
}

/// Reads a file, as far as an object can hold it.
pub(super) fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let bound = MAX_DATA as u64 + 1;
    file.take(bound).read_to_end(&mut bytes).with_context(|| format!("read {}", path.display()))?;
    ensure!(bytes.len() <= MAX_DATA, "{} has more than {MAX_DATA} bytes", path.display());
    Ok(bytes)
}

/// Adds `[KEY=]PATH`.
fn add_source(source: &str, entries: &mut Entries) -> anyhow::Result<()> {
    let (key, path) = match source.split_once('=') {
        None => (None, source),
        Some(("", path)) => bail!("key name for file path {path} missing"),
        Some((key, "")) => bail!("file path for key name {key} missing"),
        Some((_, path)) if path.contains('=') => {
            bail!("key names or file paths cannot contain '='");
        }
        Some((key, path)) => (Some(key), path),
    };
    let path = Path::new(path);
    let meta = fs::metadata(path).with_context(|| format!("error reading {}", path.display()))?;
    if meta.is_dir() {
        ensure!(key.is_none(), "cannot give a key name for a directory path");
        return add_directory(path, entries);
    }
    let key = key.or_else(|| base_name(path));
    let key = key.ok_or_else(|| anyhow!("{}: its name cannot be a key", path.display()))?;
    add(checked(key)?, read_file(path)?, entries)
}

/// Adds the files of a directory; what is no file, or has a name that is no key, is left out.
fn add_directory(path: &Path, entries: &mut Entries) -> anyhow::Result<()> {
    let listing =
        fs::read_dir(path).with_context(|| format!("error listing {}", path.display()))?;
    for entry in listing {
        let entry = entry.with_context(|| format!("error listing {}", path.display()))?;
        let path = entry.path();
        let key = base_name(&path).filter(|name| check_key(name).is_ok());
        if let Some(key) = key.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_file())) {
            add(key, read_file(&path)?, entries)?;
        }
    }
    Ok(())
}

/// The name of a file.
fn base_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// A key, unless no object may have it.
fn checked(key: &str) -> anyhow::Result<&str> {
    check_key(key).map_err(|error| anyhow!("{key:?} is not a valid key name: {error}"))?;
    Ok(key)
}

/// Adds a key that was checked.
fn add(key: &str, value: Vec<u8>, entries: &mut Entries) -> anyhow::Result<()> {
    if entries.insert(key.to_owned(), value).is_some() {
        bail!("cannot add key {key:?}, another key by that name already exists");
    }
    Ok(())
}

/// The variables of a file: one on each line, empty lines and those that begin with `#` left out.
fn variables(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Vec<(String, String)>> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut found = Vec::new();
    for line in lines {
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (line, environment(line)),
        };
        let key = checked(key)?;
        // A variable that is not set is left out.
        found.extend(value.map(|value| (key.to_owned(), value)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(entries: &Entries) -> Vec<(&str, &str)> {
        let pairs = entries.iter();
        pairs.map(|(key, value)| (&**key, std::str::from_utf8(value).expect("text"))).collect()
    }

    #[test]
    fn files_are_known_by_their_names_or_by_keys() {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("a.conf"), "one").expect("write");
        fs::write(path("no key"), "left out").expect("write");
        fs::create_dir(path("below")).expect("folder");
        let read = |sources: &[String]| {
            read(&ContentArgs { from_file: sources.to_vec(), ..ContentArgs::default() })
        };
        let named = read(&[path("a.conf"), format!("b={}", path("a.conf"))]).expect("files");
        assert_eq!(text(&named), [("a.conf", "one"), ("b", "one")]);
        let all = read(&[folder.path().display().to_string()]).expect("a directory");
        assert_eq!(text(&all), [("a.conf", "one")]);
        for (source, problem) in [
            (format!("={}", path("a.conf")), "key name for file path"),
            ("a=".into(), "file path for key name a missing"),
            ("a=b=c".into(), "key names or file paths cannot contain '='"),
            (format!("a={}", folder.path().display()), "cannot give a key name for a directory"),
            (path("none"), "error reading"),
            (path("no key"), "is not a valid key name"),
        ] {
            let error = read(std::slice::from_ref(&source)).expect_err(&source).to_string();
            assert!(error.contains(problem), "{error}");
        }
        assert!(read(&[path("a.conf"), path("a.conf")]).is_err());
    }

    #[test]
    fn literals_are_split_at_their_first_sign() {
        let read = |literals: &[&str]| {
            let from_literal = literals.iter().map(|text| (*text).to_owned()).collect();
            read(&ContentArgs { from_literal, ..ContentArgs::default() })
        };
        let entries = read(&["a=b=c", "d="]).expect("literals");
        assert_eq!(text(&entries), [("a", "b=c"), ("d", "")]);
        for wrong in ["hunter2", "=hunter2"] {
            let error = read(&[wrong]).expect_err(wrong).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(read(&["a=1", "a=2"]).is_err());
    }

    #[test]
    fn a_file_of_variables_may_take_some_from_the_environment() {
        let environment = |key: &str| (key == "HOME").then(|| "/root".to_owned());
        let text = "\u{feff}# names\nA=1\r\n\n  B=x=y \nHOME\nUNSET\n";
        let found = variables(text, environment).expect("variables");
        let pairs: Vec<_> = found.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(pairs, [("A", "1"), ("B", "x=y "), ("HOME", "/root")]);
        assert!(variables("a b=1\n", environment).is_err());
    }
}
