//! What runs in containers of ours. Compiled by itself, statically: it is no module of the crate
//! beside it.
//!
//! `liveness` is an HTTP server that is well for ten seconds, as in Kubernetes' page about probes.
//! `prepare` says so and ends. `serve` answers on localhost. `ask` asks there, once a second.
//! `stamp` says when it ran, in nanoseconds of the wall clock. `rest` sleeps. `mark` makes the file
//! `/mark` one byte longer.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// Only this pod's containers see it: they share a network namespace that nobody else has.
const ADDRESS: &str = "127.0.0.1:8080";

fn main() -> io::Result<()> {
    match env::args().nth(1).as_deref() {
        Some("prepare") => say("prepared"),
        Some("serve") => serve(),
        Some("ask") => ask(),
        Some("liveness") => liveness(),
        Some("stamp") => say(&now()),
        Some("rest") => loop {
            sleep(Duration::from_secs(1_000_000));
        },
        Some("mark") => mark(),
        _ => Err(io::Error::other("usage: workload prepare|serve|ask|liveness|stamp|rest|mark")),
    }
}

fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |time| time.as_nanos()).to_string()
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout();
    writeln!(output, "{line}")?;
    output.flush()
}

fn mark() -> io::Result<()> {
    File::options().create(true).append(true).open("/mark")?.write_all(b".")
}

fn serve() -> io::Result<()> {
    let listener = TcpListener::bind(ADDRESS)?;
    say("listening")?;
    for stream in listener.incoming() {
        let stream = stream?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        while let Some(Ok(line)) = lines.next() {
            writeln!(&stream, "{line}, answered")?;
        }
    }
    Ok(())
}

fn liveness() -> io::Result<()> {
    let started = Instant::now();
    for stream in TcpListener::bind("0.0.0.0:8080")?.incoming() {
        let mut stream = stream?;
        // What is asked does not matter, but a socket that is closed unread is reset.
        let mut asked = [0; 4096];
        let _ = stream.read(&mut asked)?;
        let status = match started.elapsed() {
            well if well < Duration::from_secs(10) => "200 OK",
            _ => "500 Internal Server Error",
        };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    }
    Ok(())
}

fn ask() -> io::Result<()> {
    let stream = connect();
    let mut answers = BufReader::new(stream.try_clone()?).lines();
    for number in 1.. {
        writeln!(&stream, "question {number}")?;
        let Some(answer) = answers.next() else { break };
        say(&answer?)?;
        sleep(Duration::from_secs(1));
    }
    Err(io::Error::other("the server went away"))
}

/// The two start together: whoever asks may be first.
fn connect() -> TcpStream {
    loop {
        match TcpStream::connect(ADDRESS) {
            Ok(stream) => return stream,
            Err(_) => sleep(Duration::from_millis(50)),
        }
    }
}
