//! What a person wrote into `mote.txt`. PURE.
//!
//! ```text
//! # comment
//! fleet  = home
//! broker = mqtt://broker.example:1883
//! ```
//! A line is a name, `=` and a value, quoted or not; editors of every system may have written it. What
//! comes of it is the agent's configuration, which is judged by the rules of that.

use std::fmt::Write as _;
use std::path::Path;

use crate::config::{Config, Problem};

/// Longest name of a file beside `mote.txt`.
const MAX_FILE_NAME: usize = 64;

/// Every name that a line may begin with.
const NAMES: [&str; 9] =
    ["node", "fleet", "groups", "broker", "username", "password", "ca", "cert", "key"];

/// Those whose values are files beside `mote.txt`.
const FILES: [&str; 3] = ["ca", "cert", "key"];

/// What the files beside the configuration may not be called: it is its own, or is written on the way.
const OWN: [&str; 3] = ["agent.toml", PASSWORD, "*.partial"];

/// What was wrong with one line, or with the whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// It is no name with a value.
    #[error("line {line}: not `name = value`")]
    NoValue {
        /// Which, from 1 on.
        line: usize,
    },
    /// Nothing is called so.
    #[error("line {line}: `{name}` is not known; there are {}", NAMES.join(", "))]
    Unknown {
        /// Which line.
        line: usize,
        /// What it begins with.
        name: String,
    },
    /// A name for the second time.
    #[error("line {line}: `{name}` was said before")]
    Twice {
        /// Which line.
        line: usize,
        /// What it begins with.
        name: &'static str,
    },
    /// A value with characters that cannot be seen.
    #[error("line {line}: the value of `{name}` has a control character")]
    Control {
        /// Which line.
        line: usize,
        /// What it begins with.
        name: &'static str,
    },
    /// A file that is not beside `mote.txt`.
    #[error(
        "line {line}: `{name}` must be the name of a file beside this one: at most {MAX_FILE_NAME} letters, digits, `.`, `-` and `_`, not beginning with `.`, and not {}", OWN.join(", ")
    )]
    FileName {
        /// Which line.
        line: usize,
        /// What it begins with.
        name: &'static str,
    },
    /// What the configuration's rules say.
    #[error("{0}")]
    Config(Problem),
}

/// The values of a file without mistakes of form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    values: [Option<String>; NAMES.len()],
}

impl Wanted {
    /// Reads a text; all mistakes at once.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let mut wanted = Self::default();
        let mut mistakes = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in text.lines().enumerate() {
            if let Err(mistake) = wanted.take(number + 1, line.trim()) {
                mistakes.push(mistake);
            }
        }
        if mistakes.is_empty() { Ok(wanted) } else { Err(mistakes) }
    }

    fn take(&mut self, line: usize, text: &str) -> Result<(), Mistake> {
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        let (word, value) = text.split_once('=').ok_or(Mistake::NoValue { line })?;
        let word = word.trim().to_lowercase();
        let place = NAMES.iter().position(|name| *name == word);
        let place = place.ok_or(Mistake::Unknown { line, name: word })?;
        let name = NAMES[place];
        let value = unquoted(value.trim());
        if value.chars().any(char::is_control) {
            return Err(Mistake::Control { line, name });
        }
        if FILES.contains(&name) && !value.is_empty() && !is_file_name(value) {
            return Err(Mistake::FileName { line, name });
        }
        let slot = &mut self.values[place];
        if slot.is_some() {
            return Err(Mistake::Twice { line, name });
        }
        *slot = Some(value.to_owned());
        Ok(())
    }

    /// The value of a name; one that is left empty was not said.
    fn get(&self, name: &str) -> Option<&str> {
        let place = NAMES.iter().position(|own| *own == name)?;
        self.values[place].as_deref().filter(|value| !value.is_empty())
    }

    /// The broker's password, which goes to a file of its own.
    pub fn password(&self) -> Option<&str> {
        self.get("password")
    }

    /// Files beside `mote.txt` that are needed.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        FILES.iter().filter_map(|name| self.get(name))
    }

    /// The configuration, whose files are in `directory`. The node is called `serial` where nothing is
    /// said, and by its host's name where it has no serial number.
    pub fn config(&self, directory: &Path, serial: Option<&str>) -> Result<String, Vec<Mistake>> {
        let mut text =
            String::from("# Made of mote.txt on the boot partition, anew whenever that changes.\n");
        let mut line = |key: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key} = {value}");
        };
        if let Some(node) = self.get("node").or(serial) {
            line("node", quoted(node));
        }
        if let Some(fleet) = self.get("fleet") {
            line("fleet", quoted(fleet));
        }
        if let Some(groups) = self.get("groups") {
            let groups: Vec<_> = groups.split(',').map(|group| quoted(group.trim())).collect();
            line("groups", format!("[{}]", groups.join(", ")));
        }
        line("[broker]\nurl", quoted(self.get("broker").unwrap_or_default()));
        let in_directory = |name: &str| quoted(&directory.join(name).to_string_lossy());
        if let Some(username) = self.get("username") {
            line("username", quoted(username));
        }
        if self.password().is_some() {
            line("password_file", in_directory(PASSWORD));
        }
        for name in FILES {
            if let Some(file) = self.get(name) {
                line(name, in_directory(file));
            }
        }
        match Config::parse(&text, "node", &|_| None) {
            Ok(_) => Ok(text),
            Err(problems) => Err(problems.into_iter().map(config_mistake).collect()),
        }
    }
}

