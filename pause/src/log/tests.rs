//! The promises of the log writer, against a model of files and pipes.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// Files in memory; `refuse` makes every so many appends fail.
#[derive(Default)]
struct Shelf {
    files: Vec<Vec<u8>>,
    appends: usize,
    refuse: Option<usize>,
}

impl Shelf {
    fn new() -> Self {
        Self { files: vec![Vec::new()], ..Self::default() }
    }

    fn records(&self) -> Vec<(String, char, Vec<u8>)> {
        self.files.iter().flat_map(|file| parse(file)).collect()
    }

    /// What a reader makes of one stream: contents joined until a full record.
    fn output(&self, stream: &str) -> Vec<u8> {
        let mut output = Vec::new();
        for (_, tag, content) in self.records().iter().filter(|(of, ..)| of == stream) {
            output.extend_from_slice(content);
            if *tag == 'F' {
                output.push(b'\n');
            }
        }
        output
    }
}

fn parse(file: &[u8]) -> Vec<(String, char, Vec<u8>)> {
    assert!(file.is_empty() || file.ends_with(b"\n"), "a torn record");
    let lines = file.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| {
            let (prefix, content) = line.split_at(PREFIX_LEN);
            let prefix = String::from_utf8(prefix.to_vec()).expect("ascii");
            let words: Vec<_> = prefix.split(' ').collect();
            assert_eq!((words.len(), words[0].len(), words[2].len()), (4, 30, 1), "{prefix:?}");
            let tag = words[2].chars().next().expect("one letter");
            (words[1].to_owned(), tag, content[..content.len() - 1].to_vec())
        })
        .collect()
}

impl Files for Shelf {
    fn append(&mut self, parts: &[&[u8]]) -> bool {
        self.appends += 1;
        if self.refuse.is_some_and(|every| self.appends.is_multiple_of(every)) {
            return false;
        }
        self.files.last_mut().expect("a file").extend(parts.concat());
        true
    }

    fn rotate(&mut self) {
        self.files.push(Vec::new());
    }
}

/// A pipe that hands out what was written in the pieces in which it was written.
struct Pipe(VecDeque<Vec<u8>>);

impl Source for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> Read {
        match self.0.pop_front() {
            None => Read::End,
            Some(piece) if piece.is_empty() => Read::Dry,
            Some(mut piece) => {
                let len = piece.len().min(buffer.len());
                buffer[..len].copy_from_slice(&piece[..len]);
                if len < piece.len() {
                    self.0.push_front(piece.split_off(len));
                }
                Read::Bytes(len)
            }
        }
    }
}

fn pump_all(pieces: &[Vec<u8>], buffer: usize, log: &mut Log, shelf: &mut Shelf) {
    let mut buffer = vec![0; buffer];
    let mut pipe = Pipe(pieces.iter().cloned().collect());
    while pump(Stream::Stdout, 1, &mut pipe, &mut buffer, log, shelf) == Flow::Open {}
}

#[test]
fn a_line_is_a_record() {
    let (mut log, mut shelf) = (Log::new(0, 65_536), Shelf::new());
    log.write(Stream::Stderr, 1_000_000_001, b"one\n\ntwo\n", &mut shelf);
    let at = "1970-01-01T00:00:01.000000001Z stderr F";
    let expected = format!("{at} one\n{at} \n{at} two\n");
    assert_eq!(shelf.files, [expected.into_bytes()]);
    assert_eq!(shelf.appends, 1, "lines that arrive together are written together");
}

#[test]
fn a_prompt_is_seen_at_once_and_its_line_closed_at_the_end() {
    let (mut log, mut shelf) = (Log::new(0, 65_536), Shelf::new());
    pump_all(&[b"login: ".to_vec(), vec![]], 64, &mut log, &mut shelf);
    let tags: Vec<_> = shelf.records().iter().map(|(_, tag, _)| *tag).collect();
    assert_eq!(tags, ['P', 'F']);
    assert_eq!(shelf.output("stdout"), b"login: \n");
}

