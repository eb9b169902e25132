//! `mote port-forward`.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::manifest::pod;
use mote_tests::node::Node;
use mote_tests::process::{Process, wait_for_exit};
use mote_tests::wait::Deadline;
use mote_tests::world::{BUSYBOX, World};
use rustix::process::Signal;

use super::{allowing, idle};

/// `mote port-forward` as it runs.
pub(super) struct Forwarding {
    pub(super) process: Process,
    /// Where it listens.
    pub(super) port: u16,
}

impl Forwarding {
    pub(super) fn start(world: &World, words: &[&str]) -> Result<Self> {
        let words: Vec<_> = ["port-forward"].iter().chain(words).copied().collect();
        let process = Process::spawn("mote port-forward", &mut world.operator.command(&words))?;
        let line = process.wait_for_line("Forwarding from 127.0.0.1:")?;
        let port = line.split([':', ' ']).nth(3).context("a port")?.parse()?;
        Ok(Self { process, port })
    }

    pub(super) fn connect(&self) -> Result<TcpStream> {
        Ok(TcpStream::connect(("127.0.0.1", self.port))?)
    }
}

/// A pod that gives back what it is sent on port 7, to one after the other, and has pages on port 80: one
/// that stands, and one that gives back what it was sent.
pub(super) fn server(world: &World, node: &Node) -> Result<()> {
    let script = "mkdir /tmp/cgi-bin; echo a page > /tmp/index.html; cd /tmp/cgi-bin; \
                  printf '#!/bin/sh\\necho\\nexec head -c $CONTENT_LENGTH\\n' > echo; chmod +x echo; \
                  httpd -p 127.0.0.1:80 -h /tmp; nc -ll -p 7 -e cat & echo serving; wait";
    let server = pod("web").container("main", BUSYBOX, &["sh", "-c", script]);
    world.operator.apply(&server.clone(), node)?;
    let status = world.wait_for_phase(node, "web", Phase::Running)?;
    let uid = status.uid.context("a uid")?;
    while !node.printed(&uid, "main")?.contains("serving") {
        thread::yield_now();
    }
    Ok(())
}

/// Sends some text on a connection, and gives what comes back to its end.
pub(super) fn echo(mut connection: TcpStream, text: &[u8]) -> Result<Vec<u8>> {
    let mut sending = connection.try_clone()?;
    thread::scope(|scope| {
        let sent = scope.spawn(move || {
            sending.write_all(text)?;
            sending.shutdown(Shutdown::Write)
        });
        let mut back = Vec::new();
        connection.read_to_end(&mut back)?;
        sent.join().map_err(|_| anyhow::anyhow!("a panic"))??;
        Ok(back)
    })
}

#[test]
fn requests_and_many_connections_come_through() -> Result<()> {
    let world = World::new()?;
    let node = allowing(&world)?;
    server(&world, &node)?;
    let mut forwarding = Forwarding::start(&world, &["web", ":80", ":7"])?;
    let mut page = String::new();
    let mut http = forwarding.connect()?;
    http.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
    http.read_to_string(&mut page)?;
    ensure!(page.starts_with("HTTP/1.") && page.ends_with("\r\n\r\na page\n"), "{page}");
    ensure!(forwarding.process.wait_for_line("-> 7")?.starts_with("Forwarding from 127.0.0.1:"));
    forwarding.process.wait_for_line(&format!("Handling connection for {}", forwarding.port))?;
    // More than one operator may have at a time: the rest waits.
    let texts: Vec<_> = (0..40).map(|number| format!("{number} ").repeat(5000)).collect();
    thread::scope(|scope| -> Result<()> {
        let post = |text: &str| -> Result<Vec<u8>> {
            let len = text.len();
            let request =
                format!("POST /cgi-bin/echo HTTP/1.0\r\nContent-Length: {len}\r\n\r\n{text}");
            echo(forwarding.connect()?, request.as_bytes())
        };
        let all: Vec<_> =
            texts.iter().map(|text| (text, scope.spawn(move || post(text)))).collect();
        for (text, back) in all {
            let back = back.join().map_err(|_| anyhow::anyhow!("a panic"))?;
            let back = back.with_context(|| forwarding.process.log())?;
            let whole =
                back.starts_with(b"HTTP/1.") && back.ends_with(format!("\n{text}").as_bytes());
            ensure!(whole, "{:?}", String::from_utf8_lossy(back.get(..200).unwrap_or(&back)));
        }
        Ok(())
    })?;
    let told = world.wait_for_event(&node, "PortForward")?;
    ensure!(told.contains('@') && told.contains("connected to port"), "{told}");
    forwarding.process.signal(Signal::INT)?;
    assert_eq!(forwarding.process.wait()?.code(), Some(0));
    forwarding.connect().expect_err("nobody listens any more");
    Ok(())
}

