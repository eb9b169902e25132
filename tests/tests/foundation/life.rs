//! From `mote apply` to a process, to a status, to nothing.

use anyhow::{Context, Result, ensure};
use mote_protocol::event::Event;
use mote_protocol::status::{Phase, PodCondition, PodStatus};
use mote_tests::broker::BrokerOptions;
use mote_tests::host::{Remains, namespace, open_files};
use mote_tests::image::{Builder, Image, Layer};
use mote_tests::link::{Link, Manner};
use mote_tests::manifest::pod;
use mote_tests::node::NodeOptions;
use mote_tests::process::wait_for_exit;
use mote_tests::random::Random;
use mote_tests::wait::Deadline;
use mote_tests::world::{BUSYBOX, World, container, spec_topic, terminated, topic};

#[test]
fn an_applied_pod_runs_and_mote_shows_it() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    world.operator.apply(&pod("web").container("main", BUSYBOX, &["sleep", "1001"]), &node)?;
    let status = world.wait_for_phase(&node, "web", Phase::Running)?;
    assert!(PodCondition::ALL.iter().all(|one| status.conditions.is_true(*one)), "{status:#?}");
    assert!(container(&status, "main")?.ready());

    let process = node.process("sleep 1001")?;
    let own = rustix::process::getpid();
    for kind in ["net", "mnt", "pid", "ipc", "uts"] {
        assert_ne!(namespace(process, kind)?, namespace(own, kind)?, "{kind}");
    }
    assert_eq!(world.operator.field("web", &node, ".status.phase")?, "Running");
    let table = world.operator.run(&["get", "pods", "--node", "n1"])?.succeeded()?;
    assert!(table.contains("web") && table.contains("Running"), "{table}");
    Ok(())
}

#[test]
fn a_fork_bomb_stops_at_the_pods_bound_and_others_go_on() -> Result<()> {
    let world = World::new()?;
    let options = NodeOptions { extra: "limits.pod_pids = 48".into(), ..world.options("n1") };
    let mut node = world.prepare(options)?;
    node.start()?;
    let other = pod("other").container("main", BUSYBOX, &["sleep", "1002"]);
    world.operator.apply(&other, &node)?;
    world.wait_for_phase(&node, "other", Phase::Running)?;
    // Far more than the bound, and not so many that they hurt where it does not hold.
    let script = "i=0; while [ $i -lt 200 ]; do i=$((i+1)); sleep 1000 & done";
    let bomb = pod("bomb").container("main", BUSYBOX, &["sh", "-c", script]).once();
    world.operator.apply(&bomb, &node)?;
    let over = |status: &PodStatus| terminated(status, "main").is_ok();
    let status = world.wait_for(&node, "bomb", "over", over)?;
    let printed = node.printed(&status.uid.context("it ran")?, "main")?;
    let end = terminated(&status, "main")?;
    ensure!(end.exit_code != 0 && printed.contains("can't fork"), "{end:?}: {printed}");
    node.process("sleep 1002").map(drop)
}

#[test]
fn exit_0_is_succeeded() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    world.operator.apply(&pod("job").container("main", BUSYBOX, &["true"]).once(), &node)?;
    let status = world.wait_for_phase(&node, "job", Phase::Succeeded)?;
    let end = terminated(&status, "main")?;
    assert_eq!((end.exit_code, &*end.reason), (0, "Completed"));
    Ok(())
}

#[test]
fn exit_3_is_failed_with_the_code() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let job = pod("job").container("main", BUSYBOX, &["sh", "-c", "exit 3"]).once();
    world.operator.apply(&job, &node)?;
    let status = world.wait_for_phase(&node, "job", Phase::Failed)?;
    let end = terminated(&status, "main")?;
    assert_eq!((end.exit_code, &*end.reason), (3, "Error"));
    let path = ".status.containerStatuses[0].state.terminated.exitCode";
    assert_eq!(world.operator.field("job", &node, path)?, "3");
    Ok(())
}

#[test]
fn a_new_image_replaces_the_container_and_keeps_the_pod() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    node.import(&Builder::busybox()?.env("VERSION", "2").build()?, "test.local/busybox:2")?;
    let web = |image: &str| {
        pod("web").container("old", BUSYBOX, &["sleep", "1001"]).container(
            "new",
            image,
            &["sleep", "1002"],
        )
    };
    world.operator.apply(&web(BUSYBOX), &node)?;
    let before = world.wait_for_phase(&node, "web", Phase::Running)?;
    let (kept, replaced) = (node.process("sleep 1001")?, node.process("sleep 1002")?);

    world.operator.apply(&web("test.local/busybox:2"), &node)?;
    let image = container(&before, "new")?.image;
    let after = world.wait_for(&node, "web", "another image", |status| {
        status.phase == Phase::Running
            && container(status, "new").is_ok_and(|new| new.ready() && new.image != image)
    })?;
    wait_for_exit(replaced, Deadline::patient())?;
    assert_eq!(after.uid, before.uid);
    assert_eq!(node.process("sleep 1001")?, kept, "the other container was left alone");
    assert_eq!(container(&after, "old")?.restarts, 0);
    Ok(())
}

