//! A pod that asks the node's resolver as fast as it can: it takes neither the node's memory nor the way of
//! the others.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use domain::base::iana::Rtype;
use mote_tests::host::memory;
use mote_tests::manifest::service;
use mote_tests::network::inside;
use serde_json::json;

use crate::resolver::{GATEWAY, ask, ask_by_tcp, node_asking, question};
use crate::{Machine, V4};

/// Questions of the flood at the least, each for a name of its own, which somebody else would have to answer.
const QUESTIONS: u32 = 60_000;

/// Questions of another pod meanwhile, one after the other: no more than a pod may ask at once.
const ASKED: u32 = 200;

/// Connections that say nothing.
const CONNECTIONS: usize = 200;

/// What the agent may take for it, in KiB: 24 questions of one pod that wait, 512 answers that are kept, and
/// what its allocator does not give back.
const MOST_KIB: u64 = 2048;

/// Asks and never listens, until that is over; how many questions that were.
fn flood(network: &File, over: &AtomicBool) -> Result<u32> {
    let server: SocketAddr = GATEWAY.parse()?;
    inside(network, || {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.connect(server)?;
        let mut number = 0;
        while number < QUESTIONS || !over.load(Ordering::Relaxed) {
            // A full buffer is what is wanted.
            let _ = socket.send(&question(&format!("n{number}.example"), Rtype::A)?);
            number += 1;
        }
        Ok(number)
    })
}

/// Connects and says nothing.
fn connections(network: &File) -> Result<Vec<TcpStream>> {
    let server: SocketAddr = GATEWAY.parse()?;
    inside(network, || {
        let open = (0..CONNECTIONS).map_while(|_| {
            let mut stream =
                TcpStream::connect_timeout(&server, Duration::from_millis(200)).ok()?;
            // The beginning of a packet that never comes.
            stream.write_all(&[1]).ok()?;
            Some(stream)
        });
        Ok(open.collect())
    })
}

#[test]
fn a_pod_that_floods_the_resolver_harms_nobody() -> Result<()> {
    let machine = Machine::new()?;
    let ends = [("192.0.2.1/24", "192.0.2.2/24")];
    let neighbour = machine.network.neighbour("world0", &ends)?;
    // Somebody who hears what is asked, and never answers.
    let silent = inside(&neighbour.open()?, || Ok(UdpSocket::bind(("192.0.2.2", 53))?))?;
    let node = node_asking(&machine, V4, "nameserver 192.0.2.2\n")?;
    let (loud, quiet) = (machine.idle(&node, "loud")?, machine.idle(&node, "quiet")?);
    machine.world.operator.apply(&service("web", "web", &json!([{"port": 80}])), &node)?;
    let web = "web.default.svc.cluster.local";
    let answer = ask(&quiet.network, GATEWAY, web, Rtype::A)?;
    let before = memory(node.pid()?)?.anonymous_kib;
    let over = AtomicBool::new(false);
    let (flooded, slowest) = thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&loud.network, &over));
        let mut slowest = Duration::ZERO;
        let asked = (0..ASKED).try_for_each(|number| {
            let begun = Instant::now();
            let text = ask(&quiet.network, GATEWAY, web, Rtype::A)
                .with_context(|| format!("question {number} beside the flood"))?;
            slowest = slowest.max(begun.elapsed());
            ensure!(text == answer, "{text}");
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        let flooded = flooding.join().ok().context("the flood")??;
        asked.map(|()| (flooded, slowest))
    })?;
    let held = connections(&loud.network)?;
    ensure!(ask_by_tcp(&quiet.network, GATEWAY, web, Rtype::A)? == answer, "by TCP");
    ensure!(ask(&quiet.network, GATEWAY, web, Rtype::A)? == answer, "once it is over");
    let grown = memory(node.pid()?)?.anonymous_kib.saturating_sub(before);
    println!(
        "\nfigure: beside {flooded} questions and {} connections of a pod all {ASKED} of another's were \
         answered, the slowest after {slowest:.1?}; the agent took {grown} KiB",
        held.len()
    );
    ensure!(grown <= MOST_KIB, "{grown} KiB more");
    drop(silent);
    Ok(())
}
