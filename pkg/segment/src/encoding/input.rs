//! Taking numbers and bytes from untrusted input, and writing the variable-length numbers.
//!
//! A *varint* is a u64 as LEB128: seven bits a byte, the lowest first, the high bit set on all
//! bytes but the last, at most ten bytes. A *zigzag* is an i64 as the varint
//! `(value << 1) ^ (value >> 63)`.

use crate::error::SegmentError;

/// The rest of some bytes that are being read.
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

const CUT_SHORT: &str = "cut short";

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], SegmentError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(SegmentError::corrupt(CUT_SHORT))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SegmentError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(SegmentError::corrupt(CUT_SHORT))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, SegmentError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, SegmentError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, SegmentError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, SegmentError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(SegmentError::corrupt("number is too long"))
    }

    pub(crate) fn zigzag(&mut self) -> Result<i64, SegmentError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(crate) fn varint_u32(&mut self) -> Result<u32, SegmentError> {
        u32::try_from(self.varint()?).map_err(|_| SegmentError::corrupt("number is too large"))
    }

    /// A number that is at most `max`.
    pub(crate) fn count(&mut self, max: usize) -> Result<usize, SegmentError> {
        usize::try_from(self.varint()?)
            .ok()
            .filter(|&count| count <= max)
            .ok_or(SegmentError::corrupt("count is too large"))
    }

    /// A number of things that take at least `bytes` each in the rest of the input.
    pub(crate) fn count_of(&mut self, bytes: usize) -> Result<usize, SegmentError> {
        let count = self.count(usize::MAX)?;
        if count > self.rest.len() / bytes { Err(SegmentError::corrupt(CUT_SHORT)) } else { Ok(count) }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, SegmentError> {
        let len = self.count(self.rest.len())?;
        std::str::from_utf8(self.take(len)?).map_err(|_| SegmentError::corrupt("text is not UTF-8"))
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<(), SegmentError> {
        if self.rest.is_empty() { Ok(()) } else { Err(SegmentError::corrupt("bytes behind the end")) }
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            put_zigzag(&mut bytes, value.cast_signed());
            let mut input = Input::new(&bytes);
            assert_eq!(input.varint().unwrap(), value);
            assert_eq!(input.zigzag().unwrap(), value.cast_signed());
            input.finish().unwrap();
        }
        assert!(Input::new(&[0xff; 10]).varint().is_err());
        assert!(Input::new(&[0x80]).varint().is_err());
    }
}
