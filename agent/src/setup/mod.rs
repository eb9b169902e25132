//! Makes the node's configuration of `mote.txt`, which a person edited on the boot partition of a card
//! before the board's first boot.
//!
//! It runs before the agent at each boot, and does something when the file, one it names or the board has
//! changed since, or there is no configuration: what an administrator changed in it meanwhile stays until
//! then, also when another version would make it otherwise. What is wrong is written beside the file, where
//! the person will look.

mod wanted;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use wanted::PASSWORD;
pub use wanted::{Mistake, Wanted};

/// Where boot partitions have it: Debian's and newer systems, and older ones.
pub const PLACES: [&str; 2] = ["/boot/firmware/mote.txt", "/boot/mote.txt"];

/// What is wrong with it is told in a file of this name beside it.
const COMPLAINTS: &str = "mote-error.txt";

/// In the state directory: a sum of what the configuration was made of.
const MARK: &str = "setup";

/// Longest file: a chain of certificates has some KiB.
const MAX_FILE: u64 = 64 * 1024;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is no such file.
    Nothing,
    /// It is the one that the configuration was made of.
    Unchanged,
    /// The configuration was made anew.
    Made,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is written there makes no sense.
    #[error("{}: {}", path.display(), .mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// All that is wrong.
        mistakes: Vec<Mistake>,
    },
}

/// Where things are.
#[derive(Clone, Debug)]
pub struct Places {
    /// What a person wrote.
    pub text: PathBuf,
    /// The agent's configuration; other files go beside it.
    pub config: PathBuf,
    /// The agent's state.
    pub state: PathBuf,
    /// What the node is called where nobody says.
    pub serial: Option<String>,
}

/// Does it, and tells on the boot partition what is wrong.
pub fn apply(places: &Places) -> Result<Outcome, SetupError> {
    let complaints = places.text.with_file_name(COMPLAINTS);
    let result = make(places);
    // The boot partition may be read-only: then the journal has it alone.
    let _ = match &result {
        Ok(_) => fs::remove_file(complaints),
        Err(error) => fs::write(complaints, format!("{}\n", crate::log::Chain(error))),
    };
    result
}

fn make(places: &Places) -> Result<Outcome, SetupError> {
    let Places { text: path, config, state, serial } = places;
    let text = match read(path) {
        Err(SetupError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(Outcome::Nothing);
        }
        other => other?,
    };
    let mistaken = |mistakes| SetupError::Mistakes { path: path.clone(), mistakes };
    let wanted = Wanted::parse(&String::from_utf8_lossy(&text)).map_err(mistaken)?;
    let directory = config.parent().unwrap_or(Path::new("/"));
    let made = wanted.config(directory, serial.as_deref()).map_err(mistaken)?;
    let mut sum = Sum::new();
    sum.add(&text);
    sum.add(serial.as_deref().unwrap_or_default().as_bytes());
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    if let Some(password) = wanted.password() {
        files.push((directory.join(PASSWORD), format!("{password}\n").into_bytes()));
    }
    for name in wanted.files() {
        let contents = read(&path.with_file_name(name))?;
        sum.add(&contents);
        files.push((directory.join(name), contents));
    }
    // Last: who finds it finds what it names.
    files.push((config.clone(), made.into_bytes()));
    let mark = state.join(MARK);
    let sum = sum.finish();
    if config.exists() && fs::read(&mark).is_ok_and(|before| before == sum) {
        return Ok(Outcome::Unchanged);
    }
    for directory in [directory, state] {
        fs::create_dir_all(directory).map_err(written(directory))?;
    }
    for (path, contents) in &files {
        replace(path, contents)?;
    }
    replace(&mark, &sum)?;
    Ok(Outcome::Made)
}

fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    let failed = |source| SetupError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(io::Error::other(format!("file exceeds {MAX_FILE} bytes"))));
    }
    Ok(bytes)
}

/// A sum over parts, of which none reaches into the next.
struct Sum(Context);

