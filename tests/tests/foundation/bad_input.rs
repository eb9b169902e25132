//! What is wrong is refused by its reason, and disturbs nothing else.

use anyhow::{Context, Result, ensure};
use mote_protocol::extension::Extension;
use mote_protocol::frame::VERSION;
use mote_protocol::object::Pod;
use mote_protocol::status::{Phase, PodStatus};
use mote_tests::image::{Builder, Image, Layer};
use mote_tests::manifest::pod;
use mote_tests::node::Node;
use mote_tests::raw;
use mote_tests::world::{BUSYBOX, World, container, spec_topic, topic, waiting};
use rustix::process::Pid;

/// The first number of revisions that tests make up: of a time before any other.
const REVISION: u64 = 1_000;

/// A node with a pod that must not be disturbed.
fn with_a_good_pod() -> Result<(World, Node, Pid)> {
    let world = World::new()?;
    let node = world.node("n1")?;
    world.operator.apply(&pod("good").container("main", BUSYBOX, &["sleep", "1001"]), &node)?;
    world.wait_for_phase(&node, "good", Phase::Running)?;
    let process = node.process("sleep 1001")?;
    Ok((world, node, process))
}

/// The good pod was left alone, and the node still takes orders.
fn nothing_was_disturbed(world: &World, node: &Node, process: Pid) -> Result<()> {
    world.operator.apply(&pod("next").container("main", BUSYBOX, &["sleep", "1009"]), node)?;
    world.wait_for_phase(node, "next", Phase::Running)?;
    ensure!(node.process("sleep 1001")? == process, "the good pod was restarted");
    Ok(())
}

/// A pod whose containers sleep.
fn sleeper(containers: &[&str], seconds: &str) -> Pod {
    raw::pod(containers, BUSYBOX, &["sleep", seconds])
}

#[test]
fn frames_that_cannot_be_read_are_refused_by_reason() -> Result<()> {
    let (world, node, process) = with_a_good_pod()?;
    let good = raw::framed(&raw::object(&sleeper(&["main"], "1002"), REVISION)?)?;
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let cases = [
        ("truncated-header", good[..2].to_vec(), "TruncatedFrame"),
        ("truncated-body", good[..good.len() / 2].to_vec(), "MalformedBody"),
        ("version", changed(0, (VERSION + 1) << 4), "UnknownFrameVersion"),
        ("kind", changed(1, 99), "WrongFrameKind"),
        ("schema", changed(2, 99), "UnknownSchema"),
    ];
    for (name, bytes, reason) in cases {
        world.observer.publish_retained(&spec_topic(&node, name), &bytes)?;
        let refusal = world.wait_for_refusal(&node, name)?;
        assert!(refusal.starts_with(reason), "{name}: {refusal}");
    }
    nothing_was_disturbed(&world, &node, process)
}

#[test]
fn a_critical_extension_is_refused_by_name() -> Result<()> {
    let (world, node, process) = with_a_good_pod()?;
    let future = |critical| Extension { name: "levitate".into(), critical, value: vec![1] };
    let mut asked = sleeper(&["main"], "1002");
    asked.extensions.0.push(future(true));
    let object = raw::object(&asked, REVISION)?;
    world.observer.publish_retained(&spec_topic(&node, "critical"), &raw::framed(&object)?)?;
    let refusal = world.wait_for_refusal(&node, "critical")?;
    assert!(refusal.starts_with("UnknownExtension") && refusal.contains("levitate"), "{refusal}");

    let mut asked = sleeper(&["main"], "1003");
    asked.extensions.0.push(future(false));
    let object = raw::object(&asked, REVISION)?;
    world.observer.publish_retained(&spec_topic(&node, "ordinary"), &raw::framed(&object)?)?;
    world.wait_for_phase(&node, "ordinary", Phase::Running)?;
    nothing_was_disturbed(&world, &node, process)
}

#[test]
fn a_huge_payload_does_not_keep_a_good_object_away() -> Result<()> {
    let world = World::new()?;
    let mut node = world.prepare(world.options("n1"))?;
    world.observer.publish_retained(&spec_topic(&node, "aaa-huge"), &vec![0x11; 10 << 20])?;
    let good = raw::framed(&raw::object(&sleeper(&["main"], "1001"), REVISION)?)?;
    world.observer.publish_retained(&spec_topic(&node, "good"), &good)?;
    node.start()?;
    world.wait_for_phase(&node, "good", Phase::Running)?;
    let process = node.process("sleep 1001")?;
    nothing_was_disturbed(&world, &node, process)
}

