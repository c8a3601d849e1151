//! Rebuilding: the text of a row from its template and its variables.

use super::MessageError;
use super::cut::DIGITS_MAX;
use super::slots::{PADDING, Slot, SlotKind, Template, Templates};
use super::streams;

/// The streams that rows are rebuilt from; those that no wanted row needs may be empty.
pub(super) struct Rebuild<'a> {
    pub(super) templates: &'a Templates,
    /// By the number of the stream: planes, strings, lengths.
    pub(super) streams: [&'a [u8]; streams::COUNT],
    /// For each length of a string the end of that string among the strings of its slot.
    pub(super) ends: &'a [u32],
}

impl<'a> Rebuild<'a> {
    /// A buffer that fits every row that has a template.
    pub(super) fn line(&self) -> Vec<u8> {
        vec![0; self.templates.line_max + 2 * PADDING]
    }

    /// Writes the text of a template's row to the front of `line`; returns its length.
    #[inline]
    pub(super) fn row(&self, template: &Template, ordinal: usize, line: &mut [u8]) -> Result<usize, MessageError> {
        if ordinal >= template.rows {
            return Err(MessageError("template ids do not agree with the templates"));
        }
        let mut len = 0;
        for slot in self.templates.slots_of(template) {
            len = copy(line, len, &self.templates.statics, slot.before.start, slot.before.len());
            if slot.kind.is_number() {
                let value = self.number(slot, template.rows, ordinal);
                len = put_digits(line, len, value, self.digits(slot, ordinal, value));
            } else {
                let (at, bytes) = self.string_at(slot, ordinal);
                len = copy(line, len, self.streams[streams::STRINGS], at, bytes);
            }
        }
        Ok(copy(line, len, &self.templates.statics, template.tail.start, template.tail.len()))
    }

    /// The number of a slot that holds numbers. `rows` is the number of rows of its template.
    #[inline]
    pub(super) fn number(&self, slot: &Slot, rows: usize, ordinal: usize) -> u64 {
        let full = self.streams[streams::FULL_PLANE];
        let mut value = 0;
        let mut at = slot.at + ordinal;
        for plane in 0..slot.full_planes {
            value |= u64::from(full.get(at).copied().unwrap_or_default()) << (8 * plane);
            at += rows;
        }
        if slot.top_stream > 0 {
            let top = self.streams.get(usize::from(slot.top_stream)).copied().unwrap_or_default();
            let byte = top.get(slot.top_at + ordinal).copied().unwrap_or_default();
            value |= u64::from(byte) << (8 * slot.full_planes);
        }
        value.wrapping_add(slot.min)
    }

    /// How many digits a number is written with; `None` for as many as it needs.
    #[inline]
    pub(super) fn width(&self, slot: &Slot, ordinal: usize) -> Option<usize> {
        match slot.kind {
            SlotKind::Digits => Some(slot.width.into()),
            SlotKind::MixedDigits => {
                let lengths = self.streams[streams::LENGTHS];
                Some(usize::from(lengths.get(slot.lengths_at + ordinal).copied().unwrap_or_default()).min(DIGITS_MAX))
            }
            _ => None,
        }
    }

    /// The same, once the number is known.
    #[inline]
    pub(super) fn digits(&self, slot: &Slot, ordinal: usize, number: u64) -> usize {
        self.width(slot, ordinal).unwrap_or_else(|| decimal_len(number))
    }

    /// Where a string begins in the stream of strings, and its length.
    #[inline]
    pub(super) fn string_at(&self, slot: &Slot, ordinal: usize) -> (usize, usize) {
        if slot.kind == SlotKind::FixedString {
            let len = usize::from(slot.width);
            return (slot.at + ordinal * len, len);
        }
        let index = slot.lengths_at + ordinal;
        let end = self.ends.get(index).copied().unwrap_or_default() as usize;
        let len = usize::from(self.streams[streams::LENGTHS].get(index).copied().unwrap_or_default());
        (slot.at + end.saturating_sub(len), len)
    }

