//! Encoding: rows grouped by template, variables by slot, each slot in its cheapest form.
//!
//! Nothing is allocated per row: every buffer is kept from block to block, and given back only
//! after a block far above the usual size.

use super::arena::Arena;
use super::candidates::Candidates;
use super::cut::{COPY, Cutter, Place, Variable, copy};
use super::slots::{SlotKind, bit_len};
use super::streams::{self, StreamWriter, put_varint};

/// Scratch beyond this is given back.
pub(super) const SCRATCH_MAX: usize = if cfg!(test) { 1 << 20 } else { 16 << 20 };
/// So much of a block is compressed as it is, to learn whether templates pay.
const SAMPLE: usize = 64 << 10;

/// Encodes the messages of blocks, one block after the other; keeps its scratch memory.
pub struct MessageEncoder {
    arena: Arena,
    cutter: Cutter,
    writer: StreamWriter,
    streams: [Vec<u8>; streams::COUNT],
    /// Each row's candidate; a number that is none's for a row without.
    rows: Vec<u32>,
    candidates: Candidates,
    /// The variables of one template by slot: numbers, and places.
    values: Vec<u64>,
    places: Vec<Place>,
}

impl MessageEncoder {
    /// An encoder that compresses at a zstd level.
    pub fn new(zstd_level: i32) -> Self {
        Self {
            arena: Arena::default(),
            cutter: Cutter::new(),
            writer: StreamWriter::new(zstd_level),
            streams: Default::default(),
            rows: Vec::new(),
            candidates: Candidates::default(),
            values: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Appends the payload of a block's messages to `out`, and the hashes of their tokens (see
    /// [`super::token_hashes`]; some more than once) to `tokens`.
    pub fn encode<'a, I>(&mut self, rows: I, out: &mut Vec<u8>, tokens: &mut Vec<u64>)
    where
        I: ExactSizeIterator<Item = &'a [u8]> + Clone,
    {
        self.arena.fill(rows);
        self.cut(tokens);
        self.candidates.choose(self.arena.text_len());
        self.encode_templates();
        let start = out.len();
        self.writer.write(&self.streams, out);
        if self.seems_too_long(out.len() - start) {
            self.candidates.keep_none();
            self.encode_templates();
            let templated = out.len();
            self.writer.write(&self.streams, out);
            if out.len() - templated < templated - start {
                out.drain(start..templated);
            } else {
                out.truncate(templated);
            }
        }
        self.shrink();
    }

    /// Whether the text itself, judged by a sample, would compress to less than `len`. What counts
    /// is what the sample's second half adds: its first half pays for lines that are new.
    fn seems_too_long(&mut self, len: usize) -> bool {
        let text = self.arena.bytes();
        if self.candidates.kept.is_empty() || text.is_empty() {
            return false;
        }
        let start = text.len().saturating_sub(SAMPLE) / 2;
        let sample = &text[start..text.len().min(start + SAMPLE)];
        let (half, rest) = sample.split_at(sample.len() / 2);
        let added = self.writer.compressed_len(sample).saturating_sub(self.writer.compressed_len(half));
        added.saturating_mul(text.len()) / rest.len() < len
    }

    fn cut(&mut self, tokens: &mut Vec<u64>) {
        self.cutter.reset();
        self.rows.clear();
        self.candidates.clear();
        for row in 0..self.arena.rows() {
            let cut = self.cutter.cut(&self.arena, row, tokens);
            let candidate =
                cut.and_then(|(key, variables)| self.candidates.add(self.arena.row(row).len(), key, variables));
            self.rows.push(candidate.unwrap_or(u32::MAX));
        }
    }

    fn encode_templates(&mut self) {
        self.streams.iter_mut().for_each(Vec::clear);
        self.encode_rows();
        put_varint(&mut self.streams[streams::TEMPLATES], self.candidates.kept.len() as u64);
        for index in 0..self.candidates.kept.len() {
            let kept = self.candidates.kept[index] as usize;
            let candidate = &self.candidates.list[kept];
            let (rows, slots) = (candidate.rows as usize, candidate.slots as usize);
            let key = &self.candidates.keys[candidate.key.0 as usize..candidate.key.1 as usize];
            let templates = &mut self.streams[streams::TEMPLATES];
            put_varint(templates, rows as u64);
            put_varint(templates, key.len() as u64);
            self.streams[streams::STATICS].extend_from_slice(key);
            self.streams[streams::STATICS].push(0);
            if slots == 0 {
                continue;
            }
            transpose(&self.candidates.variables[kept], slots, &mut self.values, &mut self.places);
            for (values, places) in self.values.chunks_exact_mut(rows).zip(self.places.chunks_exact(rows)) {
                encode_slot(&mut self.streams, self.arena.bytes(), values, places);
            }
        }
    }

    /// Writes the ids, and the rows that have no template.
    fn encode_rows(&mut self) {
        let has_templates = !self.candidates.kept.is_empty();
        let has_high_ids = self.candidates.kept.len() > 255;
        for (row, &candidate) in self.rows.iter().enumerate() {
            let id = self.candidates.list.get(candidate as usize).map_or(0, |candidate| candidate.id);
            if has_templates {
                self.streams[streams::IDS].push(id as u8);
            }
            if has_high_ids {
                self.streams[streams::HIGH_IDS].push((id >> 8) as u8);
            }
            if id == 0 {
                let text = self.arena.row(row);
                put_varint(&mut self.streams[streams::RARE_LENGTHS], text.len() as u64);
                self.streams[streams::RARE].extend_from_slice(text);
            }
        }
    }

    fn shrink(&mut self) {
        if self.arena.bytes().len() > SCRATCH_MAX {
            self.arena.shrink(SCRATCH_MAX);
            self.writer.shrink(SCRATCH_MAX);
            for stream in &mut self.streams {
                stream.clear();
                stream.shrink_to(SCRATCH_MAX);
            }
        }
        self.candidates.shrink();
    }
}

/// Brings variables that stand row by row into the order of their slots.
fn transpose(variables: &[Variable], slots: usize, values: &mut Vec<u64>, places: &mut Vec<Place>) {
    let rows = variables.len() / slots;
    values.resize(variables.len(), 0);
    places.resize(variables.len(), Place::default());
    for (row, variables) in variables.chunks_exact(slots).enumerate() {
        let to = values[row..].iter_mut().step_by(rows).zip(places[row..].iter_mut().step_by(rows));
        for (variable, (value, place)) in variables.iter().zip(to) {
            *value = variable.value;
            *place = variable.place;
        }
    }
}

/// Writes the descriptor and the variables of a slot.
fn encode_slot(streams: &mut [Vec<u8>; streams::COUNT], arena: &[u8], values: &mut [u64], places: &[Place]) {
    let (mut common, mut len_min, mut len_max, mut bytes) = (Place::ALL, u8::MAX, 0, 0);
    for place in places {
        common = common.common(*place);
        len_min = len_min.min(place.len());
        len_max = len_max.max(place.len());
        bytes += usize::from(place.len());
    }
    let kind = match (common.is_number(), len_min == len_max, common.is_canonical()) {
        (true, true, _) => SlotKind::Digits,
        (true, false, true) => SlotKind::Integer,
        (true, false, false) => SlotKind::MixedDigits,
        (false, true, _) => SlotKind::FixedString,
        (false, false, _) => SlotKind::String,
    };
    streams[streams::TEMPLATES].push(kind as u8);
    if kind.has_lengths() {
        streams[streams::LENGTHS].extend(places.iter().map(|place| place.len()));
    }
    if !kind.is_number() {
        put_varint(
            &mut streams[streams::TEMPLATES],
            if kind == SlotKind::String { bytes as u64 } else { len_max.into() },
        );
        encode_strings(&mut streams[streams::STRINGS], arena, bytes, places);
        return;
    }
    if kind == SlotKind::Digits {
        streams[streams::TEMPLATES].push(len_max);
    }
    let (mut min, mut max) = (u64::MAX, 0);
    for &value in values.iter() {
        min = min.min(value);
        max = max.max(value);
    }
    put_varint(&mut streams[streams::TEMPLATES], min);
    put_varint(&mut streams[streams::TEMPLATES], max - min);
    values.iter_mut().for_each(|value| *value -= min);
    let mut bits = bit_len(max - min);
    for plane in 0..bits.div_ceil(8) {
        let stream = &mut streams[streams::PLANES + bits.min(8) as usize - 1];
        let start = stream.len();
        stream.resize(start + values.len(), 0);
        for (byte, value) in stream[start..].iter_mut().zip(values.iter()) {
            *byte = (value >> (8 * plane)) as u8;
        }
        bits = bits.saturating_sub(8);
    }
}

fn encode_strings(strings: &mut Vec<u8>, arena: &[u8], bytes: usize, places: &[Place]) {
    let mut end = strings.len();
    strings.resize(end + bytes + COPY, 0);
    for place in places {
        end = copy(strings, end, arena, place.at(), place.at() + usize::from(place.len()));
    }
    strings.truncate(end);
}
