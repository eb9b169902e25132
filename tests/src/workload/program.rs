//! What runs in containers of ours. Compiled by itself, statically: it is no module of the crate
//! beside it.
//!
//! `liveness` is an HTTP server that is well for ten seconds, as in Kubernetes' page about probes.
//! `prepare` says so and ends. `serve` answers on localhost. `ask` asks there, once a second.
//! `health` is well as long as it has the file `/well`, and says so in every way that a probe can ask
//! (`check` is for those that execute a command); `health late` has no such file until it is given one.
//! `-text=TEXT` says so to everybody who asks over HTTP, as `http-echo` does, and `listening` before.
//! `stamp` says when it ran, in nanoseconds of the wall clock. `rest` sleeps. `mark` makes the file
//! `/mark` one byte longer.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime};

/// Only this pod's containers see it: they share a network namespace that nobody else has.
const ADDRESS: &str = "127.0.0.1:8080";

fn main() -> io::Result<()> {
    match env::args().nth(1).as_deref() {
        Some("prepare") => say("prepared"),
        Some("serve") => serve(),
        Some("ask") => ask(),
        Some("liveness") => liveness(),
        Some(option) if option.starts_with("-text=") => echo(&option["-text=".len()..]),
        Some("stamp") => say(&now()),
        Some("rest") => loop {
            sleep(Duration::from_secs(1_000_000));
        },
        Some("mark") => mark(),
        Some("health") => health(env::args().nth(2).is_some()),
        Some("check") => fs::metadata(WELL).map(drop),
        _ => Err(io::Error::other("usage: workload prepare|serve|ask|liveness|stamp|rest|mark|health|check")),
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

fn echo(text: &str) -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:5678")?;
    say("listening")?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut asked = [0; 4096];
        let _ = stream.read(&mut asked)?;
        let len = text.len() + 1;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{text}\n")?;
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

/// There as long as `health` is well.
const WELL: &str = "/well";

/// HTTP on the port that `PORT` says, bare TCP on the next, gRPC on the one after that.
fn health(late: bool) -> io::Result<()> {
    let port: u16 = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    if !late {
        fs::write(WELL, "")?;
    }
    thread::spawn(move || listen_while_well(port + 1));
    thread::spawn(move || answer_each(port + 2, grpc));
    answer_each(port, http)
}

fn is_well() -> bool {
    fs::metadata(WELL).is_ok()
}

/// Takes connections as long as it is well.
fn listen_while_well(port: u16) -> io::Result<()> {
    let mut listener = None;
    loop {
        match (&listener, is_well()) {
            (None, true) => listener = Some(TcpListener::bind(("0.0.0.0", port))?),
            (Some(_), false) => listener = None,
            _ => {}
        }
        sleep(Duration::from_millis(20));
    }
}

fn answer_each(port: u16, answer: fn(TcpStream) -> io::Result<()>) -> io::Result<()> {
    for stream in TcpListener::bind(("0.0.0.0", port))?.incoming() {
        // Who asks may go away at any time.
        let _ = answer(stream?);
    }
    Ok(())
}

fn http(mut stream: TcpStream) -> io::Result<()> {
    let mut asked = [0; 4096];
    let _ = stream.read(&mut asked)?;
    let status = if is_well() { "200 OK" } else { "503 Service Unavailable" };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// `grpc.health.v1.Health/Check`, as little of HTTP/2 (RFC 9113) as one call takes.
fn grpc(mut stream: TcpStream) -> io::Result<()> {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface)?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut body = vec![0; len];
        stream.read_exact(&mut body)?;
        let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let [kind, flags] = [head[3], head[4]];
        if kind == SETTINGS && flags == 0 {
            stream.write_all(&frame(SETTINGS, 1, 0, &[]))?;
        } else if kind == DATA && flags & END_STREAM != 0 {
            // `:status: 200` by its number in the table, the other two written out.
            let headers = [&[0x88][..], &literal("content-type", "application/grpc")].concat();
            // Not compressed, two bytes long: field 1 is 1 (SERVING) or 2.
            let message = [0, 0, 0, 0, 2, 8, if is_well() { 1 } else { 2 }];
            stream.write_all(&frame(HEADERS, END_HEADERS, number, &headers))?;
            stream.write_all(&frame(DATA, 0, number, &message))?;
            let trailers = literal("grpc-status", "0");
            let end = END_HEADERS | END_STREAM;
            stream.write_all(&frame(HEADERS, end, number, &trailers))?;
            // A socket that is closed with something unread is reset.
            return io::copy(&mut stream, &mut io::sink()).map(drop);
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
}

/// A header field that is in no table (RFC 7541, 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let (name_len, value_len) = (name.len() as u8, value.len() as u8);
    [&[0, name_len][..], name.as_bytes(), &[value_len], value.as_bytes()].concat()
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