#[test]
fn a_line_split_by_the_pipe_is_one_record() {
    let (mut log, mut shelf) = (Log::new(0, 65_536), Shelf::new());
    pump_all(&[b"ab\ncd".to_vec(), b"ef\n".to_vec()], 64, &mut log, &mut shelf);
    assert_eq!(shelf.records().len(), 2);
    assert_eq!(shelf.output("stdout"), b"ab\ncdef\n");
}

#[test]
fn a_long_line_stays_in_one_file_while_it_has_room() {
    let (mut log, mut shelf) = (Log::new(0, 65_536), Shelf::new());
    let nearly = vec![b"x".repeat(60_000), b"\n".to_vec(), b"y".repeat(900), b"\n".to_vec()];
    pump_all(&nearly, 4096, &mut log, &mut shelf);
    assert_eq!(shelf.files.len(), 2);
    assert_eq!(parse(&shelf.files[1]).iter().map(|r| r.2.len()).sum::<usize>(), 900);
}

#[test]
fn a_talkative_stream_gives_the_turn_away() {
    let (mut log, mut shelf) = (Log::new(0, 65_536), Shelf::new());
    let mut pipe = Pipe(std::iter::repeat_n(b"line\n".to_vec(), 100).collect());
    let flow = pump(Stream::Stdout, 1, &mut pipe, &mut [0; 64], &mut log, &mut shelf);
    assert_eq!((flow, pipe.0.len()), (Flow::Open, 100 - READS_PER_TURN));
}

proptest! {
    // Each case moves tens of kilobytes through a debug build.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the pieces, the buffer and the limit: reading the files in order gives back what
    /// was written, no file is too long, and a line that could stay in one file has.
    #[test]
    fn nothing_is_lost_torn_or_too_long(
        pieces in prop::collection::vec((0_usize..3000, 1_usize..5000), 0..25),
        buffer in 1_usize..8192,
        limit in 16_384_u32..40_000,
        before in 0_u32..16_384,
    ) {
        let mut counter = 0_usize;
        let mut piece = |(len, period): &(usize, usize)| -> Vec<u8> {
            let bytes = (0..*len).map(|_| {
                counter += 1;
                if counter.is_multiple_of(*period) { b'\n' } else { b'a' + counter.to_le_bytes()[0] % 23 }
            });
            bytes.collect()
        };
        let pieces: Vec<_> = pieces.iter().map(&mut piece).collect();
        let mut expected = pieces.concat();
        if expected.last().is_some_and(|last| *last != b'\n') {
            expected.push(b'\n');
        }
        let (mut log, mut shelf) = (Log::new(before, limit), Shelf::new());
        pump_all(&pieces, buffer, &mut log, &mut shelf);
        prop_assert_eq!(shelf.output("stdout"), expected);
        prop_assert_eq!(log.lost(), 0);
        for (at, file) in shelf.files.iter().enumerate() {
            let begun = if at == 0 { before as usize } else { 0 };
            prop_assert!(begun + file.len() <= limit as usize);
        }
    }

    /// A medium that refuses some writes costs those lines, whole, and they are counted.
    #[test]
    fn what_is_refused_is_counted(
        lines in prop::collection::vec("[a-z]{1,200}\n", 1..200),
        refuse in 2_usize..5,
    ) {
        let mut log = Log::new(0, 16_384);
        let mut shelf = Shelf { refuse: Some(refuse), ..Shelf::new() };
        let pieces: Vec<_> = lines.iter().map(|line| line.clone().into_bytes()).collect();
        for piece in &pieces {
            log.write(Stream::Stdout, 1, piece, &mut shelf);
        }
        let kept = shelf.records().iter().map(|(.., content)| content.len() as u64).sum::<u64>();
        let wrote = pieces.iter().map(|piece| piece.len() as u64 - 1).sum::<u64>();
        prop_assert_eq!(kept + log.lost(), wrote);
    }
}