#[test]
fn forged_topics_make_nothing() -> Result<()> {
    let (world, node, process) = with_a_good_pod()?;
    let good = raw::framed(&raw::object(&sleeper(&["main"], "1002"), REVISION)?)?;
    for below in [
        "spec/pod/default/../../../../etc/x",
        "spec/pod/default/..",
        "spec/pod/../web",
        "spec/widget/default/web",
        "spec/pod/default/a/b",
        "spec/pod/default/UPPER",
        "spec/pod//web",
        "spec/pod/default/@all",
    ] {
        world.observer.publish(&topic(&node, below), &good, true)?;
    }
    nothing_was_disturbed(&world, &node, process)?;
    assert!(node.processes("sleep 1002")?.is_empty(), "a forged topic made a pod");
    let pods = node.ctl(&["pods"])?;
    assert_eq!(pods.lines().count(), 3, "{pods}");
    let told = world.wait_for_event(&node, "InvalidTopic")?;
    assert!(told.contains("spec/"), "{told}");
    let log = node.log();
    assert!(log.contains("spec/pod/default/../../../../etc/x"), "the log does not say it:\n{log}");
    Ok(())
}

#[test]
fn a_missing_image_is_told_and_nothing_else_waits() -> Result<()> {
    let (world, node, process) = with_a_good_pod()?;
    let missing = pod("missing").container("main", "127.0.0.1:9/no/such:image", &["true"]);
    world.operator.apply(&missing, &node)?;
    let message = wait_for_image_error(&world, &node, "missing")?;
    assert!(message.contains("127.0.0.1:9"), "{message}");
    nothing_was_disturbed(&world, &node, process)
}

#[test]
fn a_layer_with_a_wrong_digest_is_never_unpacked() -> Result<()> {
    let world = World::new()?;
    let registry = world.registry()?;
    let layer = Layer::default().file("bin/evil", 0o755, b"evil");
    let evil = Builder::busybox()?.layer(layer).build()?;
    let reference = registry.push(&evil, "evil", "1")?;
    let other = Layer::default().file("bin/other", 0o755, b"other");
    let other = Builder::default().layer(other).build()?;
    let wrong = other.blobs().next().context("one layer")?.bytes.clone();
    registry.corrupt(evil.layer_digest(1), &wrong)?;

    let mut options = world.options("n1");
    options.registries.push(registry.host());
    let node = world.node_with(options)?;
    world.operator.apply(&pod("good").container("main", BUSYBOX, &["sleep", "1001"]), &node)?;
    world.wait_for_phase(&node, "good", Phase::Running)?;
    let process = node.process("sleep 1001")?;
    world.operator.apply(&pod("evil").container("main", &reference, &["/bin/evil"]), &node)?;
    let message = wait_for_image_error(&world, &node, "evil")?;
    let told = ["digest", "sha256:", "size", "bytes"].iter().any(|word| message.contains(word));
    assert!(told, "{message}");
    nothing_was_disturbed(&world, &node, process)
}

#[test]
fn layers_that_lead_out_are_refused_by_entry() -> Result<()> {
    let (world, node, process) = with_a_good_pod()?;
    let target = world.directory().join("outside");
    std::fs::create_dir(&target)?;
    let path = target.display().to_string();
    let deep = format!("{}{}/x", "../".repeat(20), path.trim_start_matches('/'));
    let cases = [
        ("dots", Layer::default().file("../../etc/x", 0o644, b"x"), "../../etc/x"),
        ("deep", Layer::default().file(&deep, 0o644, b"x"), "../"),
        ("link", Layer::default().symlink("out", &path).file("out/x", 0o644, b"x"), "out/x"),
        ("hard", Layer::default().hard_link("x", "../../../../etc/passwd"), "etc/passwd"),
    ];
    for (name, layer, entry) in cases {
        let reference = format!("test.local/{name}:1");
        node.import(&hostile(layer)?, &reference)?;
        world.operator.apply(&pod(name).container("main", &reference, &["true"]), &node)?;
        let told = world.wait_for(&node, name, "an answer", |status| {
            image_error(status).is_some() || status.phase != Phase::Pending
        })?;
        if let Some(message) = image_error(&told) {
            let log = node.log();
            assert!(message.contains(entry) || log.contains(entry), "{name}: {message}\n{log}");
        }
    }
    // An absolute name is taken from the layer's own root, as every tool does it.
    let absolute = format!("{path}/absolute");
    let layer = hostile(Layer::default().file(&absolute, 0o644, b"x"))?;
    node.import(&layer, "test.local/absolute:1")?;
    let check = pod("absolute").container("main", "test.local/absolute:1", &["cat", &absolute]);
    world.operator.apply(&check.once(), &node)?;
    world.wait_for_phase(&node, "absolute", Phase::Succeeded)?;

    assert_eq!(std::fs::read_dir(&target)?.count(), 0, "something was written outside");
    assert!(!std::path::Path::new("/etc/x").exists());
    nothing_was_disturbed(&world, &node, process)
}

