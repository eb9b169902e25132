//! Reading and writing bytes in order, within bounds.

use super::{VERSION, WireError};

/// Takes a message apart from front to back.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks the version and returns kind, id and a reader of the body.
    pub(super) fn open(message: &'a [u8]) -> Result<(u8, u16, Self), WireError> {
        let mut reader = Self { rest: message };
        match reader.u8()? {
            VERSION => Ok((reader.u8()?, reader.u16()?, reader)),
            other => Err(WireError::Version(other)),
        }
    }

    /// The next `len` bytes.
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(WireError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireError::Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes preceded by their number, at most `max`.
    pub(super) fn counted(&mut self, max: usize) -> Result<&'a [u8], WireError> {
        let len = usize::from(self.u16()?);
        if len > max {
            return Err(WireError::Malformed);
        }
        self.bytes(len)
    }

    /// Ends the reading: a message is exactly as long as its content.
    pub(super) fn close(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Malformed) }
    }
}

/// Puts a message together from front to back.
pub(super) struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn open(out: &'a mut [u8], kind: u8, id: u16) -> Result<Self, WireError> {
        let mut writer = Self { out, len: 0 };
        writer.u8(VERSION)?;
        writer.u8(kind)?;
        writer.u16(id)?;
        Ok(writer)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let end = self.len.checked_add(bytes.len()).ok_or(WireError::TooLong)?;
        self.out.get_mut(self.len..end).ok_or(WireError::TooLong)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    pub(super) fn u8(&mut self, value: u8) -> Result<(), WireError> {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u16(&mut self, value: u16) -> Result<(), WireError> {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> Result<(), WireError> {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> Result<(), WireError> {
        self.bytes(&value.to_le_bytes())
    }

    /// Counterpart of [`Reader::counted`].
    pub(super) fn counted(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.u16(u16::try_from(bytes.len()).map_err(|_| WireError::TooLong)?)?;
        self.bytes(bytes)
    }

    /// How long the message is.
    pub(super) fn close(self) -> usize {
        self.len
    }
}
