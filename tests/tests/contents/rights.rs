//! What a pod may have of the machine: devices, and settings of the kernel.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mote_protocol::node::{NodeStatus, Resources};
use mote_protocol::status::{Phase, PodStatus, UnhealthyDevice};
use mote_protocol::text::Short;
use mote_tests::manifest::{Manifest, pod};
use mote_tests::node::NodeOptions;
use mote_tests::world::{BUSYBOX, World, container, topic, waiting};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

/// A device node that no driver is behind: who may open it is told that there is no such device, and
/// everybody else that it is not permitted.
struct Node {
    path: PathBuf,
    resource: String,
}

impl Node {
    fn new(name: &str) -> Result<Self> {
        let node = Self::absent(name);
        node.plug_in(7)?;
        Ok(node)
    }

    /// One that is not plugged in yet.
    fn absent(name: &str) -> Self {
        let name = format!("mote-{name}-{}", std::process::id());
        let path = Path::new("/dev").join(&name);
        Self { path, resource: format!("mote.io/{name}") }
    }

    fn plug_in(&self, minor: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(0o600);
        let number = makedev(240, minor);
        mknodat(CWD, &self.path, FileType::CharacterDevice, mode, number).context("mknod")
    }

    fn pull(&self) -> Result<()> {
        Ok(std::fs::remove_file(&self.path)?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn options(world: &World, device: &Node) -> NodeOptions {
    let extra = format!("[[device]]\npath = \"{}\"\n", device.path.display());
    NodeOptions { extra, ..world.options("n1") }
}

fn with_device(name: &str, device: &Node, script: &str) -> Manifest {
    pod(name)
        .container("main", BUSYBOX, &["sh", "-c", script])
        .with("resources", json!({"limits": {&device.resource: 1}}))
}

#[test]
fn a_container_has_the_devices_that_it_asks_for_and_no_others() -> Result<()> {
    let world = World::new()?;
    let device = Node::new("has")?;
    let node = world.node_with(options(&world, &device))?;
    let path = device.path.display();
    let script = format!(
        "ls -l {path} | cut -c 1-10; dd if={path} of=/dev/null 2>&1 | grep -o 'No such device or address'"
    );
    let text = super::printed(&world, &node, "web", &with_device("web", &device, &script).once())?;
    assert_eq!(text, "crw-------\nNo such device or address\n");
    // A node that it makes itself opens nothing.
    let script = format!(
        "ls {path} 2>&1; mknod /x c 240 7; dd if=/x of=/dev/null 2>&1 | grep -oE 'not permitted|denied'"
    );
    let other = pod("other").once().container("main", BUSYBOX, &["sh", "-c", &script]);
    let text = super::printed(&world, &node, "other", &other)?;
    assert!(text.contains("No such file"), "{text}");
    assert!(text.ends_with("denied\n") || text.ends_with("not permitted\n"), "{text}");
    let capacity = world.operator.run(&["get", "node", "n1", "-o", "yaml"])?.succeeded()?;
    assert_eq!(capacity.matches(&format!("{}: \"1\"", device.resource)).count(), 2, "{capacity}");
    Ok(())
}

#[test]
fn a_device_that_somebody_has_is_waited_for() -> Result<()> {
    let world = World::new()?;
    let device = Node::new("waits")?;
    let node = world.node_with(options(&world, &device))?;
    world.operator.apply(&with_device("first", &device, "exec sleep 1001"), &node)?;
    let first = world.wait_for_phase(&node, "first", Phase::Running)?;
    world.operator.apply(&with_device("second", &device, "exec sleep 1002"), &node)?;
    let status = world.wait_for(&node, "second", "its reason", |status| {
        waiting(status, "main").is_some_and(|(reason, _)| reason == "CreateContainerConfigError")
    })?;
    let (_, message) = waiting(&status, "main").context("it waits")?;
    let uid = first.uid.context("a uid")?;
    assert_eq!(message, format!("device {} is in use by first_default({uid})", device.resource));
    // A third waits beside it: neither of the two takes the other's failure for a device that is free.
    world.operator.apply(&with_device("third", &device, "exec sleep 1003"), &node)?;
    world.wait_for(&node, "third", "its reason", |status| {
        waiting(status, "main").is_some_and(|(reason, _)| reason == "CreateContainerConfigError")
    })?;
    world.operator.delete("first", &node)?;
    world.wait_for(&node, "second", "one of them to run", |_| {
        ["sleep 1002", "sleep 1003"].iter().any(|line| node.process(line).is_ok())
    })?;
    let pulled = node.log().matches("reason=Pulled").count();
    assert!(pulled < 30, "{pulled} attempts: they wake each other");
    Ok(())
}

/// Waits until a node has so much of a device, and others can have as much.
fn wait_for_capacity(
    world: &World,
    node: &mote_tests::node::Node,
    device: &Node,
    amount: u32,
) -> Result<()> {
    let topic = topic(node, "status/node");
    world.observer.wait(&format!("{amount} of {}", device.resource), |view| {
        let status = view.body::<NodeStatus>(&topic)?;
        let has = |resources: &Resources| {
            let found = resources.devices.iter().find(|(name, _)| **name == *device.resource);
            found.map_or(0, |(_, amount)| *amount)
        };
        (has(&status.capacity) == amount && has(&status.allocatable) == amount).then_some(())
    })
}

#[test]
fn a_device_that_is_pulled_is_told_and_one_that_comes_is_used() -> Result<()> {
    let world = World::new()?;
    let device = Node::absent("comes");
    let node = world.node_with(options(&world, &device))?;
    world.operator.apply(&with_device("web", &device, "exec sleep 1001"), &node)?;
    let status = world.wait_for(&node, "web", "its reason", |status| {
        waiting(status, "main").is_some_and(|(reason, _)| reason == "CreateContainerConfigError")
    })?;
    let (_, message) = waiting(&status, "main").context("it waits")?;
    assert_eq!(message, format!("device {} is not on this node", device.resource));
    device.plug_in(7)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    let pid = node.process("sleep 1001")?;
    wait_for_capacity(&world, &node, &device, 1)?;

    let unhealthy = |replaced: bool| {
        let (container, resource) = (Short::new("main"), Short::new(&device.resource));
        vec![UnhealthyDevice { container, resource, replaced }]
    };
    let told = |what: &str, devices: Vec<UnhealthyDevice>| {
        world.wait_for(&node, "web", what, |status| status.unhealthy_devices() == devices)
    };
    device.pull()?;
    told("that it is gone", unhealthy(false))?;
    let text = format!("device {} of container main is not there any more", device.resource);
    assert_eq!(world.wait_for_event(&node, "DeviceUnplugged")?, text);
    wait_for_capacity(&world, &node, &device, 0)?;
    let described = world.operator.run(&["describe", "pod", "web"])?.succeeded()?;
    let line = format!("{}: Unhealthy (not there any more)", device.resource);
    assert!(described.contains(&line), "{described}");
    let path = ".status.containerStatuses[0].allocatedResourcesStatus[0].resources[0].health";
    assert_eq!(world.operator.field("web", &node, path)?, "Unhealthy");

    device.plug_in(7)?;
    told("that it is there again", Vec::new())?;
    wait_for_capacity(&world, &node, &device, 1)?;
    device.pull()?;
    device.plug_in(8)?;
    told("that it is another one", unhealthy(true))?;
    assert!(world.wait_for_event(&node, "DeviceReplaced")?.contains("must be restarted"));
    assert!(node.ctl(&["describe", "pod", "web"])?.contains("Unhealthy (replaced"));
    assert_eq!(node.process("sleep 1001")?, pid, "nobody ended it");
    // The next attempt has the node that is there.
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    let well = |status: &PodStatus| {
        let main = container(status, "main");
        let again = main.is_ok_and(|main| main.restarts == 1 && main.ready());
        again && status.unhealthy_devices().is_empty()
    };
    world.wait_for(&node, "web", "another attempt", well)?;
    Ok(())
}

#[test]
fn sysctls_of_a_pod_are_its_own_and_unsafe_ones_need_leave() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let sysctl = |name: &str, value: &str| json!({"sysctls": [{"name": name, "value": value}]});
    let read = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced";
    let both = json!({"sysctls": [
        {"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"},
        {"name": "kernel/shm_rmid_forced", "value": "1"},
    ]});
    let before = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")?;
    let manifest = |name: &str| pod(name).once().container("main", BUSYBOX, &["sh", "-c", read]);
    let text =
        super::printed(&world, &node, "web", &manifest("web").spec("securityContext", both))?;
    assert_eq!(text, "80\n1\n");
    let after = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")?;
    assert_eq!(after, before, "the host keeps its own");
    let unsafe_one = manifest("bad").spec("securityContext", sysctl("net.core.somaxconn", "7"));
    let refused = world.operator.try_apply(&unsafe_one, &node)?.refused()?;
    assert!(
        refused.contains("forbidden sysctl: \"net.core.somaxconn\" not allowlisted"),
        "{refused}"
    );

    let extra = "[security]\nallowed_unsafe_sysctls = [\"net.core.*\"]\n".to_owned();
    let lenient = world.node_with(NodeOptions { extra, ..world.options("n2") })?;
    let read = ["cat", "/proc/sys/net/core/somaxconn"];
    let manifest = pod("web")
        .once()
        .container("main", BUSYBOX, &read)
        .spec("securityContext", sysctl("net.core.somaxconn", "7"));
    assert_eq!(super::printed(&world, &lenient, "web", &manifest)?, "7\n");
    Ok(())
}