impl Sum {
    fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn finish(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

/// Puts a file for root alone in its place, whole or not at all.
fn replace(path: &Path, contents: &[u8]) -> Result<(), SetupError> {
    let partial = path.with_extension("partial");
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&partial);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().map_err(written(path))
}

fn written(path: &Path) -> impl FnOnce(io::Error) -> SetupError {
    let path = path.to_owned();
    move |source| SetupError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn places(root: &Path) -> Places {
        Places {
            text: root.join("boot/mote.txt"),
            config: root.join("etc/agent.toml"),
            state: root.join("state"),
            serial: Some("abc".into()),
        }
    }

    fn say(root: &Path, text: &str) {
        fs::create_dir_all(root.join("boot")).expect("create");
        fs::write(root.join("boot/mote.txt"), text).expect("write");
    }

    const SHORT: &str = "fleet = home\nbroker = mqtt://b.example\n";

    const TLS: &str = "fleet = home\nbroker = mqtts://b.example\n";

    #[test]
    fn the_configuration_is_made_when_the_text_changes_and_only_then() {
        let root = tempfile::tempdir().expect("a directory");
        let places = places(root.path());
        assert_eq!(apply(&places).expect("nothing to do"), Outcome::Nothing);

        say(root.path(), &format!("{TLS}username = u\npassword = secret\nca = ca.pem\n"));
        fs::write(root.path().join("boot/ca.pem"), "a certificate").expect("write");
        assert_eq!(apply(&places).expect("made"), Outcome::Made);
        for (name, contents) in [("etc/password", "secret\n"), ("etc/ca.pem", "a certificate")] {
            let path = root.path().join(name);
            assert_eq!(fs::read_to_string(&path).expect("there"), contents);
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }

        fs::write(&places.config, "by hand").expect("write");
        assert_eq!(apply(&places).expect("nothing changed"), Outcome::Unchanged);
        assert_eq!(fs::read_to_string(&places.config).expect("there"), "by hand");

        // The card goes into another board; the configuration is lost.
        let moved = Places { serial: Some("def".into()), ..places.clone() };
        assert_eq!(apply(&moved).expect("made"), Outcome::Made);
        assert_eq!(apply(&moved).expect("nothing changed"), Outcome::Unchanged);
        fs::remove_file(&places.config).expect("removed");
        assert_eq!(apply(&moved).expect("made"), Outcome::Made);
        assert!(fs::read_to_string(&places.config).expect("there").contains("\"def\""));
        assert_eq!(apply(&places).expect("made"), Outcome::Made);

        fs::write(root.path().join("boot/ca.pem"), "another").expect("write");
        assert_eq!(apply(&places).expect("made"), Outcome::Made);
        assert_eq!(fs::read_to_string(root.path().join("etc/ca.pem")).expect("there"), "another");
    }

    /// A later version may write the same in other words.
    #[test]
    fn a_configuration_in_other_words_is_no_reason_to_write_it_anew() {
        let root = tempfile::tempdir().expect("a directory");
        let places = places(root.path());
        say(root.path(), SHORT);
        assert_eq!(apply(&places).expect("made"), Outcome::Made);
        let mut sum = Sum::new();
        sum.add(SHORT.as_bytes());
        sum.add(b"abc");
        assert_eq!(fs::read(places.state.join(MARK)).expect("there"), sum.finish());
    }

    #[test]
    fn a_mistake_is_told_where_the_person_looks_and_changes_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        let places = places(root.path());
        say(root.path(), SHORT);
        apply(&places).expect("made");
        let before = fs::read_to_string(&places.config).expect("there");

        say(root.path(), &format!("{TLS}key = node.key\n"));
        let error = apply(&places).expect_err("there is no certificate to it");
        let complaint = root.path().join("boot/mote-error.txt");
        let told = fs::read_to_string(&complaint).expect("told");
        assert!(told.contains("cert"), "{told} {error}");
        assert_eq!(fs::read_to_string(&places.config).expect("there"), before);

        say(root.path(), SHORT);
        assert_eq!(apply(&places).expect("mended"), Outcome::Unchanged);
        assert!(!complaint.exists());
    }
}
