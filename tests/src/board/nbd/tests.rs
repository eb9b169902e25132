use std::fs::File;

use super::*;
use crate::random::Random;

const SIZE: u64 = 16 * SECTOR as u64;

/// A client as NBD's specification has it.
struct Client(UnixStream);

impl Client {
    /// Connects with the newer of the two ways to begin.
    fn connect(session: &Session) -> Self {
        let mut client = Self::greeted(session);
        client.option(OPTION_GO);
        let mut kinds = Vec::new();
        while kinds.last() != Some(&ACKNOWLEDGED) {
            let (kind, data) = client.option_answer();
            if kind == INFORMATION && data.starts_with(&INFO_EXPORT.to_be_bytes()) {
                assert_eq!(data[2..10], SIZE.to_be_bytes());
            }
            kinds.push(kind);
        }
        assert_eq!(kinds, [INFORMATION, INFORMATION, ACKNOWLEDGED]);
        client
    }

    fn greeted(session: &Session) -> Self {
        let mut stream = UnixStream::connect(session.socket()).unwrap();
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
        stream.write_all(&3_u32.to_be_bytes()).unwrap();
        Self(stream)
    }

    fn option(&mut self, option: u32) {
        self.0.write_all(b"IHAVEOPT").unwrap();
        self.0.write_all(&option.to_be_bytes()).unwrap();
        self.0.write_all(&4_u32.to_be_bytes()).unwrap();
        self.0.write_all(b"card").unwrap();
    }

    fn option_answer(&mut self) -> (u32, Vec<u8>) {
        let mut head = [0; 20];
        self.0.read_exact(&mut head).unwrap();
        assert_eq!(head[..8], OPTION_REPLY_MAGIC.to_be_bytes());
        let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        let mut data = vec![0; usize::try_from(number(16)).unwrap()];
        self.0.read_exact(&mut data).unwrap();
        (number(12), data)
    }

    fn send(&mut self, flags: u16, kind: u16, offset: u64, length: usize, data: &[u8]) {
        let length = u32::try_from(length).unwrap();
        self.0.write_all(&REQUEST_MAGIC.to_be_bytes()).unwrap();
        self.0.write_all(&flags.to_be_bytes()).unwrap();
        self.0.write_all(&kind.to_be_bytes()).unwrap();
        self.0.write_all(b"a cookie").unwrap();
        self.0.write_all(&offset.to_be_bytes()).unwrap();
        self.0.write_all(&length.to_be_bytes()).unwrap();
        self.0.write_all(data).unwrap();
    }

    /// Asks, and gives the error of the answer.
    fn ask(&mut self, flags: u16, kind: u16, offset: u64, length: usize, data: &[u8]) -> u32 {
        self.send(flags, kind, offset, length, data);
        let mut answer = [0; 16];
        self.0.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..4], REPLY_MAGIC.to_be_bytes());
        assert_eq!(&answer[8..], b"a cookie");
        u32::from_be_bytes(answer[4..8].try_into().unwrap())
    }

    fn write(&mut self, flags: u16, sector: u64, byte: u8) {
        let place = sector * SECTOR as u64;
        assert_eq!(self.ask(flags, WRITE, place, SECTOR, &[byte; SECTOR]), 0);
    }

    fn read(&mut self, sector: u64) -> u8 {
        assert_eq!(self.ask(0, READ, sector * SECTOR as u64, SECTOR, &[]), 0);
        let mut data = [0; SECTOR];
        self.0.read_exact(&mut data).unwrap();
        data[0]
    }
}

fn begin() -> (tempfile::TempDir, Session) {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    File::create(&image).unwrap().set_len(SIZE).unwrap();
    let card = Card::open(&image).unwrap();
    let session = Session::begin(card, &directory.path().join("socket")).unwrap();
    (directory, session)
}

fn byte(card: &Card, sector: u64) -> u8 {
    let mut data = [0; SECTOR];
    card.read(sector * SECTOR as u64, &mut data).unwrap();
    data[0]
}

