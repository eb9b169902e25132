//! HPACK's Huffman code (RFC 7541, appendix B).
//!
//! The code is canonical: codes of one length are consecutive, in the order of their symbols. So
//! the lengths say everything, and the 4 KiB of a table of codes need not be in the program.

/// Bits of each byte's code; the last is the end of a string, which must not stand in one.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// Longest code.
const MAX_BITS: u8 = 30;

/// Decodes a string; none where it is none.
pub(super) fn decode(data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len() * 8 / 5);
    let mut walk = Walk::default();
    for byte in data {
        for bit in (0..8).rev() {
            if let Some(place) = walk.step(byte >> bit & 1) {
                out.push(u8::try_from(*ORDER.get(place)?).ok()?);
                walk = Walk::default();
            }
        }
    }
    // What is left over is the beginning of the end: fewer than 8 bits, all of them 1.
    let padding = walk.bits < 8 && walk.code == (1 << walk.bits) - 1;
    padding.then_some(out)
}

/// A code that is being read.
#[derive(Default)]
struct Walk {
    bits: u8,
    code: u32,
    /// The first code of this length, and the place of its symbol in the order of codes.
    first: u32,
    place: u32,
}

impl Walk {
    /// Reads a bit; gives the place of the symbol whose code is complete with it. The code leaves no
    /// gaps, so that the longest of them is always one.
    fn step(&mut self, bit: u8) -> Option<usize> {
        let before = count(self.bits);
        self.place += before;
        self.first = (self.first + before) << 1;
        self.bits += 1;
        self.code = self.code << 1 | u32::from(bit);
        let among = self.code.checked_sub(self.first)?;
        let complete = among < count(self.bits);
        complete.then(|| usize::try_from(self.place + among).ok())?
    }
}

/// Symbols whose codes have so many bits.
fn count(bits: u8) -> u32 {
    COUNTS.get(usize::from(bits)).copied().unwrap_or(0)
}

const COUNTS: [u32; MAX_BITS as usize + 1] = {
    let mut counts = [0; MAX_BITS as usize + 1];
    let mut symbol = 0;
    while symbol < LENGTHS.len() {
        counts[LENGTHS[symbol] as usize] += 1;
        symbol += 1;
    }
    counts
};

/// Symbols in the order of their codes: by length, and among one length by themselves. Made once,
/// by the compiler: whoever is probed decides how many strings there are to be decoded.
const ORDER: [u16; LENGTHS.len()] = {
    let mut order = [0; LENGTHS.len()];
    let (mut bits, mut place) = (1, 0);
    while bits <= MAX_BITS {
        let mut symbol: u16 = 0;
        while (symbol as usize) < LENGTHS.len() {
            if LENGTHS[symbol as usize] == bits {
                order[place] = symbol;
                place += 1;
            }
            symbol += 1;
        }
        bits += 1;
    }
    order
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;

    const END: usize = 256;

    /// Codes as the standard defines them, to encode with.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut codes = [(0_u32, 0_u8); END + 1];
        let (mut code, mut last) = (0_u32, 0);
        for symbol in ORDER.map(usize::from) {
            let bits = LENGTHS[symbol];
            code <<= bits - last;
            codes[symbol] = (code, bits);
            (code, last) = (code + 1, bits);
        }
        let mut bits = String::new();
        for byte in text {
            let (code, len) = codes[usize::from(*byte)];
            write!(bits, "{code:0len$b}", len = usize::from(len)).unwrap();
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let octets = (0..bits.len()).step_by(8);
        octets.map(|at| u8::from_str_radix(&bits[at..at + 8], 2).unwrap()).collect()
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        // RFC 7541, C.4.1, C.6.1.
        let name = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decode(&name).unwrap(), b"www.example.com");
        assert_eq!(decode(&[0x64, 0x02]).unwrap(), b"302");
        assert_eq!(decode(&[]).unwrap(), b"");
    }

    #[test]
    fn what_is_no_string_is_refused() {
        assert_eq!(decode(&[0xff; 4]), None, "the end of a string");
        assert_eq!(decode(&[0x64, 0x02, 0xff]), None, "eight bits of padding");
        assert_eq!(decode(&[0x64]), None, "padding of zeros");
    }

    proptest! {
        #[test]
        fn every_string_is_read_back(text in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }

        #[test]
        fn nothing_makes_it_panic(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&data);
        }
    }
}
