//! The files of packages, and where each goes.

use std::fs;

use anyhow::{Context, Result};

use super::completions::{self, Shell};
use super::manual;
use crate::release::Release;
use crate::workspace;

/// Whose the packages are, in the form that Debian reads.
const COPYRIGHT: &str = include_str!("../../debian/copyright");

/// A file that is installed.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where, from the root and without a slash before it.
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) contents: Vec<u8>,
}

impl Entry {
    pub(super) fn data(path: &str, contents: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: 0o644, contents: contents.into() }
    }

    pub(super) fn program(path: &str, contents: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: 0o755, contents: contents.into() }
    }
}

/// What a node has.
pub(super) fn node(release: &Release) -> Result<Vec<Entry>> {
    let mut entries = vec![
        Entry::program("usr/bin/mote-agent", read(&release.agent)?),
        unit("mote-agent.service")?,
        unit("mote-pods.service")?,
        unit("mote-setup.service")?,
        Entry::data("usr/lib/tmpfiles.d/mote-agent.conf", source("systemd/tmpfiles.conf")?),
        // An example only: the configuration is made of it once, and is the administrator's then. A
        // file that everybody must change would be asked about at each upgrade.
        Entry::data("usr/share/mote-agent/agent.toml", source("systemd/agent.toml")?),
        Entry::data("etc/apparmor.d/mote-default", source("systemd/apparmor/mote-default")?),
        Entry::data("usr/share/man/man8/mote-agent.8.gz", manual::agent()?),
    ];
    entries.extend(documents("mote-agent")?);
    entries.extend(shells("mote-agent", completions::agent));
    Ok(entries)
}

/// What an operator has.
pub(super) fn operator(release: &Release) -> Result<Vec<Entry>> {
    let mut entries = vec![Entry::program("usr/bin/mote", read(&release.mote)?)];
    for (name, page) in manual::mote()? {
        entries.push(Entry::data(&format!("usr/share/man/man1/{name}.1.gz"), page));
    }
    entries.extend(documents("mote")?);
    entries.extend(shells("mote", completions::mote));
    Ok(entries)
}

/// What an archive has beside what is installed.
pub(super) fn beside() -> Result<[Entry; 2]> {
    Ok([Entry::data("LICENSE", source("LICENSE")?), Entry::data("README.md", source("README.md")?)])
}

fn unit(name: &str) -> Result<Entry> {
    let contents = source(&format!("systemd/{name}"))?;
    Ok(Entry::data(&format!("usr/lib/systemd/system/{name}"), contents))
}

fn documents(package: &str) -> Result<Vec<Entry>> {
    let changes = super::archive::gzip(&source("CHANGELOG.md")?)?;
    let directory = format!("usr/share/doc/{package}");
    Ok(vec![
        Entry::data(&format!("{directory}/copyright"), COPYRIGHT),
        Entry::data(&format!("{directory}/CHANGELOG.md.gz"), changes),
    ])
}

fn shells(program: &str, generate: fn(Shell) -> Vec<u8>) -> [Entry; 3] {
    let places = [
        (Shell::Bash, format!("usr/share/bash-completion/completions/{program}")),
        (Shell::Zsh, format!("usr/share/zsh/vendor-completions/_{program}")),
        (Shell::Fish, format!("usr/share/fish/vendor_completions.d/{program}.fish")),
    ];
    places.map(|(shell, path)| Entry::data(&path, generate(shell)))
}

fn source(path: &str) -> Result<Vec<u8>> {
    read(&workspace::root().join(path))
}

fn read(path: &std::path::Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}