#[test]
fn a_client_reads_what_it_wrote() {
    let (_directory, session) = begin();
    let mut client = Client::connect(&session);
    client.write(0, 3, 7);
    assert_eq!((client.read(2), client.read(3)), (0, 7));
    assert_eq!(client.ask(0, WRITE_ZEROES, 3 * SECTOR as u64, 2 * SECTOR, &[]), 0);
    assert_eq!(client.read(3), 0);
    client.send(0, DISCONNECT, 0, 0, &[]);
    session.end().unwrap();
}

#[test]
fn a_flush_and_a_write_that_is_to_last_reach_the_card_and_others_may_not() {
    let found = |seed: u64| {
        let (_directory, session) = begin();
        let mut client = Client::connect(&session);
        client.write(0, 1, 1);
        assert_eq!(client.ask(0, FLUSH, 0, 0, &[]), 0);
        client.write(FORCE_UNIT_ACCESS, 2, 2);
        client.write(0, 3, 3);
        // The power fails: no word of goodbye.
        drop(client);
        let mut card = session.end().unwrap();
        assert_eq!(card.flushes(), 1);
        let loss = card.cut(&mut Random::new(seed * 977)).unwrap();
        assert_eq!(loss.writes, 1);
        [1, 2, 3].map(|sector| byte(&card, sector))
    };
    let found: std::collections::BTreeSet<_> = (0..50).map(found).collect();
    assert!(found.into_iter().eq([[1, 2, 0], [1, 2, 3]]));
}

#[test]
fn a_client_that_dies_in_the_middle_of_a_request_leaves_the_card_as_it_was() {
    let (_directory, session) = begin();
    let mut client = Client::connect(&session);
    client.write(0, 0, 5);
    client.send(0, WRITE, 0, SECTOR, &[6; 100]);
    drop(client);
    assert_eq!(byte(&session.end().unwrap(), 0), 5);
}

#[test]
fn what_is_not_on_the_card_is_refused_and_the_session_goes_on() {
    let (_directory, session) = begin();
    let mut client = Client::connect(&session);
    assert_eq!(client.ask(0, WRITE, SIZE, SECTOR, &[1; SECTOR]), INVALID);
    assert_eq!(client.ask(0, READ, 1, SECTOR, &[]), INVALID);
    assert_eq!(client.ask(0, 77, 0, 0, &[]), INVALID);
    client.write(0, 1, 1);
    drop(client);
    session.end().unwrap();
}

#[test]
fn older_clients_and_those_who_only_look_are_served() {
    let (_directory, session) = begin();
    let mut client = Client::greeted(&session);
    // Structured replies, which this has not.
    client.option(8);
    assert_eq!(client.option_answer(), (UNSUPPORTED, Vec::new()));
    client.option(OPTION_EXPORT_NAME);
    let mut answer = [0; 10];
    client.0.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..8], SIZE.to_be_bytes());
    client.write(0, 1, 1);
    drop(client);
    session.end().unwrap();
    let (_directory, session) = begin();
    let mut client = Client::greeted(&session);
    client.option(OPTION_ABORT);
    assert_eq!(client.option_answer().0, ACKNOWLEDGED);
    session.end().unwrap();
}

#[test]
fn a_card_that_nobody_asked_for_comes_back() {
    let (_directory, session) = begin();
    assert_eq!(session.end().unwrap().size(), SIZE);
}

#[test]
fn a_fuse_blows_after_a_write_that_is_not_answered() {
    let (_directory, session) = begin();
    let fuse = session.fuse();
    let mut client = Client::connect(&session);
    client.write(0, 1, 1);
    assert!(!fuse.is_blown());
    fuse.arm(2);
    client.write(0, 2, 2);
    assert_eq!(client.ask(0, FLUSH, 0, 0, &[]), 0);
    client.send(0, WRITE, 3 * SECTOR as u64, SECTOR, &[3; SECTOR]);
    assert!(fuse.wait(Deadline::patient()));
    client.send(0, FLUSH, 0, 0, &[]);
    drop(client);
    let mut card = session.end().unwrap();
    assert_eq!(card.flushes(), 1);
    assert_eq!(card.cut(&mut Random::new(977)).unwrap().writes, 1);
}
