//! The promises of reading, against the writer that `mote-pause` is.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mote_pause::log::{Files as Written, Log, Stream};
use mote_pause::stamp::stamp;
use mote_protocol::command::LogSelection;
use mote_protocol::limits::{MAX_STREAM_DATA, STREAM_WINDOW};
use mote_protocol::name::RequestId;
use mote_protocol::stream::{StreamPart, cost};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout};

use super::remote;
use super::*;
use crate::streams::{Granted, Outgoing, Voice};

/// A log on disk that is written as `mote-pause` writes it.
struct Writer {
    _directory: TempDir,
    path: PathBuf,
    log: Log,
    shelf: Shelf,
}

struct Shelf {
    path: PathBuf,
    files: usize,
    rotations: usize,
}

impl Written for Shelf {
    fn append(&mut self, parts: &[&[u8]]) -> bool {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.path).expect("log");
        file.write_all(&parts.concat()).expect("written");
        true
    }

    fn rotate(&mut self) {
        self.rotations += 1;
        for number in (1..self.files).rev() {
            let _ = fs::rename(named(&self.path, number - 1), named(&self.path, number));
        }
        fs::File::create_new(&self.path).expect("a new file");
    }
}

fn named(path: &Path, number: usize) -> PathBuf {
    match number {
        0 => path.to_owned(),
        number => format!("{}.{number}", path.display()).into(),
    }
}

impl Writer {
    fn new(limit: u32, files: usize) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("0.log");
        fs::write(&path, "").expect("a file");
        let shelf = Shelf { path: path.clone(), files, rotations: 0 };
        Self { _directory: directory, path, log: Log::new(0, limit), shelf }
    }

    /// One that puts nothing aside.
    fn plain() -> Self {
        Self::new(1 << 30, 2)
    }

    fn write(&mut self, stream: Stream, second: u64, text: &[u8]) {
        self.log.write(stream, second * 1_000_000_000, text, &mut self.shelf);
    }

    fn print(&mut self, text: &str) {
        self.write(Stream::Stdout, 1, text.as_bytes());
    }

    fn open(&self, selection: LogSelection, over: watch::Receiver<Option<Instant>>) -> LogReader {
        self.open_since(selection, None, over)
    }

    fn open_since(
        &self,
        selection: LogSelection,
        since: Option<u64>,
        over: watch::Receiver<Option<Instant>>,
    ) -> LogReader {
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a place");
        let since = since.map(|second| stamp(second * 1_000_000_000));
        let path = self.path.clone();
        LogReader::open(Beginning { path, selection, since, over, place }).expect("opens")
    }

    /// All of it, as one who does not follow sees it of a container that has ended.
    fn show(&self, selection: LogSelection) -> String {
        block_on(async { all(self.open(selection, ended())).await })
    }
}

fn ended() -> watch::Receiver<Option<Instant>> {
    watch::channel(Some(Instant::now())).1
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .expect("runtime")
        .block_on(async { timeout(Duration::from_mins(1), work).await.expect("it ends") })
}

async fn all(mut log: LogReader) -> String {
    let mut text = Vec::new();
    while let Some(piece) = log.next().await.expect("read") {
        text.extend(piece);
    }
    String::from_utf8(text).expect("text")
}

fn tail(lines: u32) -> LogSelection {
    LogSelection { tail: Some(lines), ..LogSelection::default() }
}

#[test]
fn pieces_of_a_line_are_one_line_with_one_time() {
    let mut writer = Writer::plain();
    for text in ["be", "gin", "ning\nnext\n"] {
        writer.print(text);
    }
    assert_eq!(writer.show(LogSelection::default()), "beginning\nnext\n");
    let timed = LogSelection { timestamps: true, ..LogSelection::default() };
    let at = "1970-01-01T00:00:01.000000000Z";
    assert_eq!(writer.show(timed), format!("{at} beginning\n{at} next\n"));
}

#[test]
fn a_line_of_the_other_stream_in_the_middle_begins_on_its_own() {
    let mut writer = Writer::plain();
    writer.write(Stream::Stdout, 1, b"login: ");
    writer.write(Stream::Stderr, 1, b"warning\n");
    writer.write(Stream::Stdout, 1, b"\n");
    writer.write(Stream::Stdout, 1, b"half");
    writer.write(Stream::Stderr, 1, b"again\n");
    writer.write(Stream::Stdout, 1, b" line\n");
    assert_eq!(writer.show(LogSelection::default()), "login: \nwarning\nhalf\nagain\n line\n");
}

