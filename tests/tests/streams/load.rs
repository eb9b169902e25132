//! Much to carry, on lines that are bad.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::link::{Link, Manner};
use mote_tests::manifest::pod;
use mote_tests::node::{Node, NodeOptions};
use mote_tests::operator::answer;
use mote_tests::wait::let_pass;
use mote_tests::world::{BUSYBOX, World};

use super::forward::{Forwarding, echo, server};
use super::{ALLOWED, quick};

/// Megabytes each way.
fn megabytes() -> usize {
    if std::env::var_os("MOTE_LONG").is_some() { 100 } else { 20 }
}

/// A text in which every place is another.
fn text(megabytes: usize) -> Vec<u8> {
    (0..megabytes as u64 * 1_000_000 / 8)
        .flat_map(|number| (number * 0x9e37_79b9).to_le_bytes())
        .collect()
}

/// A node that reaches its broker over a line.
fn behind(world: &World, link: &Link) -> Result<Node> {
    let options = NodeOptions { extra: ALLOWED.to_owned(), ..world.options("n1") };
    let section = world.broker.section(&options)?;
    let section = section.replace(&world.broker.address().to_string(), &link.host());
    let mut node = Node::with_broker(world.directory(), options, &section)?;
    node.import(&mote_tests::image::Image::busybox()?, BUSYBOX)?;
    node.start()?;
    world.wait_for_birth(&node)?;
    Ok(node)
}

/// What the agent has in memory that is in no file, in KiB.
fn heap(node: &Node) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid()?.as_raw_nonzero()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("a kernel")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// How long an update of a pod takes that changes nothing but its labels.
fn update(world: &World, node: &Node, number: u32) -> Result<Duration> {
    let begun = Instant::now();
    let calm = pod("calm").container("main", BUSYBOX, &["sleep", "1006"]);
    world.operator.apply(&calm.label("number", &number.to_string()), node)?;
    Ok(begun.elapsed())
}

#[test]
fn much_comes_through_whole_and_statuses_do_not_wait() -> Result<()> {
    let world = quick()?;
    let link = Link::to(&world.broker.address().to_string(), Manner::Good)?;
    let node = behind(&world, &link)?;
    server(&world, &node)?;
    update(&world, &node, 0)?;
    world.wait_for_phase(&node, "calm", Phase::Running)?;
    let mut calm = Duration::ZERO;
    for number in 1..4 {
        calm = calm.max(update(&world, &node, number)?);
    }
    let forwarding = Forwarding::start(&world, &["web", ":7"])?;
    let text = text(megabytes());
    let before = heap(&node)?;
    let (busy, back) = thread::scope(|scope| -> Result<_> {
        let connection = forwarding.connect()?;
        let back = scope.spawn(|| echo(connection, &text));
        let (mut busy, mut number) = (Duration::ZERO, 4);
        while !back.is_finished() {
            busy = busy.max(update(&world, &node, number)?);
            number += 1;
            if number == 7 {
                // Out for a while, and nothing of what was on the way is lost.
                link.hold(true);
                let_pass(Duration::from_secs(2));
                link.hold(false);
            }
        }
        ensure!(number > 7, "it was over before the line was out");
        Ok((busy, back.join().map_err(|_| anyhow::anyhow!("a panic"))??))
    })?;
    ensure!(back == text, "{} of {} bytes, or others", back.len(), text.len());
    ensure!(busy < calm + Duration::from_secs(1), "{calm:?} without, {busy:?} with streams");
    let grown = heap(&node)?.saturating_sub(before);
    ensure!(grown < 2048, "the agent grew by {grown} KiB");
    Ok(())
}

#[test]
fn a_line_that_breaks_ends_streams_with_an_error() -> Result<()> {
    let world = quick()?;
    let link = Link::to(&world.broker.address().to_string(), Manner::Good)?;
    let node = behind(&world, &link)?;
    server(&world, &node)?;
    let mut forwarding = Forwarding::start(&world, &["web", ":7"])?;
    let mut connection = forwarding.connect()?;
    let reads = "echo up; cat > /dev/null; echo over >> /tmp/ends";
    let mut command = world.operator.command(&["exec", "-i", "web", "--", "sh", "-c", reads]);
    let (input, attached) = std::io::pipe()?;
    let mut operator = command.stdin(input).stderr(std::process::Stdio::piped()).spawn()?;
    while node.processes(reads)?.is_empty() {
        thread::yield_now();
    }
    let text = text(megabytes());
    let mut sending = connection.try_clone()?;
    let (back, ended) = thread::scope(|scope| {
        let sent = scope.spawn(|| {
            let sent = sending.write_all(&text);
            let _ = sending.shutdown(Shutdown::Write);
            sent
        });
        let (mut back, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        let ended = loop {
            match connection.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(len) => back.extend_from_slice(&buffer[..len]),
                Err(error) => break Err(error),
            }
            if back.len() > 1_000_000 {
                link.cut();
            }
        };
        let _ = connection.shutdown(Shutdown::Both);
        // The kernel tells a reset once, to whoever asks first.
        (back, ended.and(sent.join().expect("no panic")))
    });
    ensure!(ended.is_err(), "an end would say that it was whole");
    ensure!(back.len() < text.len() && text.starts_with(&back), "{} bytes, or others", back.len());
    forwarding.process.wait_for_line("lost connection to pod")?;
    assert_eq!(forwarding.process.wait()?.code(), Some(1));
    let output = operator.wait()?;
    assert_eq!(output.code(), Some(1));
    let mut error = String::new();
    operator.stderr.take().context("piped")?.read_to_string(&mut error)?;
    assert_eq!(error, "error: node n1 went offline\n");
    drop(attached);
    link.mend();
    // The node ended what its operators left behind, and comes back for others.
    let seen = answer(node.ctl_command(&["exec", "web", "--", "cat", "/tmp/ends"]), b"")?;
    assert_eq!(seen.succeeded()?, "over\n");
    let births = world.observer.connections();
    ensure!(births > 0, "it watches");
    world
        .operator
        .run(&["wait", "node", "n1", "--for=condition=Ready", "--timeout=60s"])?
        .succeeded()?;
    let forwarding = Forwarding::start(&world, &["web", ":7"])?;
    let again = echo(forwarding.connect()?, &text[..100_000])?;
    ensure!(again == text[..100_000], "{} bytes", again.len());
    Ok(())
}
