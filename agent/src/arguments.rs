//! The command line: what this start of the program is for.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config;

/// Shown for `--help`.
pub const HELP: &str = include_str!("help.txt");

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Be the agent.
    Run {
        /// Its configuration.
        config: PathBuf,
    },
    /// Check a configuration.
    Check {
        /// Which.
        config: PathBuf,
    },
    /// One step of the container runtime: a process of its own, started by `mote-pause`.
    Runtime(Vec<OsString>),
    /// One pull of an image: a process of its own, started by the agent.
    Pull(Vec<OsString>),
    /// A look at this machine: a process of its own, started by whoever examines it.
    Examine {
        /// The configuration of its agent.
        config: PathBuf,
    },
    /// A question to the running agent.
    Ctl {
        /// Its configuration.
        config: PathBuf,
        /// The question.
        arguments: Vec<OsString>,
    },
    /// End everything that runs in pods.
    Halt {
        /// The configuration of the agent that started it.
        config: PathBuf,
    },
    /// Make the configuration of what a person wrote on the boot partition.
    Setup {
        /// The configuration to make.
        config: PathBuf,
        /// What the person wrote, where it is not in its usual place.
        text: Option<PathBuf>,
    },
    /// Show the help.
    Help,
    /// Show the version.
    Version,
}

/// Why a command line makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}; see `mote-agent --help`")]
pub struct UsageError(lexopt::Error);

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error)
    }
}

impl Command {
    /// Reads a command line without its first word, and `MOTE_AGENT_CONFIG`.
    pub fn parse<I>(arguments: I, config: Option<OsString>) -> Result<Self, UsageError>
    where
        I: IntoIterator<Item = OsString>,
    {
        use lexopt::Arg::{Long, Value};
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut config = config.map_or_else(|| config::DEFAULT_PATH.into(), PathBuf::from);
        let mut check = false;
        while let Some(argument) = parser.next()? {
            match argument {
                Long("config") => config = parser.value()?.into(),
                Long("check") => check = true,
                Long("help") => return Ok(Self::Help),
                Long("version") => return Ok(Self::Version),
                Value(word) => {
                    let rest: Vec<_> = parser.raw_args()?.collect();
                    return match word.to_str() {
                        Some("runtime") => Ok(Self::Runtime(rest)),
                        Some("pull") => Ok(Self::Pull(rest)),
                        Some("examine") if rest.is_empty() => Ok(Self::Examine { config }),
                        Some("halt") if rest.is_empty() => Ok(Self::Halt { config }),
                        Some("setup") if rest.len() < 2 => {
                            Ok(Self::Setup { config, text: rest.first().map(PathBuf::from) })
                        }
                        Some("ctl") => Ok(Self::Ctl { config, arguments: rest }),
                        _ => Err(Value(word).unexpected().into()),
                    };
                }
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(if check { Self::Check { config } } else { Self::Run { config } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace().map(OsString::from), None)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_start_of_the_program_has_its_command_line() {
        let default = PathBuf::from("/etc/mote/agent.toml");
        let rest = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(parse(""), Ok(Command::Run { config: default.clone() }));
        assert_eq!(parse("--config x"), Ok(Command::Run { config: "x".into() }));
        assert_eq!(parse("--check --config=x"), Ok(Command::Check { config: "x".into() }));
        assert_eq!(parse("--check"), Ok(Command::Check { config: default }));
        assert_eq!(parse("runtime create --x"), Ok(Command::Runtime(rest(&["create", "--x"]))));
        let arguments = rest(&["pods", "-o", "wide"]);
        assert_eq!(
            parse("--config x ctl pods -o wide"),
            Ok(Command::Ctl { config: "x".into(), arguments })
        );
        let examine = Command::Examine { config: "x".into() };
        assert_eq!(parse("--config x examine"), Ok(examine));
        assert_eq!(parse("--config x halt"), Ok(Command::Halt { config: "x".into() }));
        let setup = |text: Option<&str>| Command::Setup {
            config: "x".into(),
            text: text.map(PathBuf::from),
        };
        assert_eq!(parse("--config x setup"), Ok(setup(None)));
        assert_eq!(parse("--config x setup y"), Ok(setup(Some("y"))));
        assert_eq!(parse("pull"), Ok(Command::Pull(rest(&[]))));
        assert_eq!(parse("--help"), Ok(Command::Help));
        assert_eq!(parse("--version"), Ok(Command::Version));
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(
            parse("--confg x"),
            Err("invalid option '--confg'; see `mote-agent --help`".to_owned())
        );
        assert!(parse("pods").is_err());
        assert!(parse("--config").is_err());
    }

    #[test]
    fn the_environment_names_another_configuration() {
        let parsed = Command::parse([], Some("/x.toml".into())).expect("valid");
        assert_eq!(parsed, Command::Run { config: "/x.toml".into() });
    }
}