#[test]
fn a_conversation_goes_on_while_others_end() -> Result<()> {
    let world = World::new()?;
    let node = allowing(&world)?;
    server(&world, &node)?;
    let forwarding = Forwarding::start(&world, &["pod/web", ":7", ":80"])?;
    let line = forwarding.process.wait_for_line("-> 80")?;
    let pages: u16 = line.split([':', ' ']).nth(3).context("a port")?.parse()?;
    let mut slow = forwarding.connect()?;
    let mut lines = BufReader::new(slow.try_clone()?);
    for number in 0..5 {
        slow.write_all(format!("line {number}\n").as_bytes())?;
        let mut line = String::new();
        lines.read_line(&mut line)?;
        assert_eq!(line, format!("line {number}\n"));
        let mut page = String::new();
        let mut http = TcpStream::connect(("127.0.0.1", pages))?;
        http.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
        http.read_to_string(&mut page)?;
        ensure!(page.ends_with("\r\n\r\na page\n"), "{page}");
        // One that is left in the middle disturbs nobody.
        TcpStream::connect(("127.0.0.1", pages))?.write_all(&vec![b'x'; 100_000])?;
    }
    slow.shutdown(Shutdown::Write)?;
    let mut rest = Vec::new();
    lines.read_to_end(&mut rest)?;
    assert_eq!(rest, b"");
    Ok(())
}

#[test]
fn connections_end_with_their_operator() -> Result<()> {
    let world = World::new()?;
    let node = allowing(&world)?;
    server(&world, &node)?;
    let mut forwarding = Forwarding::start(&world, &["web", ":80"])?;
    let served = "httpd -p 127.0.0.1:80 -h /tmp";
    let before = node.processes(served)?;
    let connections: Vec<_> = (0..12).map(|_| forwarding.connect()).collect::<Result<_>>()?;
    let mut serving = Vec::new();
    while serving.len() < connections.len() {
        serving = node.processes(served)?;
        serving.retain(|pid| !before.contains(pid));
        thread::yield_now();
    }
    forwarding.process.signal(Signal::INT)?;
    assert_eq!(forwarding.process.wait()?.code(), Some(0));
    // Long before the node, or the server, would find that nobody is heard.
    let deadline = Deadline::after(Duration::from_secs(30));
    serving.into_iter().try_for_each(|pid| wait_for_exit(pid, deadline))
}

#[test]
fn what_cannot_be_forwarded_is_told() -> Result<()> {
    let world = World::new()?;
    let node = allowing(&world)?;
    idle(&world, &node, "web")?;
    let forwarding = Forwarding::start(&world, &["web", ":81"])?;
    let refused = format!(
        "an error occurred forwarding {} -> 81: dial tcp 127.0.0.1:81: connect: connection refused",
        forwarding.port
    );
    for _ in 0..2 {
        let mut connection = forwarding.connect()?;
        // Closed, or reset: nothing comes.
        assert_eq!(connection.read(&mut [0; 8]).unwrap_or(0), 0);
    }
    forwarding.process.wait_for_line(&refused)?;
    let taken = format!("{}:80", forwarding.port);
    let refused = |words: &[&str]| world.operator.run(words)?.refused();
    let error = refused(&["port-forward", "web", &taken, "--address", "127.0.0.1"])?;
    ensure!(
        error.starts_with(&format!("error: unable to listen on port {}", forwarding.port)),
        "{error}"
    );
    ensure!(error.contains("in use"), "{error}");
    let error = refused(&["port-forward", "none", "80"])?;
    assert_eq!(error, "Error from server (NotFound): pods \"none\" not found\n");
    let job = pod("job").container("main", BUSYBOX, &["true"]).once();
    world.operator.apply(&job, &node)?;
    world.wait_for_phase(&node, "job", Phase::Succeeded)?;
    let error = refused(&["port-forward", "job", "80"])?;
    assert_eq!(
        error,
        "error: cannot forward a port of a completed pod; current phase is Succeeded\n"
    );
    Ok(())
}

#[test]
fn a_node_that_was_not_told_so_refuses() -> Result<()> {
    let world = World::new()?;
    let extra = "[streams]\nexec = true\n".to_owned();
    let node = world.node_with(mote_tests::node::NodeOptions { extra, ..world.options("n1") })?;
    idle(&world, &node, "web")?;
    assert_eq!(
        world.operator.run(&["port-forward", "web", ":80"])?.refused()?,
        "Error from server (Forbidden): node n1 does not allow this: it takes `port_forward = true` \
         in section [streams] of its configuration\n"
    );
    Ok(())
}
