//! Header lists of HTTP/2 (HPACK, RFC 7541), as far as one question and its answer need them.
//!
//! There is no dynamic table: we announce one of 0 bytes and write literals only. Of the static
//! table only the status is of interest; other entries are read past.

use super::huffman;

/// The flag of a string that is Huffman-coded.
const HUFFMAN: u8 = 0x80;

/// Appends a field that nobody shall remember.
pub(super) fn put(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        put_number(block, text.len());
        block.extend_from_slice(text.as_bytes());
    }
}

/// A number after a first byte with 7 bits for it (section 5.1).
fn put_number(block: &mut Vec<u8>, number: usize) {
    let small = u8::try_from(number).ok().filter(|small| *small < 0x7f);
    block.push(small.unwrap_or(0x7f));
    let Some(mut rest) = number.checked_sub(0x7f) else { return };
    while rest >= 0x80 {
        block.push(0x80 | u8::try_from(rest & 0x7f).unwrap_or(0));
        rest >>= 7;
    }
    block.push(u8::try_from(rest).unwrap_or(0));
}

/// Fields of one list; an answer has about ten.
const MAX_FIELDS: usize = 100;

/// Reads a header list and gives each field that has a literal name, and the status.
pub(super) fn read(block: &[u8], mut field: impl FnMut(&[u8], &[u8])) -> Option<()> {
    let mut rest = Rest(block);
    let mut count = 0;
    while let Some(first) = rest.byte() {
        count += 1;
        if count > MAX_FIELDS {
            return None;
        }
        if first & 0x80 != 0 {
            let (name, value) = static_field(rest.number(first, 7)?)?;
            field(name, value);
            continue;
        }
        if first & 0xe0 == 0x20 {
            // A new size of the dynamic table: it must be the one that we announced.
            if rest.number(first, 5)? != 0 {
                return None;
            }
            continue;
        }
        let bits = if first & 0x40 != 0 { 6 } else { 4 };
        let name = match rest.number(first, bits)? {
            0 => rest.string()?,
            index => static_field(index)?.0.to_vec(),
        };
        let value = rest.string()?;
        field(&name, &value);
    }
    Some(())
}

/// An entry of the static table, with empty texts where it does not matter.
fn static_field(index: usize) -> Option<(&'static [u8], &'static [u8])> {
    const STATUS: &[u8] = b":status";
    Some(match index {
        8 => (STATUS, b"200"),
        9 => (STATUS, b"204"),
        10 => (STATUS, b"206"),
        11 => (STATUS, b"304"),
        12 => (STATUS, b"400"),
        13 => (STATUS, b"404"),
        14 => (STATUS, b"500"),
        1..=61 => (b"", b""),
        _ => return None,
    })
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number that begins in the last `bits` of `first`. Nothing here is longer than a frame, so
    /// three more bytes are plenty.
    fn number(&mut self, first: u8, bits: u32) -> Option<usize> {
        let mask = (1_usize << bits) - 1;
        let mut number = usize::from(first) & mask;
        if number < mask {
            return Some(number);
        }
        for shift in [0, 7, 14] {
            let byte = usize::from(self.byte()?);
            number += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        let first = self.byte()?;
        let len = self.number(first, 7)?;
        let data = self.take(len)?;
        if first & HUFFMAN == 0 { Some(data.to_vec()) } else { huffman::decode(data) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Pairs = Vec<(String, String)>;

    fn fields(block: &[u8]) -> Option<Pairs> {
        let mut found = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        read(block, |name, value| found.push((text(name), text(value))))?;
        Some(found)
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn every_form_of_a_field_is_read() {
        // RFC 7541, C.2.1, C.2.3 and C.6.1 without what needs a dynamic table.
        let literal = b"\x40\x0acustom-key\x0dcustom-header";
        assert_eq!(fields(literal).unwrap(), [pair("custom-key", "custom-header")]);
        let never = b"\x10\x08password\x06secret";
        assert_eq!(fields(never).unwrap(), [pair("password", "secret")]);
        assert_eq!(fields(&[0x48, 0x82, 0x64, 0x02]).unwrap(), [pair(":status", "302")]);
        assert_eq!(fields(&[0x20, 0x88]).unwrap(), [pair(":status", "200")]);
        assert_eq!(fields(&[0x0f, 0x10, 0x01, b'x']).unwrap(), [pair("", "x")]);
    }

    #[test]
    fn what_is_no_header_list_is_refused() {
        let blocks: [&[u8]; 7] = [
            // Index 0, an entry of the dynamic table, a size of the dynamic table.
            &[0x80],
            &[0xbe],
            &[0x3f, 0xe1, 0x1f],
            // Cut off in a name, in a number, a number without end, a string beyond the block.
            &[0x40],
            &[0x40, 0x7f],
            &[0x40, 0x7f, 0xff, 0xff, 0xff, 0xff],
            &[0x40, 0x05, b'a'],
        ];
        for block in blocks {
            assert_eq!(fields(block), None, "{block:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            pairs in proptest::collection::vec(("[a-z-]{1,9}", ".{0,300}"), 0..5),
        ) {
            let mut block = Vec::new();
            for (name, value) in &pairs {
                put(&mut block, name, value);
            }
            prop_assert_eq!(fields(&block), Some(pairs));
        }

        #[test]
        fn nothing_makes_it_panic(block in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = fields(&block);
        }
    }
}