    /// The text of one variable; `line` is room for it.
    pub(super) fn variable<'b>(&self, slot: &Slot, rows: usize, ordinal: usize, line: &'b mut [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        if slot.kind.is_number() {
            let value = self.number(slot, rows, ordinal);
            let len = put_digits(line, 0, value, self.digits(slot, ordinal, value));
            line.get(..len).unwrap_or_default()
        } else {
            let (at, len) = self.string_at(slot, ordinal);
            self.streams[streams::STRINGS].get(at..at + len).unwrap_or_default()
        }
    }
}

/// Copies bytes, 16 at a time where both sides have them; returns the new length.
#[inline]
fn copy(line: &mut [u8], len: usize, bytes: &[u8], at: usize, count: usize) -> usize {
    let mut done = 0;
    while done < count {
        let (from, to) = (at + done, len + done);
        match (bytes.get(from..from + 16), line.get_mut(to..to + 16)) {
            (Some(from), Some(to)) => to.copy_from_slice(from),
            _ => return copy_exactly(line, len, bytes, at, count),
        }
        done += 16;
    }
    len + count
}

#[cold]
fn copy_exactly(line: &mut [u8], len: usize, bytes: &[u8], at: usize, count: usize) -> usize {
    if let (Some(from), Some(to)) = (bytes.get(at..at + count), line.get_mut(len..len + count)) {
        to.copy_from_slice(from);
    }
    len + count
}

/// How many digits a number needs.
#[inline]
pub(super) fn decimal_len(value: u64) -> usize {
    value.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Writes a number with `width` digits behind `line[..len]`; returns the new length.
#[inline]
fn put_digits(line: &mut [u8], len: usize, value: u64, width: usize) -> usize {
    const HALF: u64 = 100_000_000;
    if width <= 8 {
        put_8(line, len, value, width);
    } else if width <= 16 {
        put_8(line, len, value / HALF, width - 8);
        put_8(line, len + width - 8, value % HALF, 8);
    } else {
        let width = width.min(24);
        put_8(line, len, value / HALF / HALF, width - 16);
        put_8(line, len + width - 16, value / HALF % HALF, 8);
        put_8(line, len + width - 8, value % HALF, 8);
    }
    len + width
}

/// Writes the last `width` of 8 digits, and whatever behind them.
#[inline]
fn put_8(line: &mut [u8], len: usize, value: u64, width: usize) {
    let text = digits_8(value).checked_shr(64 - 8 * width as u32).unwrap_or_default();
    if let Some(to) = line.get_mut(len..len + 8) {
        to.copy_from_slice(&text.to_le_bytes());
    }
}

/// A number below 10⁸ as 8 digits, the first in the lowest byte.
#[inline]
fn digits_8(value: u64) -> u64 {
    let fours = (value / 10_000) | (value % 10_000) << 32;
    let hundreds = (fours.wrapping_mul(10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | fours.wrapping_sub(hundreds * 100) << 16;
    let tens = (twos.wrapping_mul(103) >> 10) & 0x000f_000f_000f_000f;
    let ones = tens | twos.wrapping_sub(tens * 10) << 8;
    ones.wrapping_add(0x3030_3030_3030_3030)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_at_every_width() {
        let mut line = [0; 64];
        for width in 1..=DIGITS_MAX {
            for value in
                [0, 1, 9, 10, 99, 1234, 9_999_999, 12_345_678, 99_999_999, 100_000_000, 1_234_567_890_123_456_789]
            {
                let value = value % 10_u64.pow(width as u32);
                let len = put_digits(&mut line, 3, value, width);
                assert_eq!(line[3..len], *format!("{value:0width$}").as_bytes());
                let len = put_digits(&mut line, 0, value, decimal_len(value));
                assert_eq!(line[..len], *value.to_string().as_bytes());
            }
        }
        for value in (0..100_000_000).step_by(9973) {
            assert_eq!(digits_8(value).to_le_bytes(), *format!("{value:08}").as_bytes());
        }
    }
}
