//! Where secrets are, and where they are not.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use mote_protocol::status::Phase;
use mote_tests::manifest::{pod, secret};
use mote_tests::world::{BUSYBOX, World};
use serde_json::json;

const WORD: &str = "correct-horse-battery-staple";

/// Files below a directory that hold the word.
fn telling(directory: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            telling(&entry.path(), found)?;
        } else if kind.is_file() {
            let bytes = fs::read(entry.path())?;
            if bytes.windows(WORD.len()).any(|part| part == WORD.as_bytes()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    Ok(())
}

#[test]
fn a_secret_is_never_on_flash_in_clear_and_survives_a_power_cut_without_a_broker() -> Result<()> {
    let mut world = World::new()?;
    let mut node = world.node("n1")?;
    world.operator.apply(&secret("login", json!({"word": WORD})), &node)?;
    let reference = json!({"name": "login", "key": "word"});
    let manifest = pod("web")
        .container("main", BUSYBOX, &["sh", "-c", "cat /s/word; echo; exec sleep 1001"])
        .with("env", json!([{"name": "WORD", "valueFrom": {"secretKeyRef": reference}}]))
        .volume("s", json!({"secret": {"secretName": "login"}}), "/s");
    world.operator.apply(&manifest, &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    let on_flash = || -> Result<Vec<String>> {
        let mut found = Vec::new();
        telling(&node.state(), &mut found)?;
        Ok(found)
    };
    assert_eq!(on_flash()?, [""; 0]);
    assert!(node.state().join("spec/secret/default/login").exists(), "it is kept all the same");
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let place = node.run().join("secrets").display().to_string();
    let line = mounts.lines().find(|line| line.contains(&place)).context("a mount of its own")?;
    let never_swapped = line.contains(" - ramfs ") || line.ends_with(",noswap");
    assert!(never_swapped, "{line}");
    assert!(!node.log().contains(WORD), "the agent's log tells it");

    world.broker.stop()?;
    node.power_off()?;
    node.start()?;
    node.agent()?.wait_for_line("reason=Started")?;
    let root = format!("/proc/{}/root", node.process("sleep 1001")?.as_raw_nonzero());
    assert_eq!(fs::read_to_string(format!("{root}/s/word"))?, WORD);
    Ok(())
}

#[test]
fn another_board_cannot_read_what_a_card_holds() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    world.operator.apply(&secret("login", json!({"word": WORD})), &node)?;
    node.terminate()?;
    // Another board has another key; here the half of it that is on flash is another.
    let key = node.state().join("device-key");
    assert!(fs::metadata(&key)?.len() < 100);
    fs::remove_file(&key)?;
    node.start()?;
    let message = world.wait_for_event(&node, "UnusableFile")?;
    assert!(message.contains("spec/secret/default/login"), "{message}");
    // The broker says it again, and all is well: the pod that needs it runs.
    let manifest = pod("web")
        .once()
        .container("main", BUSYBOX, &["sh", "-c", "echo $(cat /s/word)"])
        .volume("s", json!({"secret": {"secretName": "login"}}), "/s");
    assert_eq!(super::printed(&world, &node, "web", &manifest)?, format!("{WORD}\n"));
    Ok(())
}

#[test]
fn deleted_it_is_gone_everywhere() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    world.operator.apply(&secret("login", json!({"word": WORD})), &node)?;
    assert!(world.operator.run(&["get", "secrets"])?.succeeded()?.contains("login"));
    let described = world.operator.run(&["describe", "secret", "login"])?.succeeded()?;
    assert!(described.contains("word:") && !described.contains(WORD), "{described}");
    world.operator.run(&["delete", "secret", "login", "--node", "n1"])?.succeeded()?;
    assert!(!node.state().join("spec/secret/default/login").exists());
    let gone = world.operator.run(&["get", "secret", "login"])?.refused()?;
    assert!(gone.contains("not found"), "{gone}");
    Ok(())
}
