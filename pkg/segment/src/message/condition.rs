//! Conditions on single variables, prepared once for a slot and asked for each row.

use super::literal::{Condition, Place};
use super::rebuild::Rebuild;
use super::slots::{Slot, SlotKind};

/// Room for any variable, and for reading 8 bytes from each of its digits on.
const ROOM: usize = 64;

/// A condition on the variables of a slot.
pub(super) struct VariableTest<'a> {
    slot: &'a Slot,
    how: How<'a>,
}

enum How<'a> {
    /// The number is this one, with so many digits.
    Number { value: u64, len: usize },
    /// The last digits are these.
    LastDigits { value: u64, modulus: u64, len: usize },
    /// Digits at the start, or anywhere.
    Digits { piece: &'a [u8], head: u64, mask: u64, place: Place },
    /// A string, or a part of one.
    String { piece: &'a [u8], place: Place, ignores_case: bool },
}

impl<'a> VariableTest<'a> {
    /// Prepares a condition; `None` if no variable of the slot can fulfil it.
    pub(super) fn new(slot: &'a Slot, condition: &Condition<'a>, ignores_case: bool) -> Option<Self> {
        let Condition { piece, place, .. } = *condition;
        if !slot.kind.is_number() {
            let too_long = slot.kind == SlotKind::FixedString && piece.len() > usize::from(slot.width);
            return (!too_long).then_some(Self { slot, how: How::String { piece, place, ignores_case } });
        }
        let max = slot.min + slot.range;
        let width_max = if slot.kind == SlotKind::Integer {
            max.checked_ilog10().unwrap_or(0) as usize + 1
        } else {
            slot.width.into()
        };
        let len = piece.len();
        if len > width_max {
            return None;
        }
        let value =
            piece.iter().fold(0_u64, |value, digit| value.wrapping_mul(10).wrapping_add(u64::from(digit & 0x0f)));
        let how = match place {
            Place::Whole => {
                let is_other_width = slot.kind == SlotKind::Digits && len != width_max;
                let is_padded = slot.kind == SlotKind::Integer && len > 1 && piece.first() == Some(&b'0');
                if is_other_width || is_padded || !(slot.min..=max).contains(&value) {
                    return None;
                }
                How::Number { value, len }
            }
            // Digits are at most 19.
            Place::End => How::LastDigits { value, modulus: 10_u64.checked_pow(len as u32)?, len },
            Place::Start | Place::Inside => {
                let mut head = [0; 8];
                let count = len.min(8);
                head.get_mut(..count)?.copy_from_slice(piece.get(..count)?);
                let mask = u64::MAX >> (64 - 8 * count);
                How::Digits { piece, head: u64::from_le_bytes(head), mask, place }
            }
        };
        Some(Self { slot, how })
    }

    /// Calls `f` with every row of the template for which the condition holds.
    pub(super) fn each(&self, rebuild: &Rebuild<'_>, rows: usize, f: &mut dyn FnMut(usize)) {
        if self.slot.range == 0 && matches!(self.slot.kind, SlotKind::Digits | SlotKind::Integer) {
            // All rows have one variable.
            if rows > 0 && self.holds(rebuild, rows, 0) {
                (0..rows).for_each(f);
            }
            return;
        }
        for ordinal in 0..rows {
            if self.holds(rebuild, rows, ordinal) {
                f(ordinal);
            }
        }
    }

    /// Whether the condition holds for a row of the template.
    #[inline]
    pub(super) fn holds(&self, rebuild: &Rebuild<'_>, rows: usize, ordinal: usize) -> bool {
        match self.how {
            How::Number { value, len } => {
                rebuild.number(self.slot, rows, ordinal) == value
                    && (self.slot.kind != SlotKind::MixedDigits || rebuild.width(self.slot, ordinal) == Some(len))
            }
            How::LastDigits { value, modulus, len } => {
                let number = rebuild.number(self.slot, rows, ordinal);
                number % modulus == value && rebuild.digits(self.slot, ordinal, number) >= len
            }
            How::Digits { piece, head, mask, place } => {
                let mut line = [0; ROOM];
                let len = rebuild.variable(self.slot, rows, ordinal, &mut line).len();
                let places = if place == Place::Start { 0 } else { len.saturating_sub(piece.len()) };
                len >= piece.len()
                    && (0..=places).any(|at| {
                        let chunk = line.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
                        u64::from_le_bytes(chunk) & mask == head
                            && (piece.len() <= 8 || line.get(at..at + piece.len()) == Some(piece))
                    })
            }
            How::String { piece, place, ignores_case } => {
                let string = rebuild.variable(self.slot, rows, ordinal, &mut []);
                let part = match place {
                    Place::Start => string.get(..piece.len()),
                    Place::End => string.len().checked_sub(piece.len()).and_then(|at| string.get(at..)),
                    Place::Whole => Some(string),
                    Place::Inside => None,
                };
                part.is_some_and(|part| part == piece || (ignores_case && part.eq_ignore_ascii_case(piece)))
            }
        }
    }
}
