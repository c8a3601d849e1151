//! The arena: the messages of a block behind each other, and bit masks of what their bytes are.
//!
//! Bytes are classified 64 at a time, so that words are found by counting bits. A 0x00 stands
//! behind each message: no word reaches from one into the next.

/// Bytes in front of the first and behind the last message, so that 16 can be read at any place.
pub(super) const MARGIN: usize = 64;

/// Which of 64 bytes are digits, belong to words, are letters beyond `f`.
#[derive(Clone, Copy, Default)]
pub(super) struct Masks {
    pub(super) digits: u64,
    pub(super) words: u64,
    pub(super) beyond: u64,
}

/// The messages of a block, one behind the other, and the classes of their bytes.
#[derive(Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    masks: Vec<Masks>,
    /// Where each message begins; one more for the end of the last.
    starts: Vec<usize>,
}

impl Arena {
    pub(super) fn fill<'a>(&mut self, rows: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.bytes.clear();
        self.bytes.resize(MARGIN, 0);
        self.starts.clear();
        self.starts.push(MARGIN);
        for row in rows {
            self.bytes.extend_from_slice(row);
            self.bytes.push(0);
            self.starts.push(self.bytes.len());
        }
        self.bytes.resize((self.bytes.len() + MARGIN).next_multiple_of(64), 0);
        self.masks.clear();
        self.masks.extend(self.bytes.as_chunks::<64>().0.iter().map(classify));
        self.masks.push(Masks::default());
    }

    /// Gives memory back that an unusually large block has taken.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(bytes_max);
        self.masks.clear();
        self.masks.shrink_to(bytes_max / 64);
        self.starts.clear();
        self.starts.shrink_to(bytes_max / 64);
    }

    pub(super) fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// All bytes, the separators and margins among them.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The length of all messages together.
    pub(super) fn text_len(&self) -> usize {
        self.starts.last().map_or(0, |end| end - MARGIN - self.rows())
    }

    pub(super) fn row(&self, row: usize) -> &[u8] {
        let (start, end) = self.bounds(row);
        &self.bytes[start..end]
    }

    /// Where a message stands.
    #[inline]
    pub(super) fn bounds(&self, row: usize) -> (usize, usize) {
        (self.starts[row], self.starts[row + 1] - 1)
    }

    /// 64 bits of the masks from any place on.
    #[inline]
    pub(super) fn window(&self, at: usize) -> Masks {
        let (index, shift) = (at / 64, at % 64);
        let [low, high] = &self.masks[index..index + 2] else { return Masks::default() };
        let join = |low: u64, high: u64| low >> shift | (high << 1) << (63 - shift);
        Masks {
            digits: join(low.digits, high.digits),
            words: join(low.words, high.words),
            beyond: join(low.beyond, high.beyond),
        }
    }

    /// The first digit at or behind `at`, or `end` if none is before it.
    #[inline]
    pub(super) fn next_digit(&self, at: usize, end: usize) -> usize {
        let mut index = at / 64;
        let mut mask = self.masks[index].digits >> (at % 64) << (at % 64);
        while mask == 0 {
            index += 1;
            if index * 64 >= end {
                return end;
            }
            mask = self.masks[index].digits;
        }
        (index * 64 + mask.trailing_zeros() as usize).min(end)
    }
}

#[inline]
fn classify(bytes: &[u8; 64]) -> Masks {
    Masks {
        digits: gather(bytes, |byte| byte.wrapping_sub(b'0') < 10),
        words: gather(bytes, |byte| (byte | 0x20).wrapping_sub(b'a') < 26 || byte.wrapping_sub(b'0') < 10),
        beyond: gather(bytes, |byte| (byte | 0x20).wrapping_sub(b'g') < 20),
    }
}

/// One bit for each byte. The compiler makes vector instructions of the first loop; the second
/// brings the lowest bits of 8 bytes together by a multiplication.
#[inline]
fn gather(bytes: &[u8; 64], test: impl Fn(u8) -> bool) -> u64 {
    let mut flags = [0; 64];
    for (flag, &byte) in flags.iter_mut().zip(bytes) {
        *flag = u8::from(test(byte));
    }
    let mut mask = 0;
    for (index, &chunk) in flags.as_chunks::<8>().0.iter().enumerate() {
        let bits = u64::from_le_bytes(chunk).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= bits << (index * 8);
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_classified_at_every_place() {
        for first in 0..=255_u8 {
            let bytes: [u8; 64] = std::array::from_fn(|index| first.wrapping_add((index as u8).wrapping_mul(17)));
            let masks = classify(&bytes);
            for (index, byte) in bytes.iter().enumerate() {
                let is_beyond = byte.is_ascii_alphabetic() && !byte.is_ascii_hexdigit();
                let expected = [byte.is_ascii_digit(), byte.is_ascii_alphanumeric(), is_beyond];
                let found = [masks.digits, masks.words, masks.beyond].map(|mask| mask >> index & 1 == 1);
                assert_eq!(found, expected, "{byte}");
            }
        }
    }
}
