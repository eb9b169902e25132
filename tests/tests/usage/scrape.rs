//! Prometheus' text over a port of the loopback and over a path.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_tests::node::NodeOptions;
use mote_tests::port;
use mote_tests::wait::Deadline;
use mote_tests::world::World;

use crate::{HELD, busy};

/// A scrape as Prometheus makes it.
const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: n1\r\nAccept: text/plain\r\n\r\n";

/// Of the busy container.
const LABELS: &str = "{container=\"main\",namespace=\"default\",pod=\"busy\"}";

/// What is answered to some bytes.
fn ask(address: SocketAddr, request: &[u8]) -> Result<String> {
    talk(TcpStream::connect(address)?, request)
}

fn talk(mut stream: impl Read + Write, request: &[u8]) -> Result<String> {
    stream.write_all(request)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The value of a metric, with its labels as they stand.
fn value(text: &str, metric: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("{metric} in\n{text}"))?.parse()?)
}

#[test]
fn a_port_tells_what_is_used_and_nothing_else() -> Result<()> {
    let (world, address) = (World::new()?, port::free()?);
    let extra = format!("[metrics]\nlisten = \"{address}\"\n");
    let node = world.node_with(NodeOptions { extra, ..world.options("n1") })?;
    busy(&world, &node)?;
    let (deadline, cpu) =
        (Deadline::patient(), format!("container_cpu_usage_seconds_total{LABELS}"));
    let first = value(&ask(address, SCRAPE)?, &cpu)?;
    let text = loop {
        deadline.remaining().context("it neither works nor fills its memory")?;
        let text = ask(address, SCRAPE)?;
        let held = value(&text, &format!("container_memory_working_set_bytes{LABELS}"))?;
        let held = held / f64::from(1 << 20);
        let range = f64::from(u32::try_from(HELD)?)..f64::from(u32::try_from(HELD)?) + 16.0;
        if range.contains(&held) && value(&text, &cpu)? >= first + 0.2 {
            break text;
        }
    };
    println!("{text}");
    ensure!(
        text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"),
        "{text}"
    );
    for (metric, expected) in [
        ("kube_node_status_condition{node=\"n1\",condition=\"Ready\",status=\"true\"}", 1.0),
        ("kube_node_status_condition{node=\"n1\",condition=\"DiskPressure\",status=\"true\"}", 0.0),
        ("kube_pod_status_phase{namespace=\"default\",pod=\"busy\",phase=\"Running\"}", 1.0),
        (
            "kube_pod_container_status_restarts_total{namespace=\"default\",pod=\"busy\",container=\"main\"}",
            0.0,
        ),
        ("mote_broker_connected", 1.0),
    ] {
        ensure!((value(&text, metric)? - expected).abs() < 0.5, "{metric} in\n{text}");
    }
    ensure!(value(&text, "node_cpu_usage_seconds_total")? > 0.2);
    ensure!(value(&text, "mote_published_bytes_total")? > 100.0, "a birth and statuses were sent");
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", "405"),
        (b"\x16\x03\x01\r\n\r\n", "400"),
        (&[b'x'; 4096], "431"),
    ] {
        let text = ask(address, request)?;
        ensure!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    }
    Ok(())
}

#[test]
fn who_says_nothing_holds_others_up_for_a_while_only() -> Result<()> {
    let (world, address) = (World::new()?, port::free()?);
    let extra = format!("[metrics]\nlisten = \"{address}\"\n");
    let _node = world.node_with(NodeOptions { extra, ..world.options("n1") })?;
    let silent = (0..8).map(|_| TcpStream::connect(address)).collect::<Result<Vec<_>, _>>()?;
    let patient = TcpStream::connect(address)?;
    patient.set_read_timeout(Some(Duration::from_mins(1)))?;
    ensure!(talk(patient, SCRAPE)?.starts_with("HTTP/1.1 200 OK"));
    drop(silent);
    Ok(())
}

#[test]
fn a_path_is_a_place_as_well_also_where_an_agent_was_before() -> Result<()> {
    let world = World::new()?;
    let path = world.directory().join("metrics.sock");
    let extra = format!("[metrics]\nlisten = \"unix:{}\"\n", path.display());
    let mut node = world.node_with(NodeOptions { extra, ..world.options("n1") })?;
    let scrape = || talk(UnixStream::connect(&path)?, SCRAPE);
    ensure!(scrape()?.contains("\nmote_agent_info{version="));
    world.replace_agent(&mut node)?;
    ensure!(scrape()?.contains("\nmote_agent_info{version="));
    Ok(())
}
