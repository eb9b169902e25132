//! Short texts for the kernel: paths and the lines of its control files.

use core::ffi::CStr;

/// A text of less than `N` bytes, followed by a NUL.
#[derive(Clone, Copy, Debug)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// Nothing yet.
    pub const EMPTY: Self = Self { bytes: [0; N], len: 0 };

    /// This text and `more`. What does not fit is cut: callers size `N` for the longest text.
    #[must_use]
    pub fn and(mut self, more: &[u8]) -> Self {
        self.len = append(&mut self.bytes, self.len, more);
        self
    }

    /// This text and a number.
    #[must_use]
    pub fn and_number(self, number: u32) -> Self {
        let (digits, first) = digits(number);
        self.and(digits.get(first..).unwrap_or_default())
    }

    /// The text without its NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The text up to its first NUL.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

// Apart from the type, so that they exist once and not for every length.

/// Appends to the first `len` of `bytes`, leaving room for a NUL; returns the new length.
fn append(bytes: &mut [u8], len: usize, more: &[u8]) -> usize {
    let end = bytes.len().saturating_sub(1);
    let free = bytes.get_mut(len..end).unwrap_or_default();
    free.iter_mut().zip(more).map(|(to, from)| *to = *from).count() + len
}

/// The decimal digits of `number`, and where the first of them is.
fn digits(number: u32) -> ([u8; 10], usize) {
    let (mut digits, mut first, mut rest) = ([0; 10], 10, number);
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10) as u8;
        (first, rest) = (at, rest / 10);
        if rest == 0 {
            break;
        }
    }
    (digits, first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_numbers_join() {
        let text = Text::<32>::EMPTY.and(b"/proc/").and_number(4_294_967_295).and(b"/ns/");
        assert_eq!(text.as_c_str(), c"/proc/4294967295/ns/");
        assert_eq!(Text::<8>::EMPTY.and_number(0).and(b" ").and_number(10).as_bytes(), b"0 10");
    }

    #[test]
    fn what_does_not_fit_is_cut_before_the_nul() {
        assert_eq!(Text::<4>::EMPTY.and(b"abcdef").and(b"g").as_c_str(), c"abc");
        assert_eq!(Text::<0>::EMPTY.and(b"a").as_c_str(), c"");
    }
}
