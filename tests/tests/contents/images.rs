//! Secrets that open registries, and images as volumes.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mote_protocol::event::Event;
use mote_protocol::status::{Phase, PodStatus};
use mote_tests::image::{Builder, Image, Layer};
use mote_tests::manifest::{pod, secret};
use mote_tests::registry::{Guard, LOGIN};
use mote_tests::world::{BUSYBOX, World, container, topic, waiting};
use serde_json::json;

#[test]
fn a_secret_opens_a_registry_as_soon_as_it_is_here() -> Result<()> {
    let world = World::new()?;
    let open = world.registry()?;
    open.push(&Image::busybox()?, "team/a", "1")?;
    let registry = open.guarded(&world.directory().join("guarded"), &Guard::Password)?;
    let options = mote_tests::node::NodeOptions {
        registries: vec![registry.host().clone()],
        ..world.options("n1")
    };
    let node = world.node_with(options)?;
    let image = format!("{}/team/a:1", registry.host());
    let manifest = pod("web")
        .once()
        .container("main", &image, &["echo", "in"])
        .spec("imagePullSecrets", json!([{"name": "registry"}]));
    world.operator.apply(&manifest, &node)?;
    let text = "Unable to retrieve some image pull secrets (registry); attempting to pull the image \
                may not succeed.";
    assert_eq!(world.wait_for_event(&node, "FailedToRetrieveImagePullSecret")?, text);
    world.wait_for(&node, "web", "a pull that fails", |status| {
        waiting(status, "main").is_some_and(|(reason, _)| reason == "ErrImagePull")
    })?;
    let auth = BASE64_STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1));
    let config = json!({"auths": {registry.host(): {"auth": auth}}}).to_string();
    let login = secret("registry", json!({".dockerconfigjson": config}))
        .field("type", json!("kubernetes.io/dockerconfigjson"));
    world.operator.apply(&login, &node)?;
    world.wait_for_phase(&node, "web", Phase::Succeeded)?;
    let log = node.log();
    assert!(!log.contains(&auth) && !log.contains(LOGIN.1), "the agent's log tells it");
    Ok(())
}

#[test]
fn an_image_is_a_volume_that_nobody_writes_to() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let lower = Layer::default()
        .directory("data", 0o755)
        .file("data/a", 0o644, b"lower\n")
        .file("data/b", 0o644, b"b\n");
    let upper = Layer::default().file("data/a", 0o644, b"upper\n");
    let image = Builder::default().layer(lower).layer(upper).build()?;
    node.import(&image, "test.local/files:1")?;
    let single = Builder::default().layer(Layer::default().file("one", 0o644, b"1\n")).build()?;
    node.import(&single, "test.local/single:1")?;
    let script = "cat /v/data/a /v/data/b /part/a /s/one; touch /v/x 2>&1 | grep -c Read-only";
    let manifest = pod("web")
        .once()
        .container("main", BUSYBOX, &["sh", "-c", script])
        .volume("files", json!({"image": {"reference": "test.local/files:1"}}), "/v")
        .volume("single", json!({"image": {"reference": "test.local/single:1"}}), "/s")
        .mount(json!({"name": "files", "mountPath": "/part", "subPath": "data"}));
    let text = super::printed(&world, &node, "web", &manifest)?;
    assert_eq!(text, "upper\nb\nupper\n1\n1\n");
    // What a pod is given is in use: nobody removes it.
    let refused = world.operator.run(&["image", "rm", "test.local/files:1", "--node", "n1"])?;
    assert!(refused.refused()?.contains("pod default/web"));
    world.operator.delete("web", &node)?;
    world.operator.run(&["image", "rm", "test.local/files:1", "--node", "n1"])?.succeeded()?;
    Ok(())
}

