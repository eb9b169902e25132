//! What an image, or what is asked of it, could lead out with.

use anyhow::{Context, Result};
use mote_tests::image::Layer;
use mote_tests::manifest::{Manifest, pod};
use mote_tests::world::{World, container, terminated, waiting};
use serde_json::json;

use super::{
    Expected, IMAGE, check, image, is_as_before, node, outside, try_both_ways, trying, was_tried,
};

const DEVICES: &str = "test.local/devices:1";

#[test]
fn devices_of_an_image_cannot_be_opened() -> Result<()> {
    const REFUSED: &Expected = &[("read:/memory", &["EACCES"]), ("read:/kmsg", &["EACCES"])];
    const ALLOWED: &Expected = &[("read:/kmsg", &["done", "EAGAIN"])];
    let world = World::new()?;
    let node = node(&world)?;
    let nodes = Layer::default()
        .character_device("memory", 0o666, 1, 1)
        .character_device("kmsg", 0o666, 1, 11);
    node.import(&image()?.layer(nodes).build()?, DEVICES)?;
    let with = |privileged: bool| {
        move |name: &str, words: &[&str]| {
            pod(name)
                .container("main", DEVICES, words)
                .with("securityContext", json!({"privileged": privileged}))
        }
    };
    try_both_ways(&world, &node, "own", with(false), REFUSED)?;
    try_both_ways(&world, &node, "privileged", with(true), ALLOWED)
}

/// Directories that every container has mounts in.
const MOUNTED: [&str; 4] = ["dev", "proc", "sys", "etc"];

#[test]
fn links_of_an_image_lead_nobody_out() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let outside = outside(&world)?;
    let place = outside.display().to_string();
    for name in MOUNTED {
        // The directory is in the image, too: there the link leads somewhere either way.
        let mut layer = Layer::default();
        let mut path = String::new();
        for part in place.split('/').filter(|part| !part.is_empty()) {
            path.push_str(part);
            // Busybox's image has the first.
            layer = if path == "tmp" { layer } else { layer.directory(&path, 0o755) };
            path.push('/');
        }
        let reference = format!("test.local/{name}:1");
        let layer = layer.symlink(name, &place);
        node.import(&image()?.layer(layer).build()?, &reference)?;
        let manifest = pod(name)
            .once()
            .container("main", &reference, &["/bin/busybox", "true"])
            .with("terminationMessagePath", json!("/dev/message"));
        world.operator.apply(&manifest, &node)?;
        let status = world.wait_for(&node, name, "its start or its refusal", |status| {
            was_tried(status, "main")
        })?;
        if name == "dev" {
            let told = format!("{:?}", container(&status, "main")?.state);
            assert!(told.contains("`/dev` of the image is not a directory"), "{told}");
        }
        is_as_before(&outside).context(name)?;
        world.operator.delete(name, &node)?;
        is_as_before(&outside).context(name)?;
    }
    Ok(())
}

/// Files that a program that starts containers may have open.
const FILES: std::ops::Range<usize> = 3..21;

#[test]
fn no_working_directory_leads_out() -> Result<()> {
    const REFUSED: &Expected = &[("host-file-above", &["ENOENT"])];
    const CONTROL: &str = "control";
    let world = World::new()?;
    let node = node(&world)?;
    let outside = outside(&world)?;
    let mark = outside.join("secret");
    let env = json!([{"name": "MARK", "value": mark.display().to_string()}]);
    // No part of another's, nor of a number.
    let name = |file: usize| format!("cwd{file}");
    let within = |manifest: Manifest, name: &str, directory: &str| {
        manifest
            .container(name, IMAGE, &trying("-", REFUSED))
            .with("env", env.clone())
            .with("workingDir", json!(directory))
    };
    // Where it begins without a doubt.
    let mut manifest = within(pod("cwd").once(), CONTROL, "/");
    for file in FILES {
        manifest = within(manifest, &name(file), &format!("/proc/self/fd/{file}"));
    }
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for(&node, "cwd", "all to be tried", |status| {
        let over = |name: &str| terminated(status, name).is_ok();
        let refused = |name: &str| waiting(status, name).is_some_and(|(_, why)| !why.is_empty());
        over(CONTROL) && FILES.map(name).all(|name| over(&name) || refused(&name))
    })?;
    let uid = status.uid.context("a uid")?;
    check(&node.printed(&uid, CONTROL)?, REFUSED).context(CONTROL)?;
    for file in FILES {
        let report = node.printed(&uid, &name(file))?;
        if !report.is_empty() {
            check(&report, REFUSED).with_context(|| name(file))?;
        }
    }
    is_as_before(&outside)
}
