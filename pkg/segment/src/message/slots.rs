//! Templates and slots as they are read: where each variable's bytes lie in the streams.
//!
//! Everything is checked here, once: the lengths of all streams must be exactly what the
//! descriptors say, so whoever reads a slot at a row below its template's count stays inside.

use super::MessageError;
use super::candidates::TEMPLATES_MAX;
use super::cut::{DIGITS_MAX, ROW_BYTES_MAX, VARIABLE_BYTES_MAX, VARIABLES_MAX};
use super::streams::{self, Bytes, Streams};
use std::ops::Range;

/// The form in which a slot's variables are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum SlotKind {
    /// Digits of one width.
    Digits = 0,
    /// Integers without zeros in front.
    Integer = 1,
    /// Digits, the width of each beside it.
    MixedDigits = 2,
    /// Strings of one length.
    FixedString = 3,
    /// Strings, the length of each beside it.
    String = 4,
}

impl SlotKind {
    fn from_u8(number: u8) -> Result<Self, MessageError> {
        Ok(match number {
            0 => Self::Digits,
            1 => Self::Integer,
            2 => Self::MixedDigits,
            3 => Self::FixedString,
            4 => Self::String,
            _ => return Err(MessageError("unknown kind of slot")),
        })
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Digits | Self::Integer | Self::MixedDigits)
    }

    pub(super) fn has_lengths(self) -> bool {
        matches!(self, Self::MixedDigits | Self::String)
    }
}

/// How many bits a number has.
pub(super) fn bit_len(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// A slot: a place for a variable in a template.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) kind: SlotKind,
    /// The width of digits, the length of fixed strings.
    pub(super) width: u8,
    /// Whole byte planes below the top plane.
    pub(super) full_planes: u8,
    /// The stream of the top plane; 0 if all numbers are equal.
    pub(super) top_stream: u8,
    /// The least number; the length of all strings together.
    pub(super) min: u64,
    /// The greatest number minus the least.
    pub(super) range: u64,
    /// Where the whole planes, or the strings, begin in their stream.
    pub(super) at: usize,
    /// Where the top plane begins in its stream.
    pub(super) top_at: usize,
    /// Where the lengths begin in their stream.
    pub(super) lengths_at: usize,
    /// The static bytes in front of it.
    pub(super) before: Range<usize>,
}

/// A template and the place of its rows' variables.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) rows: usize,
    /// Its bytes in the static text, 0x00 for each variable.
    pub(super) text: Range<usize>,
    pub(super) slots: Range<usize>,
    /// The static bytes behind the last slot.
    pub(super) tail: Range<usize>,
    /// Which streams its rows need, one bit each.
    pub(super) streams: u32,
}

/// The templates of a block.
#[derive(Debug)]
pub(super) struct Templates {
    pub(super) list: Vec<Template>,
    pub(super) slots: Vec<Slot>,
    /// The text of all templates, 0x00 behind each, and [`PADDING`] more.
    pub(super) statics: Box<[u8]>,
    /// Rows that have no template.
    pub(super) rare_rows: usize,
    /// An upper bound of the length of a row that has one.
    pub(super) line_max: usize,
}

/// Bytes that may be read or written behind the end of the static text or of a rebuilt row.
pub(super) const PADDING: usize = 32;

const LENGTHS: MessageError = MessageError("streams do not have the lengths that the templates ask for");

impl Templates {
    /// Reads the descriptors and holds them against the lengths of all streams.
    pub(super) fn read(streams: &Streams, rows: usize) -> Result<Self, MessageError> {
        let descriptors = streams.get(streams::TEMPLATES)?;
        let texts = streams.get(streams::STATICS)?;
        let mut reader =
            Reader { bytes: Bytes(descriptors), ends: [0; streams::COUNT], slots: Vec::new(), line_max: 0 };
        let count = reader.bytes.length(TEMPLATES_MAX)?;
        let mut list = Vec::with_capacity(count.min(descriptors.len()));
        let (mut text_at, mut rare_rows) = (0, rows);
        for _ in 0..count {
            let template = reader.template(texts, text_at, rare_rows)?;
            text_at = template.text.end + 1;
            rare_rows -= template.rows;
            list.push(template);
        }
        if text_at != texts.len() || !reader.bytes.0.is_empty() {
            return Err(MessageError("length of the templates"));
        }
        reader.ends[streams::IDS] = if count > 0 { rows } else { 0 };
        reader.ends[streams::HIGH_IDS] = if count > 255 { rows } else { 0 };
        for stream in [streams::IDS, streams::HIGH_IDS, streams::STRINGS, streams::LENGTHS] {
            if streams.len(stream) != reader.ends[stream] {
                return Err(LENGTHS);
            }
        }
        if (streams::PLANES..=streams::FULL_PLANE).any(|stream| streams.len(stream) != reader.ends[stream]) {
            return Err(LENGTHS);
        }
        let mut statics = Vec::with_capacity(texts.len() + PADDING);
        statics.extend_from_slice(texts);
        statics.resize(texts.len() + PADDING, 0);
        let Reader { slots, line_max, .. } = reader;
        Ok(Self { list, slots, statics: statics.into(), rare_rows, line_max })
    }