/// The file of the broker's password, beside the configuration.
pub(super) const PASSWORD: &str = "password";

/// Lines are those of a text that nobody has seen.
fn config_mistake(problem: Problem) -> Mistake {
    Mistake::Config(Problem { line: None, ..problem })
}

fn unquoted(value: &str) -> &str {
    let inner = |mark: char| value.strip_prefix(mark)?.strip_suffix(mark);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// As a string of TOML. There are no control characters in it.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn is_file_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let own = |own: &&str| own.strip_prefix('*').map_or(name == *own, |end| name.ends_with(end));
    let is_own = OWN.iter().any(own);
    name.len() <= MAX_FILE_NAME && !name.starts_with('.') && name.bytes().all(allowed) && !is_own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<String, Vec<String>> {
        let say = |mistakes: Vec<Mistake>| mistakes.iter().map(ToString::to_string).collect();
        let wanted = Wanted::parse(text).map_err(say)?;
        wanted.config(Path::new("/etc/mote"), Some("10000000abcdef01")).map_err(say)
    }

    #[test]
    fn the_shortest_file_names_a_fleet_and_a_broker() {
        let text =
            "\u{feff}# of Notepad\r\nFleet=home\r\n\r\nbroker = \"mqtt://broker.example\"\r\n";
        let expected = "# Made of mote.txt on the boot partition, anew whenever that changes.\n\
                        node = \"10000000abcdef01\"\nfleet = \"home\"\n\
                        [broker]\nurl = \"mqtt://broker.example\"\n";
        assert_eq!(config(text).expect("no mistakes"), expected);
    }

    #[test]
    fn everything_that_can_be_said_arrives() {
        let text = "node = pi-7\nfleet = home\ngroups = a, b\nbroker = mqtts://b.example\n\
                    username = u\npassword = p=\"#\\\nca = ca.pem\ncert = n.pem\nkey = n.key\n";
        let made = config(text).expect("no mistakes");
        for line in [
            "node = \"pi-7\"",
            "groups = [\"a\", \"b\"]",
            "username = \"u\"",
            "password_file = \"/etc/mote/password\"",
            "key = \"/etc/mote/n.key\"",
        ] {
            assert!(made.lines().any(|own| own == line), "{line} in {made}");
        }
        let wanted = Wanted::parse(text).expect("no mistakes");
        assert_eq!(wanted.password(), Some("p=\"#\\"));
        assert_eq!(wanted.files().collect::<Vec<_>>(), ["ca.pem", "n.pem", "n.key"]);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let found =
            config("brokr = x\nfleet\nca = ../key\nnode = a\nnode = b\nusername = \u{1}x\n");
        let expected = [
            "line 1: `brokr` is not known; there are node, fleet, groups, broker, username, password, ca, cert, key",
            "line 2: not `name = value`",
            "line 3: `ca` must be the name of a file beside this one: at most 64 letters, digits, `.`, `-` and `_`, not beginning with `.`, and not agent.toml, password, *.partial",
            "line 5: `node` was said before",
            "line 6: the value of `username` has a control character",
        ];
        assert_eq!(found.expect_err("mistakes"), expected);
        let found = config("broker = mqtt://b.example\nnode = Not A Name\n").expect_err("mistakes");
        assert_eq!(found.len(), 2, "no fleet, and a name that is none: {found:?}");
    }

    #[test]
    fn no_file_takes_the_place_of_the_agents_own() {
        for name in ["agent.toml", "password", "ca.partial"] {
            let mistakes = Wanted::parse(&format!("ca = {name}\n"));
            assert_eq!(mistakes, Err(vec![Mistake::FileName { line: 1, name: "ca" }]), "{name}");
        }
        assert!(Wanted::parse("ca = agent.toml.pem\n").is_ok());
    }

    /// What an image ships with.
    #[test]
    fn the_example_lacks_only_what_a_person_must_say() {
        let text = include_str!("../../../cross/boot/mote.txt");
        assert_eq!(Wanted::parse(text), Ok(Wanted::default()), "all is commented out");
        let said = text.replace("#fleet", "fleet").replace("#broker", "broker");
        config(&said).expect("with a fleet and a broker it is complete");
    }
}