#[test]
fn an_image_that_no_registry_confirmed_is_told_until_one_does() -> Result<()> {
    let world = World::new()?;
    let mut registry = world.registry()?;
    let main = registry.push(&Image::busybox()?, "web", "latest")?;
    let files = Builder::default().layer(Layer::default().file("a", 0o644, b"a\n")).build()?;
    let files = registry.push(&files, "files", "latest")?;
    let mut options = world.options("n1");
    options.registries.push(registry.host());
    let mut node = world.node_with(options)?;
    for image in [&main, &files] {
        node.ctl(&["images", "pull", image])?;
    }
    registry.stop()?;
    let manifest = pod("web").container("main", &main, &["sleep", "1001"]).volume(
        "files",
        json!({"image": {"reference": files}}),
        "/v",
    );
    world.operator.apply(&manifest, &node)?;
    let event = world.wait_for_event(&node, "ImageMayBeStale")?;
    let part = "present on machine and used as it is, since the registry could not be asked: reach";
    ensure!(event.contains(part), "{event}");
    let runs = |status: &PodStatus, restarts| {
        container(status, "main").is_ok_and(|main| main.restarts == restarts && main.ready())
    };
    world.wait_for(&node, "web", "both images told", |status| {
        let told = stale(status).unwrap_or_default();
        runs(status, 0) && told.contains("of container main") && told.contains("of a volume")
    })?;
    let page = world.operator.run(&["describe", "pod", "web", "--node", "n1"])?.succeeded()?;
    ensure!(page.contains("ImageMayBeStale") && page.contains("of container main"), "{page}");
    let page = node.ctl(&["describe", "pod", "web"])?;
    ensure!(page.contains("ImageMayBeStale") && page.contains("of a volume"), "{page}");

    // What is mounted is what it was, also for the next agent; who starts again asks again.
    registry.resume()?;
    world.replace_agent(&mut node)?;
    rustix::process::kill_process(node.process("sleep 1001")?, rustix::process::Signal::KILL)?;
    world.wait_for(&node, "web", "one image confirmed", |status| {
        let told = stale(status).unwrap_or_default();
        runs(status, 1) && told.contains("of a volume") && !told.contains("of container")
    })?;
    world.operator.delete("web", &node)?;
    world.wait_until_gone(&node, "web")?;
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for_phase(&node, "web", Phase::Running)?;
    assert_eq!(stale(&status), None);
    Ok(())
}

/// What a pod tells of images that may be stale.
fn stale(status: &PodStatus) -> Option<String> {
    let mut causes = status.causes.iter();
    let found = causes.find(|cause| cause.condition == *"ImageMayBeStale");
    found.map(|cause| cause.message.to_string())
}

#[test]
fn a_volume_whose_image_is_not_there_holds_up_its_pod() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let source = json!({"image": {"reference": "test.local/files:1", "pullPolicy": "Never"}});
    let manifest =
        pod("web").once().container("main", BUSYBOX, &["cat", "/v/a"]).volume("v", source, "/v");
    world.operator.apply(&manifest, &node)?;
    let failed = world.wait_for_event(&node, "Failed")?;
    assert!(failed.starts_with("Failed to pull image \"test.local/files:1\""), "{failed}");
    let image = Builder::default().layer(Layer::default().file("a", 0o644, b"here\n")).build()?;
    node.import(&image, "test.local/files:1")?;
    assert_eq!(world.wait_for_end(&node, "web")?, (Phase::Succeeded, "here\n".into()));
    Ok(())
}

#[test]
fn a_volume_shows_the_same_image_though_its_name_means_another_to_the_next_agent() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let image =
        |text: &[u8]| Builder::default().layer(Layer::default().file("a", 0o644, text)).build();
    node.import(&image(b"first\n")?, "test.local/files:1")?;
    let manifest = pod("web")
        .container("main", BUSYBOX, &["sh", "-c", "cat /v/a; exec sleep 1001"])
        .volume("v", json!({"image": {"reference": "test.local/files:1"}}), "/v");
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for_phase(&node, "web", Phase::Running)?;
    let uid = status.uid.context("a uid")?;
    node.import(&image(b"second\n")?, "test.local/files:1")?;
    world.observer.wait("the second import", |view| {
        let events = view.bodies::<Event>(&topic(&node, "event"));
        let of_it = |event: &&Event| {
            event.reason == *"ImageImported" && event.message.contains("test.local/files:1")
        };
        let times: u32 = events.iter().filter(of_it).map(|event| event.count).max().unwrap_or(0);
        (times.max(events.iter().filter(of_it).count().try_into().ok()?) > 1).then_some(())
    })?;
    world.replace_agent(&mut node)?;
    rustix::process::kill_process(node.process("sleep 1001")?, rustix::process::Signal::KILL)?;
    world.wait_for(&node, "web", "another attempt", |status| {
        container(status, "main").is_ok_and(|main| main.restarts == 1 && main.ready())
    })?;
    super::wait_for_line(&world, "web", "first")?;
    // Both attempts.
    assert_eq!(node.printed(&uid, "main")?, "first\nfirst\n");
    Ok(())
}
