//! Directories of a volume that a hostile container swaps for links all the time.

use std::path::Path;

use anyhow::{Context, Result};
use mote_protocol::status::{ContainerState, ContainerStatus};
use mote_tests::image::Layer;
use mote_tests::manifest::{Manifest, pod};
use mote_tests::world::{BUSYBOX, World};
use serde_json::json;

use super::{IMAGE, image, is_as_before, node, outside, was_tried};

/// Containers that begin meanwhile, of each kind.
const EACH: usize = 4;
const KINDS: [&str; 5] = ["whole", "part", "mount", "message", "cwd"];

#[test]
fn links_that_are_swapped_lead_nobody_out() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let outside = outside(&world)?;
    for round in ["one", "two"] {
        world.operator.apply(&swapped(round, &outside), &node)?;
        // Each ends at once and is started again at once, the first time.
        let status = world.wait_for(&node, round, "all to be started or refused", |status| {
            let others: Vec<_> =
                status.containers.iter().filter(|c| &*c.name != "swapper").collect();
            others.len() == EACH * KINDS.len()
                && others.iter().all(|c| c.restarts > 0 || was_refused(c))
        })?;
        let uid = status.uid.context("a uid")?;
        let volume = node.state().join(format!("pods/{uid}/volumes/v"));
        assert!(leads_out(&volume), "no link leads out of {}", volume.display());
        let ran = status.containers.iter().filter(|c| c.restarts > 0).count();
        let refused = status.containers.iter().filter(|c| was_refused(c)).count();
        assert!(ran > 0 && refused > 0, "{ran} ran, {refused} were refused: both were met");
        for container in &status.containers {
            let said = node.printed(&uid, &container.name)?;
            assert!(!said.contains("secret"), "{} saw it:\n{said}", container.name);
        }
        is_as_before(&outside)?;
        world.operator.delete(round, &node)?;
        is_as_before(&outside)?;
    }
    Ok(())
}

fn was_refused(container: &ContainerStatus) -> bool {
    matches!(&container.state, ContainerState::Waiting { reason, message }
        if !message.is_empty() && **reason != *"CrashLoopBackOff")
}

/// Whoever follows the links without care is led out: the attack is one.
fn leads_out(volume: &Path) -> bool {
    // One of them is a directory at any time.
    let leads = |name: &&str| volume.join(name).join("secret").exists();
    (0..1000).any(|_| ["real", "absolute", "relative"].iter().any(leads))
}

fn swapped(name: &str, outside: &Path) -> Manifest {
    let outside_by_name = outside.display();
    // Up from volumes/v, <uid>, pods, state and the node's directory.
    let prepare = format!(
        "mkdir /v/real && ln -s {outside_by_name} /v/absolute && \
         ln -s ../../../../../../outside /v/relative && exec /attacker swap /v"
    );
    // The others begin once it swaps.
    let swaps = "until grep -q ^/attacker /proc/1/cmdline; do usleep 10000; done";
    let mut manifest = pod(name)
        .container("swapper", IMAGE, &["sh", "-c", &prepare])
        .with("lifecycle", json!({"postStart": {"exec": {"command": ["sh", "-c", swaps]}}}))
        .volume("v", json!({"emptyDir": {}}), "/v")
        .spec("volumes", json!([{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]));
    let look = "ls -R /v; touch /v/mark; ls -R /v/real; touch /v/real/mark /w/mark";
    for number in 0..EACH {
        for kind in KINDS {
            let container = format!("{kind}{number}");
            manifest = manifest.container(&container, BUSYBOX, &["sh", "-c", look]);
            let whole = json!({"name": "v", "mountPath": "/v"});
            manifest = match kind {
                "whole" => {
                    manifest.mount(json!({"name": "v", "mountPath": "/v", "subPath": "real"}))
                }
                "part" => {
                    let made = format!("real/made-{number}/deep");
                    manifest.mount(json!({"name": "v", "mountPath": "/v", "subPath": made}))
                }
                "mount" => {
                    let inner = format!("/v/real/mounted-{number}");
                    manifest.mount(whole).mount(json!({"name": "w", "mountPath": inner}))
                }
                "message" => {
                    let path = format!("/v/real/message-{number}");
                    manifest.mount(whole).with("terminationMessagePath", json!(path))
                }
                _ => {
                    let path = format!("/v/real/cwd-{number}/deep");
                    manifest.mount(whole).with("workingDir", json!(path))
                }
            };
        }
    }
    manifest
}

const ROOT_LINK: &str = "test.local/root:1";

/// The image has a link to its root, and the volume that is mounted there has one in place of `/dev`.
#[test]
fn a_volume_in_place_of_the_root_leads_nobody_out() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let outside = outside(&world)?;
    let layer = Layer::default().symlink("data", "/");
    node.import(&image()?.layer(layer).build()?, ROOT_LINK)?;
    let prepare = format!("cp -a /bin /v && ln -s {} /v/dev && ln -s / /v/data", outside.display());
    for (name, target) in [("link", "/data"), ("up", "/bin/.."), ("inner", "/v/data")] {
        let volumes = json!([{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]);
        let mounted = json!([{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]);
        let both = format!("{prepare} && cp -a /v/* /w");
        let prepared = json!([{
            "name": "prepare", "image": BUSYBOX, "command": ["sh", "-c", both], "volumeMounts": mounted,
        }]);
        let mut manifest = pod(name)
            .once()
            .container("main", ROOT_LINK, &["/bin/busybox", "true"])
            .spec("initContainers", prepared)
            .spec("volumes", volumes);
        if name == "inner" {
            manifest = manifest.mount(json!({"name": "v", "mountPath": "/v"}));
        }
        let manifest = manifest.mount(json!({"name": "w", "mountPath": target}));
        world.operator.apply(&manifest, &node)?;
        world.wait_for(&node, name, "its start or its refusal", |status| {
            was_tried(status, "main")
        })?;
        is_as_before(&outside).context(name)?;
        world.operator.delete(name, &node)?;
        is_as_before(&outside).context(name)?;
    }
    Ok(())
}
