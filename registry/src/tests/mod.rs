//! The client against a server that does what it is told, also what no registry should do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::*;

mod access;

/// A request as it arrived: its first line and its headers, in lower case.
#[derive(Debug, Clone, Default)]
struct Request {
    line: String,
    headers: Vec<String>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.headers.iter().find_map(|header| header.strip_prefix(&prefix))
    }
}

/// A server that answers each request with the bytes its script gives, one per connection.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn new(mut script: impl FnMut(&Request) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (log, end) = (seen.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let Some(request) = read_request(&stream) else { continue };
                log.lock().unwrap().push(request.clone());
                let _ = stream.write_all(&script(&request));
            }
        });
        Self { address, seen, stop, thread: Some(thread) }
    }

    fn host(&self) -> String {
        self.address.to_string()
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let line = lines.next()?;
    let headers = lines.take_while(|line| !line.is_empty()).map(|line| {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        format!("{}: {}", name.to_lowercase(), value.trim())
    });
    Some(Request { headers: headers.collect(), line })
}

/// A manifest, as far as anybody looks.
const MANIFEST: &[u8] = br#"{"schemaVersion":2,"layers":[],
    "config":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}}"#;

fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
    for header in headers {
        text += header;
        text += "\r\n";
    }
    let end = format!("content-length: {}\r\n\r\n", body.len());
    [text.as_bytes(), end.as_bytes(), body].concat()
}

/// A client that speaks plain HTTP to these hosts and does not wait long.
fn client(hosts: &[&Server]) -> Registry {
    let host = |server: &&Server| Host { host: server.host(), plain_http: true, ..Host::default() };
    let short = Duration::from_secs(5);
    Registry::new(
        Settings {
            hosts: hosts.iter().map(host).collect(),
            timeouts: Timeouts {
                connect: short,
                answer: short,
                idle: Duration::from_millis(300),
                pause: Duration::from_millis(1),
            },
            ..Settings::default()
        },
        &PullSecrets::default(),
    )
    .unwrap()
}

fn reference(server: &Server) -> Reference {
    format!("{}/a/b:1", server.host()).parse().unwrap()
}

/// Why a reference is not to be had.
fn refused(settings: Settings, reference: &Reference) -> RegistryError {
    let mut registry = Registry::new(settings, &PullSecrets::default()).unwrap();
    registry.manifest(reference, None).err().unwrap()
}

#[test]
fn a_pause_is_any_part_of_its_bound_and_never_more() {
    let limit = Duration::from_secs(8);
    assert_eq!((part(limit, 0), part(limit, u16::MAX)), (Duration::ZERO, limit));
    assert_eq!(jitter(Duration::ZERO), Duration::ZERO);
    // Of a thousand nodes there are some in each eighth; that one stays empty has 56 zeros.
    let mut eighths = [0; 8];
    for _ in 0..1000 {
        let pause = jitter(limit);
        assert!(pause <= limit, "{pause:?}");
        eighths[usize::try_from(pause.as_secs()).unwrap().min(7)] += 1;
    }
    assert!(eighths.iter().all(|nodes| *nodes > 0), "{eighths:?}");
}

