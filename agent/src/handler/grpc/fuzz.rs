//! What a server may send, without a connection.

use super::http2::{Answer, Head, Step};
use super::{MAX_FRAMES, health, hpack, http2, judge};

/// Takes frames in as [`super::call`] does.
pub fn answer(mut bytes: &[u8]) -> bool {
    let mut answer = Answer::default();
    for _ in 0..MAX_FRAMES {
        let Some((head, rest)) = bytes.split_first_chunk() else { return false };
        let Some(head) = Head::read(*head) else { return false };
        let Some((payload, rest)) = rest.split_at_checked(head.length) else { return false };
        bytes = rest;
        match answer.take(head, payload) {
            Ok(Step::Done) => {
                judge(&answer);
                return true;
            }
            Ok(Step::On(_)) => {}
            Err(_) => return false,
        }
    }
    false
}

/// Reads a header list.
pub fn header_list(block: &[u8]) -> bool {
    hpack::read(block, |_, _| {}).is_some()
}

/// Reads the message of an answer.
pub fn message(framed: &[u8]) -> bool {
    health::response(framed).is_some()
}

/// A header list that is right.
pub fn good_list() -> Vec<u8> {
    let mut block = vec![0x88];
    hpack::put(&mut block, "content-type", "application/grpc");
    hpack::put(&mut block, "grpc-status", "0");
    hpack::put(&mut block, "grpc-message", "caf%C3%A9");
    block
}

/// Frames of an answer that is right: settings, a list, a message, a list that ends it.
pub fn good_answer() -> Vec<u8> {
    let list = good_list();
    let (first, last) = list.split_at(1);
    http2::frames(&[
        (4, 0, 0, b""),
        (1, 4, 1, first),
        (0, 0, 1, b"\0\0\0\0\x02\x08\x01"),
        (1, 5, 1, last),
    ])
}
