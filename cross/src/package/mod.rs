//! What is installed: Debian packages, and an archive for everybody else.
//!
//! `mote-agent` is for nodes, `mote` for those who operate them; the archive holds the files of both.
//! Bytes depend on the sources alone, as those of the programs do.
//!
//! | module | what it stands for |
//! |---|---|
//! | [`contents`] | which files, and where they go |
//! | [`archive`], [`deb`] | how they are packed |
//! | [`completions`], [`manual`] | what is generated from the command lines |

mod archive;
mod completions;
mod contents;
mod deb;
mod manual;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::release::Release;
use crate::target::Target;
use crate::workspace;
use contents::Entry;
use deb::Deb;

/// What is done when the agent's package comes and goes.
const SCRIPTS: [(&str, &str); 3] = [
    ("postinst", include_str!("../../debian/postinst.sh")),
    ("prerm", include_str!("../../debian/prerm.sh")),
    ("postrm", include_str!("../../debian/postrm.sh")),
];

/// Packs a release into `directory`; `version` is Debian's. Returns the files: the agent's package and
/// the tool's, where the target has packages, and the archive.
pub fn pack(release: &Release, version: &str, directory: &Path) -> Result<Vec<PathBuf>> {
    let time = time_of_sources();
    let (node, operator) = (contents::node(release)?, contents::operator(release)?);
    let agent = agent(release.target, version, &node);
    let mote = mote(release.target, version, &operator);
    let name = format!("mote-{version}-{}", release.target.name());
    let all = [node.as_slice(), &operator, &contents::beside()?].concat();
    let archive = archive::gzip(&archive::tar(&format!("{name}/"), &all, time)?)?;
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let mut files = Vec::new();
    if release.target.has_package() {
        for package in [agent, mote] {
            files.push(write(&directory.join(package.file_name()), &package.pack(time)?)?);
        }
    }
    files.push(write(&directory.join(format!("{name}.tar.gz")), &archive)?);
    Ok(files)
}

fn agent<'a>(target: Target, version: &'a str, entries: &'a [Entry]) -> Deb<'a> {
    Deb {
        name: "mote-agent",
        version,
        architecture: target.debian(),
        summary: "runs the pods that an MQTT broker holds for this node",
        description: "One static program for boards: it receives Kubernetes pod specs over MQTT, runs\n\
                      them with an OCI runtime of its own, keeps them running with no network, and\n\
                      reports their phases and the node's conditions.",
        fields: "Depends: init-system-helpers (>= 1.52)\nRecommends: ca-certificates, nftables\n",
        scripts: &SCRIPTS,
        entries,
    }
}

fn mote<'a>(target: Target, version: &'a str, entries: &'a [Entry]) -> Deb<'a> {
    Deb {
        name: "mote",
        version,
        architecture: target.debian(),
        summary: "operate a fleet of nodes through an MQTT broker",
        description: "What kubectl is for a cluster: applies pods to nodes that run mote-agent, shows\n\
                      them, their logs and events, and tells what ails a node.",
        fields: "Recommends: ca-certificates\n",
        scripts: &[],
        entries,
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))?;
    Ok(path.to_owned())
}

/// When the sources were committed, in seconds since 1970; 1970 itself where nobody knows.
fn time_of_sources() -> u64 {
    let mut git = std::process::Command::new("git");
    git.args(["log", "--max-count=1", "--format=%ct"]).current_dir(workspace::root());
    let said = git.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Library, Route};

    fn names(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().filter_map(|path| path.file_name()?.to_str()).collect()
    }

    #[test]
    fn two_packages_of_one_release_are_the_same() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let program = directory.path().join("program");
        fs::write(&program, "#!/bin/sh\n")?;
        let release = Release {
            target: Target::Armv6,
            route: Route { library: Library::Rustup, zig: None },
            agent: program.clone(),
            mote: program.clone(),
            pause: program,
        };
        let first = pack(&release, "0.1.0", &directory.path().join("first"))?;
        let again = pack(&release, "0.1.0", &directory.path().join("again"))?;
        for (first, again) in first.iter().zip(&again) {
            assert_eq!(first.file_name(), again.file_name());
            assert_eq!(fs::read(first)?, fs::read(again)?, "{}", first.display());
        }
        let expected =
            ["mote-agent_0.1.0_armhf.deb", "mote_0.1.0_armhf.deb", "mote-0.1.0-armv6.tar.gz"];
        assert_eq!(names(&first), expected);

        // There is one package for all that Debian calls armhf.
        let other = Release { target: Target::Armv7, ..release };
        let other = pack(&other, "0.1.0", &directory.path().join("first"))?;
        assert_eq!(names(&other), ["mote-0.1.0-armv7.tar.gz"]);
        Ok(())
    }
}
