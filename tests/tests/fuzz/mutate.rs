//! Spoils bytes: small changes of what is nearly right, from one seed.

use mote_tests::random::Random;

/// Bytes at which decoders turn: ends of ranges, continuation bits of varints, separators.
const EDGES: &[u8] = &[0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff, b'/', b'.', b'"', b'{', b'=', b'@'];

/// Byte strings that mean something to somebody.
const WORDS: &[&[u8]] = &[
    b"../",
    b"/",
    b"\0",
    b"//",
    b"..",
    b"./",
    b"+",
    b"#",
    b"@all",
    b".wh.",
    b".wh..wh..opq",
    b"sha256:",
    b"null",
    b"[]",
    b"{}",
    b"\"\"",
    b"-1",
    b"{\"a\":",
    b"[[[[[[[[",
    b"\\u0000",
    b"path=",
    b"SCHILY.xattr.user.",
    b" (enforce)\n",
    b"0::/",
    b" - ",
    b"1e999",
    b"9999999999999999999999",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x08",
    b"[[",
    b"]]",
    b"'''",
    b"\r\n",
    "ü".as_bytes(),
    b"\xc3",
    b"\xed\xa0\x80",
];

/// A spoiled copy of one of `seeds`.
pub(crate) fn spoil(seeds: &[Vec<u8>], random: &mut Random, longest: usize) -> Vec<u8> {
    let mut bytes = pick(seeds, random).to_vec();
    for _ in 0..=random.below(6) {
        change(&mut bytes, seeds, random);
    }
    bytes.truncate(longest);
    bytes
}

fn pick<'a>(seeds: &'a [Vec<u8>], random: &mut Random) -> &'a [u8] {
    seeds.get(random.below(seeds.len())).map_or(&[], Vec::as_slice)
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(9) {
        0 => flip_bit(bytes, random),
        1 => set(bytes, random, |random| EDGES[random.below(EDGES.len())]),
        2 => set(bytes, random, |random| random.next().to_le_bytes()[0]),
        3 => insert(bytes, at, &[EDGES[random.below(EDGES.len())]]),
        4 => insert(bytes, at, WORDS[random.below(WORDS.len())]),
        5 => bytes.truncate(at),
        6 => remove(bytes, at, random),
        7 => repeat(bytes, at, random),
        _ => splice(bytes, at, pick(seeds, random), random),
    }
}

fn flip_bit(bytes: &mut [u8], random: &mut Random) {
    let (at, bit) = (random.below(bytes.len()), random.below(8));
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

fn set(bytes: &mut [u8], random: &mut Random, value: impl Fn(&mut Random) -> u8) {
    let at = random.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value(random);
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, what: &[u8]) {
    bytes.splice(at..at, what.iter().copied());
}

fn remove(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let end = (at + 1 + random.below(16)).min(bytes.len());
    bytes.drain(at.min(end)..end);
}

fn repeat(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let end = (at + 1 + random.below(64)).min(bytes.len());
    let part = bytes.get(at..end).unwrap_or_default().repeat(1 + random.below(8));
    insert(bytes, at, &part);
}

fn splice(bytes: &mut Vec<u8>, at: usize, other: &[u8], random: &mut Random) {
    bytes.truncate(at);
    bytes.extend_from_slice(other.get(random.below(other.len())..).unwrap_or_default());
}
