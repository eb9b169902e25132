//! No container reaches the program that started it (the class of CVE-2019-5736).

use std::fs;

use anyhow::Result;
use mote_protocol::status::Phase;
use mote_tests::binaries;
use mote_tests::image::{Builder, Layer, sha256};
use mote_tests::manifest::pod;
use mote_tests::world::{BUSYBOX, World};
use serde_json::json;

/// Waits for a process of the host's binary to appear in its namespace, and tries to write to it
/// through every door that there is.
const ATTACK: &str = "for exe in /proc/self/exe /proc/*/exe; do \
     echo overwritten > $exe; cat /bin/busybox > $exe; \
     exec 9<$exe; echo overwritten > /proc/self/fd/9; exec 9<&-; done 2>/dev/null; exit 0";

#[test]
fn no_container_reaches_the_hosts_binary() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let program = binaries::agent()?;
    let before = sha256(&fs::read(&program)?);
    let entrypoint = Builder::busybox()?.entrypoint(&["/proc/self/exe"]).build()?;
    node.import(&entrypoint, "test.local/self:1")?;
    let link = Layer::default().symlink("bin/agent", "/proc/self/exe");
    let link = Builder::busybox()?.layer(link).entrypoint(&["/bin/agent", "--version"]).build()?;
    node.import(&link, "test.local/link:1")?;

    for (name, image) in [("self", "test.local/self:1"), ("link", "test.local/link:1")] {
        world.operator.apply(&pod(name).image("main", image).once(), &node)?;
        world.wait_for(&node, name, "an end", |status| status.phase.is_terminal())?;
    }
    let attack = pod("attack").container("main", BUSYBOX, &["sh", "-c", ATTACK]).once();
    world.operator.apply(&attack, &node)?;
    world.wait_for_phase(&node, "attack", Phase::Succeeded)?;
    let from_host = pod("host").container("main", BUSYBOX, &["sh", "-c", ATTACK]).once();
    world.operator.apply(&from_host.spec("hostPID", json!(true)), &node)?;
    world.wait_for(&node, "host", "an end", |status| status.phase.is_terminal())?;

    assert_eq!(sha256(&fs::read(&program)?), before, "the host's binary was changed");
    world.operator.apply(&pod("after").container("main", BUSYBOX, &["sleep", "1001"]), &node)?;
    world.wait_for_phase(&node, "after", Phase::Running)?;
    Ok(())
}
