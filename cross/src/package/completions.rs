//! Completions for shells, generated from what the programs themselves say they understand.
//!
//! `mote` hands out its command line as a value. The agent reads its own by hand, for its size's
//! sake; what it understands is read from its help, which its tests compare with what it does. PURE.

use clap::{Arg, ArgAction, Command, CommandFactory as _};
use mote_fleet::cli::Cli;

pub(super) use clap_complete::Shell;

/// What `mote-agent --help` prints.
pub(super) const AGENT_HELP: &str = include_str!("../../../agent/src/help.txt");

/// What `mote-agent ctl --help` prints.
pub(super) const CTL_HELP: &str = include_str!("../../../agent/src/ctl/help.txt");

/// What introduces a question to the agent, in a line of its usage.
const CTL: &str = "mote-agent ctl ";

pub(super) fn mote(shell: Shell) -> Vec<u8> {
    generate(shell, &mut Cli::command())
}

pub(super) fn agent(shell: Shell) -> Vec<u8> {
    generate(shell, &mut agent_command())
}

fn generate(shell: Shell, command: &mut Command) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    script
}

/// What the agent understands.
fn agent_command() -> Command {
    let mut ctl = Command::new("ctl").about("ask the running agent").disable_help_subcommand(true);
    for usage in usages(CTL_HELP) {
        ctl = ctl.subcommand(question(usage));
    }
    let mut command = Command::new("mote-agent").disable_help_subcommand(true).subcommand(ctl);
    for (words, about) in entries(AGENT_HELP, "Options:") {
        let mut words = words.split_whitespace();
        let Some(name) = words.next().and_then(|word| word.strip_prefix("--")) else { continue };
        // clap has these of its own.
        if !matches!(name, "help" | "version") {
            command = command.arg(flag(name, words.next()).help(about));
        }
    }
    for (words, about) in entries(AGENT_HELP, "Commands (") {
        let mut words = words.split_whitespace();
        if let (Some(name), None) = (words.next(), words.next()) {
            command = command.subcommand(Command::new(name).about(about));
        }
    }
    command
}

/// The lines of the section that `heading` begins: what is typed, and what it is for.
pub(super) fn entries(help: &'static str, heading: &str) -> Vec<(&'static str, &'static str)> {
    let lines = help.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    let section = lines.take_while(|line| line.starts_with("  "));
    section.filter_map(|line| line.trim().split_once("  ")).map(|(a, b)| (a, b.trim())).collect()
}

/// The words of each question in a usage text, from behind [`CTL`], those in lines that go on with
/// it included.
fn usages(help: &'static str) -> Vec<Vec<&'static str>> {
    let mut found: Vec<Vec<_>> = Vec::new();
    let lines = help.lines().skip_while(|line| !line.starts_with("Usage:"));
    for line in lines.take_while(|line| !line.is_empty()) {
        match (line.split_once(CTL), found.last_mut()) {
            (Some((_, usage)), _) => found.push(usage.split_whitespace().collect()),
            (None, Some(last)) => last.extend(line.split_whitespace()),
            (None, None) => {}
        }
    }
    found
}

/// `images [ls | pull IMAGE]`, `logs POD [-f] [--tail N]`: words in small letters are commands, and
/// what begins with a dash is a flag, with a value where one stands before the bracket closes.
fn question(usage: Vec<&'static str>) -> Command {
    let mut words = usage.into_iter().peekable();
    let name = words.next().unwrap_or_default();
    let prefix = format!("ctl {name}");
    let lines = entries(AGENT_HELP, "Commands (");
    let about = lines.iter().find(|(words, _)| words.starts_with(&prefix));
    let mut command = Command::new(name).about(about.map_or("", |(_, about)| *about));
    while let Some(word) = words.next() {
        let bare = word.trim_matches(['[', ']', '|']);
        if bare == "--" {
            // What follows is another program's.
            break;
        }
        if let Some(name) = bare.strip_prefix('-') {
            let takes_value = !word.ends_with(']');
            let value =
                if takes_value { words.next_if(|next| !next.starts_with('|')) } else { None };
            let value = value.map(|value| value.trim_matches([']', '[']));
            command = command.arg(flag(name.trim_start_matches('-'), value));
        } else if !bare.is_empty() && bare.chars().all(|letter| letter.is_ascii_lowercase()) {
            command = command.subcommand(Command::new(bare));
        }
    }
    command
}

/// A flag of one letter or more. A value in small letters is the only one.
fn flag(name: &'static str, value: Option<&'static str>) -> Arg {
    let arg = Arg::new(name);
    let mut letters = name.chars();
    let arg = match (letters.next(), letters.next()) {
        (Some(letter), None) => arg.short(letter),
        _ => arg.long(name),
    };
    match value {
        Some(value) if value.chars().all(|letter| letter.is_ascii_lowercase()) => {
            arg.value_parser([value])
        }
        Some(value) => arg.value_hint(hint(value)).value_name(value),
        None => arg.action(ArgAction::SetTrue),
    }
}

fn hint(value: &str) -> clap::ValueHint {
    if value == "FILE" { clap::ValueHint::FilePath } else { clap::ValueHint::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_help_is_read_as_it_is_meant() {
        let command = agent_command();
        command.clone().debug_assert();
        assert!(command.get_arguments().any(|arg| arg.get_long() == Some("config")));
        let ctl = command.find_subcommand("ctl").expect("questions");
        let names: Vec<_> = ctl.get_subcommands().map(Command::get_name).collect();
        assert_eq!(
            names,
            ["pods", "describe", "images", "events", "top", "doctor", "logs", "exec"]
        );
        let find = |name: &str| ctl.find_subcommand(name).expect("a question");
        let images: Vec<_> = find("images").get_subcommands().map(Command::get_name).collect();
        assert_eq!(images, ["ls", "pull", "import", "export", "verify", "rm", "prune"]);
        let tail = find("logs").get_arguments().find(|arg| arg.get_long() == Some("tail"));
        assert!(tail.is_some_and(|arg| arg.get_action().takes_values()));
        let follow = find("logs").get_arguments().find(|arg| arg.get_short() == Some('f'));
        assert!(follow.is_some_and(|arg| !arg.get_action().takes_values()));
        assert_eq!(
            find("pods").get_about().map(ToString::to_string).as_deref(),
            Some("pods of this node")
        );
    }

    #[test]
    fn every_shell_gets_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(mote(shell)).expect("text");
            assert!(script.contains("apply") && script.contains("doctor"), "{shell}");
            let script = String::from_utf8(agent(shell)).expect("text");
            assert!(script.contains("ctl") && script.contains("prune"), "{shell}");
        }
    }
}
