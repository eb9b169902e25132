//! Manual pages, generated from what the programs themselves say they understand. PURE.

use std::fmt::Write as _;

use anyhow::Result;
use clap::{Command, CommandFactory as _};
use mote_fleet::cli::Cli;

use super::archive::gzip;
use super::completions::{AGENT_HELP, CTL_HELP};

/// The pages of `mote` and of each of its commands: names without a section, and what is in them,
/// compressed.
pub(super) fn mote() -> Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command();
    // Commands learn their full names by it.
    command.build();
    let mut pages = Vec::new();
    add(&command, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    // Without a date: a page is the same whenever it is made.
    clap_mangen::Man::new(command.clone()).date("").render(&mut page)?;
    pages.push((name, gzip(&page)?));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add(below, pages)?;
    }
    Ok(())
}

/// The agent's page, compressed.
pub(super) fn agent() -> Result<Vec<u8>> {
    gzip(agent_page().as_bytes())
}

fn agent_page() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(".TH MOTE\\-AGENT 8 \"\" \"mote {version}\"\n");
    append(&mut page, AGENT_HELP, "NAME");
    append(&mut page, CTL_HELP, "QUESTIONS TO THE AGENT");
    page.push_str(concat!(
        ".SH FILES\n",
        ".TP\n/etc/mote/agent.toml\nthe configuration; every key with its default is in ",
        "/usr/share/mote\\-agent/agent.toml\n",
        ".TP\n/var/lib/mote\nwhat must survive a power cut\n",
        ".TP\n/run/mote\nwhat must not survive a reboot\n",
        ".SH SEE ALSO\n.BR mote (1)\n",
    ));
    page
}

/// Appends a help text: blocks between empty lines, of which the first says what it is about.
fn append(page: &mut String, help: &str, title: &str) {
    for (number, block) in help.split("\n\n").enumerate() {
        let (first, rest) = block.split_once('\n').unwrap_or((block, ""));
        // Writing to a string cannot fail.
        let _ = match first.strip_suffix(':') {
            _ if number == 0 => {
                writeln!(page, ".SH {title}\n{}", text(&block.replacen(": ", " - ", 1)))
            }
            _ if first.starts_with("Usage:") => {
                let usage = block.replacen("Usage:", "      ", 1);
                writeln!(page, ".{} SYNOPSIS\n.nf\n{}\n.fi", heading(title), text(&usage))
            }
            Some(name) if rest.starts_with("  ") => {
                let _ = writeln!(page, ".SH {}", text(&name.to_uppercase()));
                list(page, rest)
            }
            _ => writeln!(page, ".PP\n{}", text(block)),
        };
    }
}

/// What is below the first section is a section of its own, below others a part.
fn heading(title: &str) -> &'static str {
    if title == "NAME" { "SH" } else { "SS" }
}

fn list(page: &mut String, lines: &str) -> std::fmt::Result {
    for line in lines.lines() {
        let (words, about) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
        writeln!(page, ".TP\n{}\n{}", text(words), text(about.trim()))?;
    }
    Ok(())
}

/// Text that means nothing else to roff.
fn text(plain: &str) -> String {
    let mut escaped = String::new();
    for line in plain.trim_end().split_inclusive('\n') {
        if line.starts_with(['.', '\'']) {
            escaped.push_str("\\&");
        }
        escaped.push_str(&line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq"));
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page() {
        let names: Vec<_> = mote().expect("pages").into_iter().map(|(name, _)| name).collect();
        for name in ["mote", "mote-apply", "mote-image-save", "mote-config-set-context"] {
            assert!(names.iter().any(|one| one == name), "{name} in {names:?}");
        }
    }

    #[test]
    fn the_agents_page_has_what_its_help_has() {
        let page = agent_page();
        assert!(page.contains(".SH NAME\nmote\\-agent \\- runs the pods"), "{page}");
        assert!(page.contains(".TP\n\\-\\-config FILE\nconfiguration; default"), "{page}");
        assert!(page.contains("images [ls | pull IMAGE"), "{page}");
        assert_eq!(text(".x\n'y\\"), "\\&.x\n\\&\\(aqy\\e");
    }
}
