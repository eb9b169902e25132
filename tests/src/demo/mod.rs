//! The demo behind `cargo demo`: a whole fleet of one node on this machine, from nothing.
//!
//! It needs Rust, a C compiler and root, and no network: the broker is embedded, the image is
//! built here. A pod with an init container and two containers that talk over localhost is applied,
//! its phases and conditions are shown as they change, and at the end nothing is left: no process,
//! mount, cgroup, interface, nor a file outside the demo's own directory, which goes too.

mod broker;
mod story;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use mote_protocol::status::{Phase, PodCondition, PodStatus};

use crate::host::{self, Remains};
use crate::image::Image;
use crate::manifest::{Manifest, pod};
use crate::node::{Node, NodeOptions};
use crate::observer::Observer;
use crate::operator::Operator;
use crate::wait::{Deadline, Watched, let_pass};
use crate::workload;
use crate::world::status_topic;
use story::Story;

/// The image's name. Nobody answers to the host in it: it must come from the import directory.
const IMAGE: &str = "demo.invalid/workload:1";

const FLEET: &str = "demo";

const POD: &str = "talk";

/// How often, and how long apart, a person would look into a log for its first line.
const LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_millis(100);

/// Runs one pod on this machine, with everything it needs, and cleans up.
#[derive(Debug, Parser)]
#[command(name = "cargo demo", bin_name = "cargo demo --")]
pub struct Options {
    /// Delete the pod once it is Running and Ready, and end.
    #[arg(long)]
    once: bool,
}

/// Runs the demo.
pub fn run(options: &Options) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        let once = if options.once { " -- --once" } else { "" };
        eprintln!("containers need root: sudo -E env \"PATH=$PATH\" cargo demo{once}");
        return Ok(ExitCode::FAILURE);
    }
    let stop = Arc::new(Watched::new(options.once));
    let before = host::interfaces()?;
    let directory = tempfile::Builder::new().prefix("mote-demo-").tempdir_in("/tmp")?;
    listen_for_interrupt(&stop)?;

    println!("building the agent, mote and an image");
    let image = workload_image(directory.path())?;
    let broker = broker::start()?;
    println!("broker: {broker}, embedded in this process");
    let node_options = NodeOptions::new("board", FLEET);
    let section = format!("[broker]\nurl = \"mqtt://{broker}\"");
    let mut node = Node::with_broker(directory.path(), node_options, &section)?;
    node.import(&image, IMAGE)?;
    let observer = Observer::connect(broker, FLEET)?;
    let operator = Operator::new(&directory.path().join("operator"), broker, FLEET)?;
    let footprint = node.footprint().clone();

    let shown = show(&mut node, &observer, &operator, &stop);
    drop(node);
    let remains = footprint.remains()?;
    drop(directory);
    shown?;
    ensure!(remains == Remains::default(), "left behind: {remains:#?}");
    ensure!(host::interfaces()? == before, "an interface was left behind");
    println!("nothing is left: no process, mount, cgroup, interface or file");
    Ok(ExitCode::SUCCESS)
}

fn workload_image(directory: &std::path::Path) -> Result<Image> {
    let program = directory.join("workload");
    workload::compile(&program)?;
    workload::image(&program)
}

/// The main part: from the agent's start to its end, by its own means.
fn show(
    node: &mut Node,
    observer: &Observer,
    operator: &Operator,
    stop: &Watched<bool>,
) -> Result<()> {
    node.start()?;
    println!("agent: process {}, node `board` of fleet `{FLEET}`", node.pid()?.as_raw_nonzero());
    let manifest = manifest();
    println!("\n$ mote apply -f - --node board\n{}", manifest.pretty());
    print!("{}", operator.apply(&manifest, node)?);

    let topic = status_topic(node, POD);
    let mut story = Story::default();
    observer.wait("the pod to be Running and Ready", |view| {
        let statuses = view.bodies::<PodStatus>(&topic);
        story.tell(&statuses);
        statuses.last().is_some_and(is_ready).then_some(())
    })?;
    println!("\n$ mote get pods -o wide");
    print!("{}", operator.run(&["get", "pods", "-o", "wide"])?.succeeded()?);
    show_the_talk(node, observer, &topic)?;
    wait_for_the_end(stop)?;

    println!("\n$ mote delete pod {POD} --node board");
    print!("{}", operator.delete(POD, node)?);
    observer.wait("the pod to be gone", |view| {
        story.tell(&view.bodies::<PodStatus>(&topic));
        (!view.latest.contains_key(&topic)).then_some(())
    })?;
    let left = node.footprint().remains()?;
    ensure!(left.processes.is_empty(), "still there after the deletion: {left:#?}");
    node.terminate()?;
    println!("agent: ended");
    Ok(())
}

/// Prints what the container that asks was answered.
fn show_the_talk(node: &Node, observer: &Observer, topic: &str) -> Result<()> {
    let status = observer.look(|view| view.body::<PodStatus>(topic));
    let uid = status.and_then(|status| status.uid).context("an accepted pod has a uid")?;
    for _ in 0..LOOKS {
        let printed = node.printed(&uid, "ask")?;
        if !printed.is_empty() {
            print!("\nwhat `ask` heard from `serve` on localhost:\n{printed}");
            return Ok(());
        }
        let_pass(LOOK);
    }
    anyhow::bail!("the containers do not talk")
}

fn is_ready(status: &PodStatus) -> bool {
    status.phase == Phase::Running && status.conditions.is_true(PodCondition::Ready)
}

fn manifest() -> Manifest {
    pod(POD)
        .init("prepare", IMAGE, &["/workload", "prepare"])
        .container("serve", IMAGE, &["/workload", "serve"])
        .container("ask", IMAGE, &["/workload", "ask"])
}

fn wait_for_the_end(stop: &Watched<bool>) -> Result<()> {
    if *stop.lock() {
        return Ok(());
    }
    println!("\nrunning; Ctrl-C ends it and cleans up");
    stop.wait(Deadline::never(), "Ctrl-C", |stopped| stopped.then_some(()))
}

/// From now on Ctrl-C and SIGTERM only say that it is time to clean up.
fn listen_for_interrupt(stop: &Arc<Watched<bool>>) -> Result<()> {
    let stop = Arc::clone(stop);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("listen for Ctrl-C")?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        anyhow::Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    })?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        stop.update(|stop| *stop = true);
    });
    Ok(())
}
