use super::*;
use proptest::prelude::*;

fn head(kind: u8, flags: u8, stream: u32, length: usize) -> Head {
    Head { length, kind, flags, stream }
}

fn settled() -> Answer {
    Answer { settled: true, ..Answer::default() }
}

fn take(answer: &mut Answer, kind: u8, flags: u8, payload: &[u8]) -> Result<Step, Http2Error> {
    answer.take(head(kind, flags, STREAM, payload.len()), payload)
}

#[test]
fn heads_are_read_and_bounded() {
    let read = Head::read([0, 0x40, 0, DATA, END_STREAM, 0x80, 0, 0, 1]);
    assert_eq!(read, Some(head(DATA, END_STREAM, 1, MAX_PAYLOAD)));
    assert_eq!(Head::read([0, 0x40, 1, DATA, 0, 0, 0, 0, 1]), None);
}

#[test]
fn settings_and_pings_are_acknowledged() {
    let mut answer = Answer::default();
    let first = take(&mut answer, SETTINGS, 0, &[]);
    assert_eq!(first, Ok(Step::On(vec![0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0])));
    assert!(answer.settled);
    assert_eq!(take(&mut answer, SETTINGS, ACK, &[]), Ok(Step::On(vec![])));
    let reply = take(&mut answer, PING, 0, &[7; 8]);
    assert_eq!(reply, Ok(Step::On([&[0, 0, 8, PING, ACK, 0, 0, 0, 0][..], &[7; 8]].concat())));
}

#[test]
fn an_answer_in_pieces_is_put_together() {
    let mut answer = settled();
    // Padded, with a priority, cut in the middle of `:status`.
    let first = [&[2, 0, 0, 0, 0, 0][..], &[0x88, 0x00], &[0, 0]].concat();
    let more = Ok(Step::On(vec![]));
    assert_eq!(take(&mut answer, HEADERS, PADDED | PRIORITY, &first), more);
    assert_eq!(take(&mut answer, CONTINUATION, END_HEADERS, b"\x01a\x01b"), more);
    assert_eq!(take(&mut answer, DATA, PADDED, b"\x01hello\0"), more);
    assert_eq!(take(&mut answer, DATA, 0, b" you"), more);
    let trailers = b"\0\x0bgrpc-status\x0212\0\x0cgrpc-message\x02no";
    let done = take(&mut answer, HEADERS, END_HEADERS | END_STREAM, trailers);
    assert_eq!(done, Ok(Step::Done));
    assert_eq!((answer.status, answer.grpc_status), (Some(200), Some(12)));
    assert_eq!((&answer.message[..], &answer.grpc_message[..]), (&b"hello you"[..], &b"no"[..]));
}

#[test]
fn what_breaks_the_protocol_ends_the_exchange() {
    let protocol = |result| matches!(result, Err(Http2Error::Protocol(_)));
    assert!(protocol(take(&mut Answer::default(), HEADERS, END_HEADERS, &[0x88])));
    assert!(protocol(take(&mut settled(), CONTINUATION, 0, &[])));
    assert!(protocol(take(&mut settled(), PUSH_PROMISE, 0, &[])));
    assert!(protocol(take(&mut settled(), DATA, PADDED, &[5, 1])));
    assert!(protocol(take(&mut settled(), HEADERS, END_HEADERS, &[0x80])));
    assert!(protocol(take(&mut settled(), DATA, 0, &[0; MAX_MESSAGE + 1])));
    let mut open = settled();
    take(&mut open, HEADERS, 0, &[]).unwrap();
    assert!(protocol(take(&mut open, DATA, 0, &[])));
    let mut endless = settled();
    take(&mut endless, HEADERS, 0, &[0; MAX_PAYLOAD]).unwrap();
    take(&mut endless, CONTINUATION, 0, &[0; MAX_PAYLOAD]).unwrap();
    assert!(protocol(take(&mut endless, CONTINUATION, 0, &[0])));
}

#[test]
fn a_server_may_give_up() {
    let reset = take(&mut settled(), RST_STREAM, 0, &[0, 0, 0, 8]);
    assert_eq!(reset, Err(Http2Error::Reset(8)));
    let away = take(&mut settled(), GOAWAY, 0, &[0, 0, 0, 0, 0, 0, 0, 11]);
    assert_eq!(away, Err(Http2Error::Away(11)));
    // It closes, but answers what was asked.
    let graceful = take(&mut settled(), GOAWAY, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(graceful, Ok(Step::On(vec![])));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(
        frames in proptest::collection::vec(
            (0_u8..12, any::<u8>(), 0_u32..3, proptest::collection::vec(any::<u8>(), 0..40)),
            0..20,
        ),
        settled in any::<bool>(),
    ) {
        let mut answer = Answer { settled, ..Answer::default() };
        for (kind, flags, stream, payload) in frames {
            if answer.take(head(kind, flags, stream, payload.len()), &payload).is_err() {
                break;
            }
        }
    }
}