fn hostile(layer: Layer) -> Result<Image> {
    Builder::busybox()?.layer(layer).build()
}

#[test]
fn a_duplicate_container_name_is_refused_by_field() -> Result<()> {
    let (world, node, process) = with_a_good_pod()?;
    let object = raw::object(&sleeper(&["main", "main"], "1002"), REVISION)?;
    world.observer.publish_retained(&spec_topic(&node, "twice"), &raw::framed(&object)?)?;
    let status = world.wait_for(&node, "twice", "a refusal", |status| status.refusal.is_some())?;
    let refusal = status.refusal.context("waited for")?;
    assert_eq!(&*refusal.reason, "Invalid");
    assert!(refusal.field.contains("containers[1].name"), "{refusal:?}");
    nothing_was_disturbed(&world, &node, process)
}

#[test]
fn a_replayed_older_revision_is_stale() -> Result<()> {
    let (world, node, process) = with_a_good_pod()?;
    let topic = spec_topic(&node, "web");
    let old = raw::framed(&raw::object(&sleeper(&["main"], "1002"), REVISION)?)?;
    let new = raw::framed(&raw::object(&sleeper(&["main"], "1003"), REVISION + 1)?)?;
    world.observer.publish_retained(&topic, &new)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    world.observer.publish_retained(&topic, &old)?;
    let refusal = world.wait_for_refusal(&node, "web")?;
    assert!(refusal.starts_with("Stale"), "{refusal}");
    assert!(node.processes("sleep 1002")?.is_empty(), "the old revision runs");
    node.process("sleep 1003")?;
    nothing_was_disturbed(&world, &node, process)
}

#[test]
fn a_replayed_pod_does_not_come_back_from_deletion() -> Result<()> {
    let (world, node, _) = with_a_good_pod()?;
    let retained = world.observer.retained()?;
    let topic = spec_topic(&node, "good");
    let spec = retained.get(&topic).context("the broker keeps the spec")?.clone();
    world.operator.delete("good", &node)?;
    world.wait_until_gone(&node, "good")?;
    world.observer.publish_retained(&topic, &spec)?;
    let refusal = world.wait_for_refusal(&node, "good")?;
    assert!(refusal.starts_with("Stale"), "{refusal}");
    assert!(node.processes("sleep 1001")?.is_empty(), "it came back");
    Ok(())
}

#[test]
fn an_empty_payload_deletes_nothing() -> Result<()> {
    let (world, node, process) = with_a_good_pod()?;
    world.observer.publish_retained(&spec_topic(&node, "good"), b"")?;
    nothing_was_disturbed(&world, &node, process)?;
    let status = world.wait_for_phase(&node, "good", Phase::Running)?;
    assert_eq!(container(&status, "main")?.restarts, 0);
    Ok(())
}

/// The words a container waits with because of its image.
fn image_error(status: &PodStatus) -> Option<String> {
    let (reason, message) = waiting(status, "main")?;
    let about_the_image =
        ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];
    about_the_image.contains(&reason).then(|| message.to_owned())
}

fn wait_for_image_error(world: &World, node: &Node, pod: &str) -> Result<String> {
    let status =
        world.wait_for(node, pod, "an image error", |status| image_error(status).is_some())?;
    image_error(&status).context("waited for")
}

/// Keeps the compiler honest about what a deletion is: never an empty payload.
#[test]
fn a_deletion_is_an_object_of_its_own() -> Result<()> {
    let (world, node, _) = with_a_good_pod()?;
    let tombstone = raw::framed(&raw::tombstone(u64::MAX - 1)?)?;
    world.observer.publish_retained(&spec_topic(&node, "good"), &tombstone)?;
    world.wait_until_gone(&node, "good")
}
