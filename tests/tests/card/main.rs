//! Whole Debians of another processor, which take longer than all other boards together.
//!
//! An image of a card, made out of packages, in QEMU's Raspberry Pi 3B: what is written to `mote.txt` makes it a node,
//! whose pods come from its card. And what boards of this machine's processor do with systemd, on an ARM one.

#[path = "../boards/systemd.rs"]
mod systemd;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_cross::board::raspi3b::Raspi3b;
use mote_cross::board::{Parts, cache};
use mote_cross::image::{self, Plan};
use mote_cross::package;
use mote_cross::release::{self, Release};
use mote_cross::route::Route;
use mote_cross::target::Target;
use mote_protocol::node::NodeStatus;
use mote_protocol::status::{Phase, PodStatus};
use mote_tests::board::machine::Machine;
use mote_tests::image::{Builder, Layer};
use mote_tests::manifest::pod;
use mote_tests::process::Process;
use mote_tests::wait::Deadline;
use mote_tests::world::{BUSYBOX, World};

/// From power on: a processor of 2016, emulated.
const TIME: Duration = Duration::from_mins(8);

const TARGET: Target = Target::Aarch64;

/// The board's name.
const NAME: &str = "pi";

/// Less than the card, and more than what the image has: its root partition grew.
const GROWN_KIB: u64 = 3 << 20;

#[test]
#[ignore = "installs a Debian and boots a virtual machine: cargo verify --only card"]
fn a_card_out_of_packages_makes_a_raspberry_pi_a_node() -> Result<()> {
    let world = World::new()?;
    let directory = tempfile::tempdir()?;
    let image = flash(&world, directory.path())?;
    let board = Raspi3b::with(&image, directory.path())?;
    let console = directory.path().join("console.log");
    let mut emulator = board.command(&format!("file:{}", console.display()), "");
    let mut emulator = Process::spawn("raspi3b", &mut emulator)?;
    let seen = look(&world);
    emulator.kill()?;
    seen.with_context(|| {
        let log = fs::read(&console).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(8000)..]).into_owned()
    })
}

#[test]
#[ignore = "installs a Debian and boots a virtual machine: cargo verify --only card"]
fn an_arm_debian_with_systemd_runs_pods_from_its_first_boot_on() -> Result<()> {
    systemd::from_its_first_boot_on(Machine::CortexA53)
}

/// What it tells: that it is a node, that its pod runs, and what it has.
fn look(world: &World) -> Result<()> {
    let topic = |below: &str| format!("mote/v1/{}/{NAME}/{below}", world.options(NAME).fleet);
    let status = topic("status/pod/default/web-pi");
    let wait = || Deadline::after(TIME);
    world.observer.wait_until(wait(), "the pod of its card to run", |view| {
        view.body::<PodStatus>(&status).filter(|status| status.phase == Phase::Running)
    })?;
    let status = topic("status/node");
    let node = world.observer.wait_until(wait(), "its card to be used whole", |view| {
        let status = view.body::<NodeStatus>(&status)?;
        (status.capacity.ephemeral_kib > GROWN_KIB).then_some(status)
    })?;
    println!("\nits capacity: {:?}", node.capacity);
    Ok(())
}

fn flash(world: &World, directory: &Path) -> Result<std::path::PathBuf> {
    let agent = release::agent(TARGET)?;
    let (mote, pause) = (agent.clone(), agent.clone());
    let release = Release { target: TARGET, route: Route::find(TARGET)?, agent, mote, pause };
    let packages = package::pack(&release, "0.1.0", directory)?;
    let archive = directory.join("image.tar");
    let busybox = Parts::provide(Machine::CortexA53, &cache()?)?.busybox()?;
    let layer = Layer::default().root().file("bin/busybox", 0o755, &busybox);
    let contents = Builder::default().architecture(Machine::CortexA53.platform());
    let contents = contents.layer(layer.symlink("bin/sh", "busybox")).build()?;
    contents.write_archive(&archive, BUSYBOX)?;
    let web =
        pod("web").container("main", BUSYBOX, &["sh", "-c", "while :; do busybox sleep 9; done"]);
    let compiled = directory.display().to_string();
    world.operator.run_with(&["compile", "-f", "-", "-o", &compiled], &web.text())?.succeeded()?;
    let text = directory.join("mote.txt");
    let port = world.broker.address().port();
    let fleet = world.options(NAME).fleet;
    let told = format!("node = {NAME}\nfleet = {fleet}\nbroker = mqtt://10.0.2.2:{port}\n");
    fs::write(&text, told)?;
    let output = directory.join("mote.img");
    image::make(&Plan {
        onto: None,
        output: output.clone(),
        target: TARGET,
        package: packages.into_iter().next().context("the agent's package")?,
        text: Some(text),
        beside: Vec::new(),
        import: vec![archive],
        pods: vec![directory.join("default_web.pod")],
    })?;
    let kib = Command::new("du").arg("-k").arg(&output).output()?.stdout;
    let kib = String::from_utf8_lossy(&kib).split_whitespace().next().map(str::to_owned);
    println!("\nthe image: {} bytes, {kib:?} KiB of them on a disk", fs::metadata(&output)?.len());
    ensure!(output.is_file(), "an image");
    Ok(output)
}