    /// An upper bound of the memory that the templates of these streams take.
    pub(super) fn memory_bytes(streams: &Streams) -> usize {
        // A template takes 3 bytes at least, a slot 2.
        let descriptors = streams.len(streams::TEMPLATES);
        streams.len(streams::STATICS)
            + descriptors / 2 * size_of::<Slot>()
            + TEMPLATES_MAX.min(descriptors / 3) * size_of::<Template>()
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.list.capacity() * size_of::<Template>() + self.slots.capacity() * size_of::<Slot>() + self.statics.len()
    }

    pub(super) fn slots_of(&self, template: &Template) -> &[Slot] {
        self.slots.get(template.slots.clone()).unwrap_or_default()
    }
}

struct Reader<'a> {
    bytes: Bytes<'a>,
    /// How much of each stream the slots so far take.
    ends: [usize; streams::COUNT],
    slots: Vec<Slot>,
    line_max: usize,
}

impl Reader<'_> {
    fn template(&mut self, texts: &[u8], start: usize, rows_max: usize) -> Result<Template, MessageError> {
        let rows = self.bytes.length(rows_max)?;
        let len = self.bytes.length(ROW_BYTES_MAX + VARIABLES_MAX)?;
        let text = texts.get(start..start + len).ok_or(MessageError("length of the templates"))?;
        if texts.get(start + len) != Some(&0) {
            return Err(MessageError("template without an end"));
        }
        let first = self.slots.len();
        let mut before = start;
        let mut line = len;
        let mut used = 0;
        for marker in memchr::memchr_iter(0, text) {
            if self.slots.len() - first == VARIABLES_MAX {
                return Err(MessageError("too many slots"));
            }
            let slot = self.slot(rows, before..start + marker)?;
            before = start + marker + 1;
            line += if slot.kind == SlotKind::String { VARIABLE_BYTES_MAX } else { slot.width.into() };
            used |= slot.streams();
            self.slots.push(slot);
        }
        self.line_max = self.line_max.max(line);
        Ok(Template {
            rows,
            text: start..start + len,
            slots: first..self.slots.len(),
            tail: before..start + len,
            streams: used,
        })
    }

    fn slot(&mut self, rows: usize, before: Range<usize>) -> Result<Slot, MessageError> {
        let kind = SlotKind::from_u8(self.bytes.u8()?)?;
        let mut slot = Slot {
            kind,
            width: DIGITS_MAX as u8,
            full_planes: 0,
            top_stream: 0,
            min: 0,
            range: 0,
            at: 0,
            top_at: 0,
            lengths_at: 0,
            before,
        };
        if kind.has_lengths() {
            slot.lengths_at = self.take(streams::LENGTHS, rows)?;
        }
        if kind.is_number() {
            self.number(&mut slot, rows)?;
        } else if kind == SlotKind::FixedString {
            slot.width = self.bytes.length(VARIABLE_BYTES_MAX)? as u8;
            slot.at = self.take(streams::STRINGS, rows.saturating_mul(slot.width.into()))?;
        } else {
            let bytes = self.bytes.length(rows.saturating_mul(VARIABLE_BYTES_MAX))?;
            slot.min = bytes as u64;
            slot.at = self.take(streams::STRINGS, bytes)?;
        }
        Ok(slot)
    }

    fn number(&mut self, slot: &mut Slot, rows: usize) -> Result<(), MessageError> {
        if slot.kind == SlotKind::Digits {
            slot.width = self.bytes.u8()?;
            if slot.width == 0 || usize::from(slot.width) > DIGITS_MAX {
                return Err(MessageError("width of digits"));
            }
        }
        slot.min = self.bytes.varint()?;
        slot.range = self.bytes.varint()?;
        let max = slot.min.checked_add(slot.range).ok_or(MessageError("number too large"))?;
        if max >= 10_u64.pow(slot.width.into()) {
            return Err(MessageError("number too large"));
        }
        if slot.range > 0 {
            let bits = bit_len(slot.range);
            slot.full_planes = (bits.div_ceil(8) - 1) as u8;
            let top_bits = bits as usize - 8 * usize::from(slot.full_planes);
            slot.top_stream = (streams::PLANES + top_bits - 1) as u8;
            slot.at = self.take(streams::FULL_PLANE, rows.saturating_mul(slot.full_planes.into()))?;
            slot.top_at = self.take(slot.top_stream.into(), rows)?;
        }
        Ok(())
    }

    /// The place of the next bytes of a stream.
    fn take(&mut self, stream: usize, len: usize) -> Result<usize, MessageError> {
        let end = self.ends.get_mut(stream).ok_or(LENGTHS)?;
        let at = *end;
        *end = at.checked_add(len).ok_or(LENGTHS)?;
        Ok(at)
    }
}

impl Slot {
    /// Which streams its variables need, one bit each.
    pub(super) fn streams(&self) -> u32 {
        let mut used = 0;
        if self.kind.has_lengths() {
            used |= 1 << streams::LENGTHS;
        }
        if !self.kind.is_number() {
            used |= 1 << streams::STRINGS;
        }
        if self.full_planes > 0 {
            used |= 1 << streams::FULL_PLANE;
        }
        if self.top_stream > 0 {
            used |= 1 << self.top_stream;
        }
        used
    }
}