#[test]
fn a_new_image_on_a_slow_line_is_here_before_the_old_process_is_asked_to_end() -> Result<()> {
    const BYTES: u64 = 600_000;
    let world = World::new()?;
    let registry = world.registry()?;
    let noise = Random::new(1).bytes(usize::try_from(BYTES)?);
    let layer = Layer::default().file("noise", 0o644, &noise);
    registry.push(&Builder::busybox()?.layer(layer).build()?, "tools/busybox", "2")?;
    let link = Link::to(&registry.host(), Manner::Slow(BYTES / 3))?;
    let mut options = world.options("n1");
    options.registries.push(link.host());
    let node = world.node_with(options)?;
    let web = |image: &str| pod("web").container("main", image, &["sleep", "1001"]);
    world.operator.apply(&web(BUSYBOX), &node)?;
    let before = world.wait_for_phase(&node, "web", Phase::Running)?;
    let (old, image) = (node.process("sleep 1001")?, container(&before, "main")?.image);

    world.operator.apply(&web(&format!("{}/tools/busybox:2", link.host())), &node)?;
    link.wait_for(BYTES / 2)?;
    assert_eq!(node.process("sleep 1001")?, old, "half of the image is here");
    let events = || world.observer.look(|view| view.bodies::<Event>(&topic(&node, "event")));
    ensure!(!events().iter().any(|event| event.reason == *"Killing"), "it was asked too early");
    world.wait_for(&node, "web", "the new image", |status| {
        container(status, "main").is_ok_and(|main| main.ready() && main.image != image)
    })?;
    wait_for_exit(old, Deadline::patient())?;
    let place = |reason: &str| events().iter().position(|event| event.reason == *reason);
    ensure!(link.brought() >= BYTES && place("Killing").is_some(), "{:#?}", events());
    Ok(())
}

#[test]
fn a_deleted_pod_leaves_nothing() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    // The first pod also makes what all pods share.
    world.operator.apply(&pod("first").container("main", BUSYBOX, &["sleep", "1000"]), &node)?;
    world.wait_for_phase(&node, "first", Phase::Running)?;
    world.operator.delete("first", &node)?;
    let nothing = node.footprint().remains()?;
    let files = open_files(node.pid()?, &node.state())?;
    let web = pod("web")
        .init("first", BUSYBOX, &["true"])
        .container("one", BUSYBOX, &["sleep", "1001"])
        .container("two", BUSYBOX, &["sleep", "1002"]);
    world.operator.apply(&web, &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    let held = namespace(node.process("sleep 1001")?, "net")?;

    world.operator.delete("web", &node)?;
    world.wait_until_gone(&node, "web")?;
    assert_eq!(node.footprint().remains()?, nothing);
    assert!(!namespaces_of_the_machine().contains(&held), "the network namespace is still held");
    assert_eq!(open_files(node.pid()?, &node.state())?, files, "files left open in the agent");
    let retained = world.observer.retained()?;
    assert!(!retained.contains_key(&spec_topic(&node, "web")), "the tombstone was not cleared");
    let left = std::fs::read_dir(node.state().join("pods")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "the pod's directory is still there");
    Ok(())
}

/// Network namespaces of all processes.
fn namespaces_of_the_machine() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("proc is mounted").filter_map(Result::ok);
    let links = processes.filter_map(|entry| std::fs::read_link(entry.path().join("ns/net")).ok());
    links.map(|link| link.display().to_string()).collect()
}

#[test]
fn a_node_speaks_tls_with_a_certificate() -> Result<()> {
    let world = World::with_broker(BrokerOptions { tls: true, ..BrokerOptions::default() })?;
    let mut options = world.options("n1");
    options.tls = true;
    let node = world.node_with(options)?;
    world.operator.apply(&pod("web").container("main", BUSYBOX, &["sleep", "1001"]), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    Ok(())
}

#[test]
fn an_image_comes_from_a_registry_by_tag_and_by_digest() -> Result<()> {
    let world = World::new()?;
    let registry = world.registry()?;
    let image = Image::busybox()?;
    let by_tag = registry.push(&image, "tools/busybox", "1")?;
    let by_digest = format!("{}/tools/busybox@{}", registry.host(), image.manifest().digest);
    let mut options = world.options("n1");
    options.registries.push(registry.host());
    let node = world.node_with(options)?;
    for (name, reference) in [("tag", &by_tag), ("digest", &by_digest)] {
        world.operator.apply(&pod(name).container("main", reference, &["sleep", "1001"]), &node)?;
        world.wait_for_phase(&node, name, Phase::Running)?;
    }
    let images = node.ctl(&["images"])?;
    assert!(images.contains("tools/busybox"), "{images}");
    Ok(())
}

#[test]
fn ctl_answers_without_a_broker() -> Result<()> {
    let mut world = World::new()?;
    let node = world.node("n1")?;
    world.operator.apply(&pod("web").container("main", BUSYBOX, &["sleep", "1001"]), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    world.broker.stop()?;
    let pods = node.ctl(&["pods"])?;
    assert!(pods.contains("web") && pods.contains("Running"), "{pods}");
    let described = node.ctl(&["describe", "pod", "web"])?;
    ensure!(described.contains("main") && described.contains("Ready"), "{described}");
    let images = node.ctl(&["images"])?;
    assert!(images.contains("busybox"), "{images}");
    Ok(())
}

#[test]
fn nothing_is_left_of_a_node_that_is_swept() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    world.operator.apply(&pod("web").container("main", BUSYBOX, &["sleep", "1001"]), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    node.power_off()?;
    assert_eq!(node.footprint().remains()?, Remains::default());
    Ok(())
}
