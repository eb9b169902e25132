//! Somebody who saves images to archives, and what is in those.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;
use mote_tests::operator::{Answer, Operator};
use mote_tests::registry::Registry;

/// Somebody with `mote` and a directory of archives; no broker, no nodes.
pub(crate) struct Laptop {
    operator: Operator,
    /// Where docker's file is looked for.
    pub(crate) home: PathBuf,
    pub(crate) archives: PathBuf,
}

impl Laptop {
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let (home, archives) = (directory.join("laptop"), directory.join("archives"));
        let operator = Operator::new(&home, "127.0.0.1:9".parse()?, "none")?;
        fs::create_dir(&archives)?;
        Ok(Self { operator, home, archives })
    }

    /// A command that finds docker's file at home, and registries without a proxy.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut save = self.operator.command(&[&["image", "save"], words].concat());
        save.env("DOCKER_CONFIG", &self.home).env("HOME", &self.home);
        save.env("NO_PROXY", "*").current_dir(&self.archives);
        save
    }

    pub(crate) fn run(&self, words: &[&str]) -> Result<Answer> {
        let output = self.command(words).stdin(Stdio::null()).output()?;
        Ok(Answer {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Saves from a registry that speaks plain HTTP; gives the archive and what was said.
    pub(crate) fn save(
        &self,
        from: &Registry,
        name: &str,
        words: &[&str],
    ) -> Result<(PathBuf, String)> {
        let host = from.host();
        let words = [&["--plain-http", &host, "-o", name], words].concat();
        Ok((self.archives.join(name), self.run(&words)?.succeeded()?))
    }

    /// What is complained of; nothing may be left behind.
    pub(crate) fn refusal(&self, from: &str, words: &[&str]) -> Result<String> {
        let before = self.names()?;
        let words = [&["--plain-http", from, "-o", "refused.tar"], words].concat();
        let error = self.run(&words)?.refused()?;
        assert_eq!(self.names()?, before, "{error}");
        Ok(error)
    }

    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.archives)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

/// What an archive holds, in its order.
pub(crate) fn entries(archive: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in tar::Archive::new(File::open(archive)?).entries()? {
        let mut entry = entry?;
        assert_eq!((entry.header().mtime()?, entry.header().uid()?), (0, 0));
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        found.push((entry.path()?.to_string_lossy().into_owned(), content));
    }
    Ok(found)
}

/// Its blobs alone.
pub(crate) fn blobs(archive: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let all = entries(archive)?.into_iter();
    Ok(all.filter(|(name, _)| name.starts_with("blobs/")).collect())
}