#[test]
fn since_is_inclusive_and_asks_when_a_line_began() {
    let mut writer = Writer::plain();
    writer.write(Stream::Stdout, 1, b"old\nbegun ");
    writer.write(Stream::Stdout, 5, b"before\nexact\n");
    writer.write(Stream::Stdout, 6, b"new\n");
    let log = |second| writer.open_since(LogSelection::default(), Some(second), ended());
    assert_eq!(block_on(async { all(log(5)).await }), "exact\nnew\n");
    assert_eq!(block_on(async { all(log(7)).await }), "");
}

#[test]
fn a_limit_cuts_in_the_middle_of_a_line_and_counts_times() {
    let mut writer = Writer::plain();
    writer.print("one\ntwo\n");
    let limit = |bytes| LogSelection { limit_bytes: Some(bytes), ..LogSelection::default() };
    assert_eq!(writer.show(limit(5)), "one\nt");
    assert_eq!(writer.show(LogSelection { timestamps: true, ..limit(4) }), "1970");
    assert_eq!(writer.show(limit(500)), "one\ntwo\n");
}

#[test]
fn tail_counts_lines_and_not_pieces() {
    let mut writer = Writer::plain();
    writer.print("one\ntw");
    writer.print("o\nthr");
    writer.print("ee");
    for (lines, shown) in [(0, ""), (1, "three"), (2, "two\nthree"), (3, "one\ntwo\nthree")] {
        assert_eq!(writer.show(tail(lines)), shown, "{lines}");
    }
    assert_eq!(writer.show(tail(u32::MAX)), "one\ntwo\nthree");
}

#[test]
fn what_is_no_record_is_passed_over() {
    let mut writer = Writer::plain();
    writer.print("one\n");
    let mut file = OpenOptions::new().append(true).open(&writer.path).expect("log");
    file.write_all(b"rubbish\n\n\xff\xff\n").expect("written");
    file.write_all(&vec![b'x'; 3 * BLOCK]).expect("written");
    file.write_all(b"\n").expect("written");
    writer.print("two\n");
    file.write_all(b"1970-01-01T00:00:01.000000000Z stdout F torn").expect("written");
    assert_eq!(writer.show(LogSelection::default()), "one\ntwo\n");
    assert_eq!(writer.show(tail(2)), "one\ntwo\n");
}

proptest! {
    // Each writes files.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_line_is_lost_or_doubled_however_it_is_written(
        pieces in proptest::collection::vec("[a-z\n]{0,60}", 1..60),
        // A piece has at most 60 records of 46 bytes: it fills one file and begins another.
        limit in 3000..6000_u32,
        wanted in 0..40_usize,
    ) {
        // Nothing is pushed out, so that all of it can be seen.
        let mut writer = Writer::new(limit, 15);
        let mut text = String::new();
        for piece in &pieces {
            if writer.shelf.rotations > 10 {
                break;
            }
            writer.print(piece);
            text.push_str(piece);
        }
        prop_assert_eq!(&writer.show(LogSelection::default()), &text);
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let last = lines[lines.len().saturating_sub(wanted)..].concat();
        prop_assert_eq!(writer.show(tail(u32::try_from(wanted).expect("small"))), last);
    }

    #[test]
    fn a_follower_sees_every_line_through_rotations(
        pieces in proptest::collection::vec("[a-z]{0,40}\n", 1..80),
        limit in 200..1000_u32,
    ) {
        let mut writer = Writer::new(limit, 2);
        let text = pieces.concat();
        let seen = block_on(async {
            let (tell, over) = watch::channel(None);
            let follow = LogSelection { follow: true, ..LogSelection::default() };
            let mut log = writer.open(follow, over);
            let mut seen = Vec::new();
            for piece in &pieces {
                writer.print(piece);
                // One who keeps up: nothing is pushed out before it was read.
                while seen.len() < text.len() && !seen.ends_with(piece.as_bytes())
                    || seen.is_empty()
                {
                    seen.extend(log.next().await.expect("read").expect("it is followed"));
                }
            }
            tell.send_replace(Some(Instant::now()));
            seen.extend(all(log).await.into_bytes());
            seen
        });
        prop_assert_eq!(String::from_utf8(seen).expect("text"), text);
    }
}

