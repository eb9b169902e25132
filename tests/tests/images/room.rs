//! What goes and what stays: at the machine by command, and by itself where there is no room.

use std::fs;

use anyhow::{Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::card::Card;
use mote_tests::image::{Builder, Image, Layer};
use mote_tests::manifest::pod;
use mote_tests::node::Node;
use mote_tests::random::Random;
use mote_tests::world::{BUSYBOX, World, container};
use serde_json::json;

/// What a command that must fail complains of.
fn refusal(node: &Node, words: &[&str]) -> Result<String> {
    let answer = node.ctl_command(words).output()?;
    ensure!(!answer.status.success(), "{words:?} must be refused");
    Ok(String::from_utf8(answer.stderr)?)
}

#[test]
fn images_come_and_go_by_command_and_what_is_in_use_stays() -> Result<()> {
    let world = World::new()?;
    let registry = world.registry()?;
    let layer = Layer::default().file("etc/x", 0o644, b"x");
    let image = Builder::default().layer(layer).build()?;
    let reference = registry.push(&image, "tools/x", "1")?;
    let mut options = world.options("n1");
    options.registries.push(registry.host());
    options.extra = "images.pinned = [\"test.local/pinned:1\"]".into();
    let node = world.node_with(options)?;
    world.operator.apply(&pod("web").container("main", BUSYBOX, &["sleep", "1001"]), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;

    let pulled = node.ctl(&["images", "pull", &reference])?;
    ensure!(pulled.starts_with(&format!("Pulled {}", image.manifest().digest)), "{pulled}");
    let again = node.ctl(&["images", "pull", &reference])?;
    ensure!(again.starts_with("Up to date"), "{again}");
    let pinned = world.directory().join("pinned.tar");
    let layer = Layer::default().file("etc/y", 0o644, b"y");
    Builder::default().layer(layer).build()?.write_archive(&pinned, "test.local/pinned:1")?;
    let imported = node.ctl(&["images", "import", &pinned.display().to_string()])?;
    assert_eq!(imported, "Imported test.local/pinned:1\n");

    let used = refusal(&node, &["images", "rm", BUSYBOX])?;
    ensure!(used.contains("is used by pod default/web"), "{used}");
    let kept = refusal(&node, &["images", "rm", "test.local/pinned:1"])?;
    ensure!(kept.contains("which pins it"), "{kept}");
    let unknown = refusal(&node, &["images", "rm", &reference, "nobody/has:this"])?;
    ensure!(unknown.contains("no image \"nobody/has:this\""), "{unknown}");
    ensure!(node.ctl(&["images"])?.contains("tools/x"), "where one cannot go, none does");
    let removed = node.ctl(&["images", "rm", &reference])?;
    ensure!(removed.contains(&format!("Untagged: {reference}")), "{removed}");
    ensure!(!node.ctl(&["images", "ls"])?.contains("tools/x"), "it is gone");

    let sound = node.ctl(&["images", "verify"])?;
    assert_eq!(sound, "2 of 2 layers are as they were unpacked\n");
    let nothing = node.ctl(&["images", "prune"])?;
    assert_eq!(nothing, "Total reclaimed space: 0B\n");
    world.operator.run(&["delete", "pod", "web", "--node", "n1"])?.succeeded()?;
    world.wait_until_gone(&node, "web")?;
    let pruned = node.ctl(&["images", "prune"])?;
    ensure!(pruned.contains(&format!("Untagged: {BUSYBOX}")), "{pruned}");
    let left = node.ctl(&["images"])?;
    ensure!(left.contains("test.local/pinned") && !left.contains("busybox"), "{left}");
    let layers = fs::read_dir(node.state().join("images/layers"))?.count();
    assert_eq!(layers, 1, "the pinned image's");
    // What was dropped serves again, though it was removed.
    world.operator.apply(&pod("web").container("main", BUSYBOX, &["sleep", "1001"]), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    Ok(())
}

#[test]
fn the_image_that_a_pod_ran_before_stays_until_it_runs_a_third() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    // Not in the directory from which what was removed comes back.
    let archive = world.directory().join("web.tar");
    for version in ["1", "2", "3"] {
        let image = Builder::busybox()?.env("VERSION", version).build()?;
        image.write_archive(&archive, &format!("test.local/web:{version}"))?;
        node.ctl(&["images", "import", &archive.display().to_string()])?;
    }
    let run = |node: &Node, version: &str| -> Result<()> {
        let image = format!("test.local/web:{version}");
        let manifest = pod("web").container("main", &image, &["sleep", "1001"]);
        let before = world.statuses(node, "web").pop();
        let before = before.and_then(|status| container(&status, "main").ok()?.image);
        world.operator.apply(&manifest, node)?;
        world.wait_for(node, "web", &image, |status| {
            container(status, "main").is_ok_and(|main| main.ready() && main.image != before)
        })?;
        Ok(())
    };
    let left = |node: &Node| -> Result<Vec<&str>> {
        node.ctl(&["images", "prune"])?;
        let images = node.ctl(&["images"])?;
        let is_here = |version: &&str| images.contains(&format!("test.local/web:{version}"));
        Ok(["1", "2", "3"].into_iter().filter(is_here).collect())
    };
    run(&node, "1")?;
    run(&node, "2")?;
    assert_eq!(left(&node)?, ["1", "2"], "who changed it may want to go back");
    let used = refusal(&node, &["images", "rm", "test.local/web:1"])?;
    ensure!(used.contains("is used by pod default/web"), "{used}");
    node.ctl(&["images", "import", &archive.display().to_string()])?;
    run(&node, "3")?;
    assert_eq!(left(&node)?, ["2", "3"]);
    world.replace_agent(&mut node)?;
    assert_eq!(left(&node)?, ["2", "3"], "the next agent knows of it as well");
    world.operator.delete("web", &node)?;
    world.wait_until_gone(&node, "web")?;
    assert_eq!(left(&node)?, [""; 0]);
    Ok(())
}

/// An image of busybox and so many bytes that do not pack.
fn large(seed: u64, bytes: usize) -> Result<Image> {
    let content = Random::new(seed).bytes(bytes);
    Builder::busybox()?.layer(Layer::default().file("large", 0o644, &content)).build()
}

#[test]
fn a_pull_that_finds_no_room_makes_some_and_spares_what_runs() -> Result<()> {
    const MIB: usize = 1024 * 1024;
    let world = World::new()?;
    let registry = world.registry()?;
    let _card = Card::new(&world.directory().join("n1/state"), "150m")?;
    let mut options = world.options("n1");
    options.registries.push(registry.host());
    options.extra = "images.gc_min_age_s = 0".into();
    let node = world.node_with(options)?;
    let run = |name: &str, seed| -> Result<String> {
        let reference = registry.push(&large(seed, 30 * MIB)?, name, "1")?;
        let pod = pod(name).container("main", &reference, &["sleep", "1001"]);
        world.operator.apply(&pod, &node)?;
        Ok(reference)
    };
    let kept = run("kept", 1)?;
    world.wait_for_phase(&node, "kept", Phase::Running)?;
    let old = run("old", 2)?;
    world.wait_for_phase(&node, "old", Phase::Running)?;
    world.operator.run(&["delete", "pod", "old", "--node", "n1"])?.succeeded()?;
    world.wait_until_gone(&node, "old")?;
    ensure!(node.ctl(&["images"])?.contains(&old), "nobody needs it, and there is room");

    let new = run("new", 3)?;
    world.wait_for_phase(&node, "new", Phase::Running)?;
    let images = node.ctl(&["images"])?;
    ensure!(images.contains(&kept) && images.contains(&new), "{images}");
    ensure!(!images.contains(&old), "it made room: {images}");
    Ok(())
}

#[test]
fn what_is_dropped_is_imported_at_once_and_starts_what_waits_for_it() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let name = "test.local/carried:1";
    let waits = pod("web").container("main", name, &["/bin/sleep", "1001"]);
    let waits = waits.with("imagePullPolicy", json!("Never"));
    world.operator.apply(&waits, &node)?;
    world.wait_for_event(&node, "ErrImageNeverPull")?;
    let import = node.state().join("import");
    fs::write(import.join("notes.txt"), "no image")?;
    world.wait_for_event(&node, "ImageImportFailed")?;
    // As a person copies it: under its final name, complete only at the end.
    Image::busybox()?.write_archive(&import.join("carried.tar"), name)?;
    world.wait_for_event(&node, "ImageImported")?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    // A directory that was removed is made again.
    fs::remove_dir_all(&import)?;
    node.agent()?.wait_for_line("is watched again")?;
    let second = "test.local/carried:2";
    Image::busybox()?.write_archive(&import.join("carried.tar"), second)?;
    let waits = pod("second").container("main", second, &["/bin/sleep", "1001"]);
    world.operator.apply(&waits.with("imagePullPolicy", json!("Never")), &node)?;
    world.wait_for_phase(&node, "second", Phase::Running)?;
    Ok(())
}

#[test]
fn images_of_nodes_are_seen_and_changed_over_the_broker() -> Result<()> {
    let world = World::new()?;
    let registry = world.registry()?;
    let reference = registry.push(&Image::busybox()?, "tools/x", "1")?;
    let mut options = world.options("n1");
    options.registries.push(registry.host());
    let node = world.node_with(options)?;
    let mote = |words: &[&str]| world.operator.run(&[&["image"], words].concat());

    let nobody = mote(&["pull", &reference])?.refused()?;
    ensure!(nobody.contains("no node: use --node, -l, --group or --all-nodes"), "{nobody}");
    let strange = mote(&["pull", &reference, "--node", "n9"])?.refused()?;
    ensure!(strange.contains("nodes \"n9\" not found"), "{strange}");
    let absent = mote(&["pull", &format!("{reference}0"), "--node", "n1"])?.refused()?;
    ensure!(
        absent.contains("node n1: Failed: image") && absent.contains("does not exist"),
        "{absent}"
    );

    // A pod that may not pull starts as soon as somebody else does.
    let waits = pod("web").container("main", &reference, &["/bin/sleep", "1001"]);
    world.operator.apply(&waits.with("imagePullPolicy", json!("Never")), &node)?;
    world.wait_for_event(&node, "ErrImageNeverPull")?;
    let pulled = mote(&["pull", &reference, "--all-nodes"])?.succeeded()?;
    ensure!(pulled.starts_with("n1: Pulled sha256:"), "{pulled}");
    world.wait_for_phase(&node, "web", Phase::Running)?;

    let listed = mote(&["ls"])?.succeeded()?;
    ensure!(listed.starts_with("NODE") && listed.contains(&reference), "{listed}");
    let used = mote(&["rm", &reference, "--node", "n1"])?.refused()?;
    ensure!(used.contains("is used by pod default/web"), "{used}");
    let sound = mote(&["verify", "--node", "n1"])?.succeeded()?;
    assert_eq!(sound, "n1: 1 of 1 layers are as they were unpacked\n");
    world.operator.run(&["delete", "pod", "web", "--node", "n1"])?.succeeded()?;
    world.wait_until_gone(&node, "web")?;
    let pruned = mote(&["prune", "--node", "n1"])?.succeeded()?;
    ensure!(pruned.contains(&format!("n1: Untagged: {reference}")), "{pruned}");
    Ok(())
}
