//! A package comes, is replaced, goes, and leaves nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Result, ensure};
use mote_cross::debian::run;
use tempfile::tempdir;

use crate::tree::{Tree, packages};

const CONFIG: &str = "etc/mote/agent.toml";
const ENABLED: &str = "etc/systemd/system/multi-user.target.wants/mote-agent.service";

#[test]
fn the_agents_package_comes_is_replaced_and_goes() -> Result<()> {
    let directory = tempdir()?;
    let [old, ..] = packages("0.1.0", &directory.path().join("old"))?;
    let [new, ..] = packages("0.2.0", &directory.path().join("new"))?;
    let tree = Tree::new()?;
    tree.pretend_to_be_booted()?;
    let before = tree.names()?;

    tree.install(&old)?;
    let mode = fs::metadata(tree.path(CONFIG))?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the configuration may hold names: {mode:o}");
    ensure!(tree.read(CONFIG)? == tree.read("usr/share/mote-agent/agent.toml")?, "the example");
    let calls = tree.calls()?;
    ensure!(
        calls.contains("daemon-reload") && calls.contains("--create mote-agent.conf"),
        "{calls}"
    );
    ensure!(calls.contains("preset mote-agent.service"), "the service is enabled: {calls}");
    ensure!(!calls.contains("start"), "nobody has said which broker: {calls}");

    // What an administrator and the agent wrote stays, nobody is asked, and the agent alone starts anew.
    tree.write(CONFIG, "fleet = \"home\"\n")?;
    tree.write("var/lib/mote/spec/x", "x")?;
    tree.write("run/mote/x", "x")?;
    tree.write("etc/apparmor.d/mote-default", "# mine\n")?;
    tree.install(&new)?;
    ensure!(tree.read(CONFIG)? == "fleet = \"home\"\n", "the configuration is the administrator's");
    ensure!(tree.read("etc/apparmor.d/mote-default")? == "# mine\n", "and so is the profile");
    let calls = tree.calls()?;
    ensure!(calls.contains("restart mote-agent.service"), "{calls}");
    ensure!(!calls.contains("stop") && !calls.contains("mote-pods"), "pods go on: {calls}");

    tree.run(&["dpkg", "--remove", "mote-agent"])?;
    let calls = tree.calls()?;
    ensure!(calls.contains("stop mote-agent.service mote-pods.service"), "{calls}");
    let rules = "mote-pods.service\nnft delete table inet mote\n";
    ensure!(calls.contains(rules), "after the agent, its rules: {calls}");
    ensure!(!tree.exists("usr/bin/mote-agent"), "the program is gone");
    ensure!(tree.exists(CONFIG) && tree.exists("var/lib/mote/spec/x"), "what is no program stays");

    // Whoever has a configuration has a node that starts by itself.
    tree.install(&new)?;
    let calls = tree.calls()?;
    ensure!(calls.contains("start mote-agent.service"), "{calls}");

    // Somebody keeps the package while it is being removed.
    tree.run(&["/var/lib/dpkg/info/mote-agent.postinst", "abort-remove", "in-favour", "x", "1"])?;
    let calls = tree.calls()?;
    ensure!(calls.contains("start mote-agent.service"), "what was stopped goes on: {calls}");

    tree.write("etc/mote/node.key", "mine")?;
    tree.run_with_mounts(&["run/mote/pods/x", "run/mote/pods/x/y"], "dpkg --purge mote-agent")?;
    ensure!(tree.exists("etc/mote/node.key"), "keys are not the package's to remove");
    fs::remove_dir_all(tree.path("etc/mote"))?;
    fs::remove_file(tree.path("var/log/calls"))?;
    let after = tree.names()?;
    let left: Vec<_> = after.difference(&before).collect();
    let lost: Vec<_> = before.difference(&after).collect();
    ensure!(left.is_empty() && lost.is_empty(), "left behind: {left:?}; lost: {lost:?}");
    Ok(())
}

#[test]
fn a_service_that_was_disabled_stays_so() -> Result<()> {
    let directory = tempdir()?;
    let [old, ..] = packages("0.1.0", &directory.path().join("old"))?;
    let [new, ..] = packages("0.2.0", &directory.path().join("new"))?;
    let tree = Tree::new()?;
    tree.install(&old)?;
    ensure!(tree.exists(ENABLED), "the service is enabled");
    fs::remove_file(tree.path(ENABLED))?;
    fs::remove_file(tree.path(CONFIG))?;
    tree.install(&new)?;
    ensure!(!tree.exists(ENABLED), "who disabled it meant it");
    ensure!(!tree.exists(CONFIG), "and who removed the configuration, too");
    Ok(())
}

#[test]
fn the_tools_package_and_the_archive_hold_what_they_should() -> Result<()> {
    let directory = tempdir()?;
    let [_, mote, archive] = packages("0.1.0", directory.path())?;
    let tree = Tree::new()?;
    tree.install(&mote)?;
    for path in [
        "usr/bin/mote",
        "usr/share/man/man1/mote-apply.1.gz",
        "usr/share/bash-completion/completions/mote",
        "usr/share/doc/mote/copyright",
    ] {
        ensure!(tree.exists(path), "{path}");
    }
    tree.run(&["bash", "-n", "/usr/share/bash-completion/completions/mote"])?;

    let mut unpack = Command::new("tar");
    unpack.arg("--extract").arg("--file").arg(archive).arg("--directory").arg(directory.path());
    run(&mut unpack)?;
    let top = fs::read_dir(directory.path())?.flatten();
    let top = top.map(|entry| entry.path()).find(|path| path.is_dir());
    let top = top.expect("a directory of its own");
    for path in [
        "LICENSE",
        "usr/bin/mote",
        "usr/bin/mote-agent",
        "usr/lib/systemd/system/mote-agent.service",
    ] {
        ensure!(top.join(path).is_file(), "{path}");
    }
    Ok(())
}