#[test]
fn a_follower_ends_when_the_writer_closes_or_the_container_is_over() {
    let mut writer = Writer::plain();
    writer.print("first\n");
    let follow = || LogSelection { follow: true, ..LogSelection::default() };
    block_on(async {
        let (_tell, over) = watch::channel(None);
        let mut log = writer.open(follow(), over);
        let held = OpenOptions::new().append(true).open(&writer.path).expect("log");
        assert_eq!(log.next().await.expect("read").as_deref(), Some(&b"first\n"[..]));
        drop(held);
        assert_eq!(log.next().await.expect("read"), None);

        let (tell, over) = watch::channel(None);
        let mut log = writer.open(follow(), over);
        assert!(log.next().await.expect("read").is_some());
        tell.send_replace(Some(Instant::now() + Duration::from_millis(50)));
        assert_eq!(log.next().await.expect("read"), None);
    });
}

/// A log of 4 MiB, sent to whoever holds the other ends.
fn stream(
    writer: &mut Writer,
    credit: u64,
) -> (mpsc::Receiver<Outgoing>, watch::Sender<Granted>, impl Future<Output = ()> + use<>) {
    let line = format!("{}\n", "x".repeat(1023));
    for _ in 0..4096 {
        writer.print(&line);
    }
    let (frames, outgoing) = mpsc::channel(1);
    let (grants, granted) = watch::channel(Granted { credit, ..Granted::default() });
    let id = RequestId::new("mote-1").expect("a label");
    let log = writer.open(LogSelection::default(), ended());
    (outgoing, grants, remote::serve(Voice::new(id, frames, granted), log))
}

#[tokio::test(start_paused = true)]
async fn no_more_is_sent_than_was_granted_and_silence_ends_it() {
    let mut writer = Writer::plain();
    let (mut outgoing, _grants, sender) = stream(&mut writer, STREAM_WINDOW);
    let reader = async {
        let mut used = 0;
        while let Some(Outgoing { part, .. }) = outgoing.recv().await {
            match part {
                StreamPart::Data(bytes) => {
                    assert!(bytes.len() <= MAX_STREAM_DATA);
                    used += cost(bytes.len());
                }
                StreamPart::End { reason, .. } => {
                    assert_eq!(&*reason, "IdleTimeout");
                    assert!(used <= STREAM_WINDOW && used > STREAM_WINDOW / 2, "{used}");
                    return;
                }
                _ => panic!("a log asks for nothing"),
            }
        }
        panic!("no end");
    };
    tokio::join!(sender, reader);
}

#[tokio::test(start_paused = true)]
async fn what_is_granted_is_sent_to_the_end_and_a_reader_that_closes_is_left() {
    let mut writer = Writer::plain();
    let (mut outgoing, grants, sender) = stream(&mut writer, STREAM_WINDOW);
    let reader = async {
        let (mut read, mut used) = (0, 0);
        while let Some(Outgoing { part, .. }) = outgoing.recv().await {
            match part {
                StreamPart::Data(bytes) => {
                    read += bytes.len();
                    used += cost(bytes.len());
                    let credit = StreamPart::Credit(used + STREAM_WINDOW);
                    grants.send_modify(|granted| granted.hear(&credit));
                }
                StreamPart::End { reason, .. } => {
                    assert_eq!((&*reason, read), ("Completed", 4 << 20));
                    return;
                }
                _ => panic!("a log asks for nothing"),
            }
        }
        panic!("no end");
    };
    tokio::join!(sender, reader);

    let mut writer = Writer::plain();
    let (mut outgoing, grants, sender) = stream(&mut writer, 0);
    let end = StreamPart::End { reason: "Closed".into(), message: "".into() };
    grants.send_modify(|granted| granted.hear(&end));
    let reader = async {
        let part = outgoing.recv().await.expect("its end").part;
        assert!(matches!(part, StreamPart::End { reason, .. } if reason == "Closed"));
    };
    tokio::join!(sender, reader);
}
