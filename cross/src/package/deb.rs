//! Debian's binary packages: what dpkg wants beside the files.

use std::fmt::Write as _;

use anyhow::Result;

use super::archive::{ar, gzip, tar};
use super::contents::Entry;

/// A package.
#[derive(Debug)]
pub(super) struct Deb<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    /// As dpkg calls it.
    pub(super) architecture: &'a str,
    /// One line.
    pub(super) summary: &'a str,
    /// Lines of text.
    pub(super) description: &'a str,
    /// Further fields of `control`, each a line.
    pub(super) fields: &'a str,
    /// `postinst` and its like, by their names.
    pub(super) scripts: &'a [(&'a str, &'a str)],
    pub(super) entries: &'a [Entry],
}

impl Deb<'_> {
    /// The file's name.
    pub(super) fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version, self.architecture)
    }

    /// The file.
    pub(super) fn pack(&self, time: u64) -> Result<Vec<u8>> {
        let mut about = vec![Entry::data("control", self.control())];
        let conffiles = self.conffiles();
        if !conffiles.is_empty() {
            about.push(Entry::data("conffiles", conffiles));
        }
        about.extend(self.scripts.iter().map(|(name, text)| Entry::program(name, *text)));
        let about = gzip(&tar("./", &about, time)?)?;
        let files = gzip(&tar("./", self.entries, time)?)?;
        let members: [(&str, &[u8]); 3] =
            [("debian-binary", b"2.0\n"), ("control.tar.gz", &about), ("data.tar.gz", &files)];
        ar(&members, time)
    }

    fn control(&self) -> String {
        let Self { name, version, architecture, summary, fields, .. } = self;
        // As dpkg counts: in KiB, a file at a time.
        let size: u64 =
            self.entries.iter().map(|entry| (entry.contents.len() as u64).div_ceil(1024)).sum();
        let mut text = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n\
             Maintainer: mote <mote@localhost>\nInstalled-Size: {size}\n\
             Section: admin\nPriority: optional\n{fields}Description: {summary}\n"
        );
        for line in self.description.lines() {
            let line = if line.is_empty() { "." } else { line };
            // Writing to a string cannot fail.
            let _ = writeln!(text, " {line}");
        }
        text
    }

    /// What is an administrator's as soon as it is installed: all of `/etc`.
    fn conffiles(&self) -> String {
        let files = self.entries.iter().filter(|entry| entry.path.starts_with("etc/"));
        files.flat_map(|entry| ["/", &entry.path, "\n"]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deb(entries: &[Entry]) -> Deb<'_> {
        Deb {
            name: "x",
            version: "1",
            architecture: "all",
            summary: "a test",
            description: "One line.\n\nAnother.",
            fields: "Recommends: y\n",
            scripts: &[],
            entries,
        }
    }

    #[test]
    fn what_is_below_etc_is_the_administrators() {
        let entries = [Entry::data("etc/x/y", "z"), Entry::program("usr/bin/x", vec![0; 1025])];
        let deb = deb(&entries);
        assert_eq!(deb.conffiles(), "/etc/x/y\n");
        let control = deb.control();
        assert!(control.contains("\nInstalled-Size: 3\n"), "{control}");
        assert!(control.ends_with("Description: a test\n One line.\n .\n Another.\n"), "{control}");
        assert_eq!(deb.file_name(), "x_1_all.deb");
    }
}