#[test]
fn a_token_is_fetched_once_and_shown_to_the_registry_alone() {
    let storage = Server::new(|_| answer("200 OK", &[], b"blob"));
    let tokens = Server::new(|_| answer("200 OK", &[], br#"{"token":"secret"}"#));
    let (realm, cdn) = (tokens.host(), storage.host());
    let registry = Server::new(move |request| {
        if request.header("authorization") != Some("Bearer secret") {
            let challenge =
                format!("www-authenticate: Bearer realm=\"http://{realm}/token\",service=\"reg\"");
            return answer("401 Unauthorized", &[&challenge], b"");
        }
        if request.line.contains("/blobs/") {
            let location = format!("location: http://{cdn}/signed?x=1");
            return answer("307 Temporary Redirect", &[&location], b"");
        }
        answer("200 OK", &["content-type: application/json; charset=x"], MANIFEST)
    });
    let mut client = client(&[&registry, &tokens, &storage]);
    let reference = reference(&registry);
    let fetched = client.manifest(&reference, None).unwrap();
    assert_eq!(
        (fetched.bytes.as_slice(), fetched.content_type.as_str()),
        (MANIFEST, "application/json")
    );
    let mut blob = Vec::new();
    client.blob(&reference, &Descriptor::of(b"blob"), 0).read_to_end(&mut blob).unwrap();
    assert_eq!(blob, b"blob");
    let asked: Vec<String> = tokens.seen().into_iter().map(|request| request.line).collect();
    assert_eq!(asked, ["GET /token?service=reg&scope=repository%3Aa%2Fb%3Apull HTTP/1.1"]);
    assert_eq!(storage.seen()[0].header("authorization"), None);
    assert_eq!(storage.seen()[0].line, "GET /signed?x=1 HTTP/1.1");
}

#[test]
fn answers_become_reasons_a_person_can_act_on() {
    let missing = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#;
    let basic = "www-authenticate: Basic realm=\"x\"";
    let elsewhere = "location: ftp://x/";
    let cases: [(Vec<u8>, &str, bool, bool); 6] = [
        (answer("404 Not Found", &[], missing), "no such manifest", false, true),
        (answer("401 Unauthorized", &[basic], b""), "a user name and password", false, true),
        (answer("403 Forbidden", &[], b"no entry"), "no entry", false, true),
        (answer("503 Busy", &[], b"later"), "answered 503 to manifest: later", true, false),
        (answer("429 Too Many Requests", &[], b""), "answered 429", true, false),
        (answer("301 Moved", &[elsewhere], b""), "redirects to nowhere", false, false),
    ];
    for (bytes, text, transient, refused) in cases {
        let server = Server::new(move |_| bytes.clone());
        let error = client(&[&server]).manifest(&reference(&server), None).err().unwrap();
        assert!(chain(&error).contains(text), "{}", chain(&error));
        assert_eq!((error.is_transient(), error.is_refusal()), (transient, refused), "{text}");
    }
}

#[test]
fn unreachable_registries_are_told_apart() {
    let fail = |text: &str| {
        let reference: Reference = text.parse().unwrap();
        let host = reference.registry().to_owned();
        let plain = Host { host, plain_http: true, ..Host::default() };
        let settings = Settings { hosts: vec![plain], ..Settings::default() };
        refused(settings, &reference)
    };
    let closed = fail("127.0.0.1:9/a");
    assert!(matches!(&closed, RegistryError::Connect { host, .. } if host == "127.0.0.1:9"));
    assert!(chain(&closed).contains("refused"), "{}", chain(&closed));
    let unknown = fail("no-such-host.invalid/a");
    assert!(matches!(unknown, RegistryError::Resolve { .. }), "{unknown:?}");
    assert!(closed.is_transient() && unknown.is_transient());
}

#[test]
fn plain_http_is_spoken_only_where_allowed() {
    let server = Server::new(|_| Vec::new());
    let error = refused(Settings::default(), &reference(&server));
    assert!(matches!(error, RegistryError::Tls { .. } | RegistryError::Authorities { .. }));
}

#[test]
fn redirects_end() {
    let server = Server::new(|_| answer("302 Found", &["location: /v2/again"], b""));
    let error = client(&[&server]).manifest(&reference(&server), None).err().unwrap();
    assert!(chain(&error).contains("redirects too often"));
    assert_eq!(server.seen().len(), 6);
}

#[test]
fn documents_are_bounded_and_verified() {
    let huge = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec();
    let server = Server::new(move |_| huge.clone());
    let error = client(&[&server]).manifest(&reference(&server), None).err().unwrap();
    assert!(chain(&error).contains("more than 1048576 bytes"));

    // Without a length the bytes are counted.
    let server = Server::new(|_| {
        let head = &b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"[..];
        [head, &vec![b' '; 1_100_000]].concat()
    });
    let error = client(&[&server]).manifest(&reference(&server), None).err().unwrap();
    assert!(chain(&error).contains("more than 1048576 bytes"));

    let lie = format!("docker-content-digest: {}", Digest::of(b"other"));
    let server = Server::new(move |_| answer("200 OK", &[&lie], b"{}"));
    let reference = reference(&server);
    let error = client(&[&server]).manifest(&reference, None).err().unwrap();
    assert!(matches!(error, RegistryError::Mismatch { .. }));
}

/// Serves `data` in pieces: each connection brings `piece` bytes more than asked from, then ends.
fn cutting(data: Vec<u8>, piece: usize, ranges: bool) -> Server {
    let mut reach = 0;
    Server::new(move |request| {
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
        let start =
            range.and_then(|range| range.strip_suffix('-')).map_or(0, |n| n.parse().unwrap());
        reach = data.len().min(reach.max(start) + piece);
        if !ranges || start == 0 {
            let mut bytes = answer("200 OK", &[], &data);
            let head = bytes.len() - data.len();
            bytes.truncate(head + reach);
            return bytes;
        }
        let header = format!("content-range: bytes {start}-{}/{}", data.len() - 1, data.len());
        let mut bytes = answer("206 Partial Content", &[&header], &data[start..]);
        let head = bytes.len() - (data.len() - start);
        bytes.truncate(head + reach - start);
        bytes
    })
}

#[test]
fn a_download_goes_on_where_the_connection_broke() {
    let data: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    for ranges in [true, false] {
        let server = cutting(data.clone(), 100_000, ranges);
        let mut client = client(&[&server]);
        let mut read = Vec::new();
        client.blob(&reference(&server), &Descriptor::of(&data), 0).read_to_end(&mut read).unwrap();
        assert!(read == data, "content differs, ranges: {ranges}");
        assert_eq!(server.seen().len(), 7);
        if ranges {
            assert_eq!(client.received(), 700_000, "bytes were fetched twice");
            assert_eq!(server.seen()[1].header("range"), Some("bytes=100000-"));
        }
    }
}

#[test]
fn a_line_that_holds_no_connection_for_long_brings_everything_in_the_end() {
    let data: Vec<u8> = (0..255_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    for (length, piece) in [(255_000, 8_000), (150, 1)] {
        let data = &data[..length];
        let server = cutting(data.to_vec(), piece, true);
        let mut client = client(&[&server]);
        let mut read = Vec::new();
        client.blob(&reference(&server), &Descriptor::of(data), 0).read_to_end(&mut read).unwrap();
        assert!(read == data, "content differs");
        assert_eq!(server.seen().len(), length.div_ceil(piece));
        assert_eq!(client.received(), length as u64, "bytes were fetched twice");
    }
}

#[test]
fn a_download_that_does_not_move_is_given_up() {
    let server = Server::new(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n".to_vec());
    let reference = reference(&server);
    let mut client = client(&[&server]);
    let mut blob = client.blob(&reference, &Descriptor::of(b"data"), 0);
    let error = blob.read_to_end(&mut Vec::new()).unwrap_err();
    let error = error.get_ref().unwrap().downcast_ref::<RegistryError>().unwrap();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(server.seen().len(), 6);
}

#[test]
fn blobs_of_another_length_are_refused_at_once() {
    for body in [&b"short"[..], b"much too long"] {
        let server = Server::new(move |_| answer("200 OK", &[], body));
        let reference = reference(&server);
        let mut client = client(&[&server]);
        let mut blob = client.blob(&reference, &Descriptor::of(b"expected"), 0);
        let error = blob.read_to_end(&mut Vec::new()).unwrap_err();
        let error = error.get_ref().unwrap().downcast_ref::<RegistryError>().unwrap();
        assert!(matches!(error, RegistryError::Length { expected: 8, .. }), "{error:?}");
        assert_eq!(server.seen().len(), 1);
    }
}
