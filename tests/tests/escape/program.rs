//! The program that starts containers is the agent's own, and nobody in one reaches the file of it
//! (the class of CVE-2019-5736).

use std::fs::{self, File};

use anyhow::{Context, Result};
use mote_cross::elf::Elf;
use mote_protocol::status::{Phase, PodCondition};
use mote_tests::binaries;
use mote_tests::image::{Builder, Layer, sha256};
use mote_tests::manifest::pod;
use mote_tests::process::wait_for_exit;
use mote_tests::wait::Deadline;
use mote_tests::workload;
use mote_tests::world::{BUSYBOX, World};
use serde_json::json;

use super::{Expected, check, image, inside};

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

/// While the agent runs, the kernel protects the file of a running program as well.
const BEFORE: &Expected = &[
    ("before write", &["EROFS", "ETXTBSY"]),
    ("before append", &["EROFS", "ETXTBSY"]),
    ("before truncate", &["EROFS"]),
    ("before chmod", &["EROFS"]),
];

/// Once nobody runs it, only the mount does.
const AFTER: &Expected = &[
    ("after write", &["EROFS"]),
    ("after append", &["EROFS"]),
    ("after truncate", &["EROFS"]),
    ("after chmod", &["EROFS"]),
];

/// What a hook found, which did not wait for the agent's end.
const AGAIN: &Expected = &[
    ("after write", &["EROFS", "ETXTBSY"]),
    ("after append", &["EROFS", "ETXTBSY"]),
    ("after truncate", &["EROFS"]),
    ("after chmod", &["EROFS"]),
];

const LOADER: &str = "test.local/loader:1";

/// The image brings a dynamic linker of its own, so that whoever executes the agent's program in it
/// runs the image's code with that program at hand.
#[test]
fn a_program_that_was_got_hold_of_stays_as_it_is() -> Result<()> {
    let world = World::new()?;
    // Of its own, so that nobody else runs it.
    let program = world.directory().join("agent");
    fs::copy(binaries::agent()?, &program)?;
    let before = sha256(&fs::read(&program)?);
    let mut node = world.prepare(world.options("n1"))?.with_program(&program);
    let linker = Elf::parse(&fs::read(&program)?)?.interpreter()?;
    let linker = linker.context("an agent with a dynamic linker")?;
    let linker = linker.trim_start_matches('/');
    let directory = linker.rsplit_once('/').map(|(directory, _)| directory).context("a path")?;
    let layer =
        Layer::default().directory(directory, 0o755).file(linker, 0o755, &workload::loader()?);
    let layer = layer.file("interpreted", 0o755, b"#!/proc/self/exe\n");
    let image = image()?.layer(layer).entrypoint(&["/proc/self/exe"]).build()?;
    node.import(&image, LOADER)?;
    node.start()?;

    let ready = json!({"exec": {"command": ["cat", "/ready"]}, "periodSeconds": 1});
    let first = pod("first").once().image("main", LOADER).with("readinessProbe", ready.clone());
    world.operator.apply(&first, &node)?;
    // By its interpreter: whoever looks for the program of a command is no process of the container
    // yet, and has no `/proc/self` there.
    let hook = json!({"postStart": {"exec": {"command": ["/interpreted"]}}});
    let command = pod("command")
        .container("main", LOADER, &["sh", "-c", "touch /go; exec sleep 1001"])
        .with("lifecycle", hook)
        .with("readinessProbe", ready);
    world.operator.apply(&command, &node)?;
    let mut uid = None;
    for name in ["first", "command"] {
        let is_ready = |status: &mote_protocol::status::PodStatus| {
            status.conditions.is_true(PodCondition::Ready)
        };
        let status = world.wait_for(&node, name, "Ready: it was tried", is_ready)?;
        uid = uid.or(status.uid);
    }
    let report = fs::read_to_string(inside(&node, "sleep 1001", "/report")?)?;
    check(&report, &[BEFORE, AGAIN].concat())?;

    let pried = "/attacker pry /proc/self/fd/100 /report";
    let attacker = node.process(pried)?;
    node.terminate()?;
    File::options().write(true).open(&program).context("nobody runs it any more")?;
    fs::write(format!("/proc/{}/root/go", attacker.as_raw_nonzero()), "")?;
    wait_for_exit(attacker, Deadline::patient())?;
    let report = node.printed(&uid.context("a uid")?, "main")?;
    check(&report, &[BEFORE, AFTER].concat())?;
    assert_eq!(sha256(&fs::read(&program)?), before, "the host's binary was changed");
    Ok(())
}
