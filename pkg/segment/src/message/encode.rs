//! Encoding: rows grouped by template, variables by slot, each slot in its cheapest form.
//!
//! Nothing is allocated per row: every buffer is kept from block to block, and given back only
//! after a block far above the usual size.

use super::cut::{Arena, Cutter, Variable};
use super::slots::{SlotKind, bit_len};
use super::streams::{self, StreamWriter, put_varint};
use xxhash_rust::xxh3::xxh3_64;

/// The most templates that a block keeps.
pub(super) const TEMPLATES_MAX: usize = 4096;
/// A template with fewer rows is not kept: its rows are rare.
const ROWS_MIN: u32 = 8;
/// Scratch beyond this is given back.
const SCRATCH_MAX: usize = 16 << 20;
const TABLE: usize = 4 * TEMPLATES_MAX;
const NONE: u32 = u32::MAX;

/// Encodes the messages of blocks, one block after the other; keeps its scratch memory.
pub struct MessageEncoder {
    arena: Arena,
    cutter: Cutter,
    writer: StreamWriter,
    streams: [Vec<u8>; streams::COUNT],
    variables: Vec<Variable>,
    /// For each row its candidate and its first variable.
    rows: Vec<(u32, u32)>,
    candidates: Candidates,
    grouped: Vec<u32>,
    column: Vec<u64>,
    slots: Vec<SlotStatistics>,
}

impl MessageEncoder {
    /// An encoder that compresses at a zstd level.
    pub fn new(zstd_level: i32) -> Self {
        Self {
            arena: Arena::default(),
            cutter: Cutter::new(),
            writer: StreamWriter::new(zstd_level),
            streams: Default::default(),
            variables: Vec::new(),
            rows: Vec::new(),
            candidates: Candidates::default(),
            grouped: Vec::new(),
            column: Vec::new(),
            slots: Vec::new(),
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
        self.candidates.choose(ROWS_MIN);
        self.encode_templates();
        self.writer.write(&self.streams, out);
        self.shrink();
    }

    fn cut(&mut self, tokens: &mut Vec<u64>) {
        self.cutter.reset();
        self.variables.clear();
        self.rows.clear();
        self.candidates.clear();
        for row in 0..self.arena.rows() {
            let first = self.variables.len();
            let key = self.cutter.cut(&self.arena, row, &mut self.variables, tokens);
            let slots = self.variables.len() - first;
            let candidate = key.and_then(|key| self.candidates.add(key, slots));
            if candidate.is_none() {
                self.variables.truncate(first);
            }
            self.rows.push((candidate.unwrap_or(NONE), first as u32));
        }
    }

    fn encode_templates(&mut self) {
        self.streams.iter_mut().for_each(Vec::clear);
        self.group();
        put_varint(&mut self.streams[streams::TEMPLATES], self.candidates.kept.len() as u64);
        let mut start = 0;
        for index in 0..self.candidates.kept.len() {
            let candidate = &self.candidates.list[self.candidates.kept[index] as usize];
            let (rows, slots) = (candidate.rows as usize, candidate.slots as usize);
            let key = &self.candidates.keys[candidate.key.0 as usize..candidate.key.1 as usize];
            let templates = &mut self.streams[streams::TEMPLATES];
            put_varint(templates, rows as u64);
            put_varint(templates, key.len() as u64);
            self.streams[streams::STATICS].extend_from_slice(key);
            self.streams[streams::STATICS].push(0);
            self.measure_slots(start..start + rows, slots);
            for slot in 0..slots {
                self.encode_slot(start..start + rows, slot, rows);
            }
            start += rows;
        }
    }

    /// Writes the ids and the rare rows, and groups the other rows by template.
    fn group(&mut self) {
        let mut next = Vec::new();
        let mut total = 0;
        for &kept in &self.candidates.kept {
            next.push(total);
            total += self.candidates.list[kept as usize].rows as usize;
        }
        self.grouped.clear();
        self.grouped.resize(total, 0);
        let has_templates = !self.candidates.kept.is_empty();
        let has_high_ids = self.candidates.kept.len() > 255;
        for (row, &(candidate, first)) in self.rows.iter().enumerate() {
            let id = self.candidates.list.get(candidate as usize).map_or(0, |candidate| candidate.id);
            if has_templates {
                self.streams[streams::IDS].push(id as u8);
            }
            if has_high_ids {
                self.streams[streams::HIGH_IDS].push((id >> 8) as u8);
            }
            match next.get_mut((id as usize).wrapping_sub(1)) {
                Some(next) => {
                    self.grouped[*next] = first;
                    *next += 1;
                }
                None => {
                    let text = self.arena.row(row);
                    put_varint(&mut self.streams[streams::RARE_LENGTHS], text.len() as u64);
                    self.streams[streams::RARE].extend_from_slice(text);
                }
            }
        }
    }

    /// Lays the numbers of a template's rows out by slot, and learns what each slot holds.
    fn measure_slots(&mut self, grouped: std::ops::Range<usize>, slots: usize) {
        let rows = grouped.len();
        self.slots.clear();
        self.slots.resize(slots, SlotStatistics::default());
        self.column.clear();
        self.column.resize(slots * rows, 0);
        for (ordinal, &first) in self.grouped[grouped].iter().enumerate() {
            let variables = &self.variables[first as usize..first as usize + slots];
            for (slot, (variable, statistics)) in variables.iter().zip(&mut self.slots).enumerate() {
                statistics.add(variable);
                self.column[slot * rows + ordinal] = variable.value;
            }
        }
    }

    fn encode_slot(&mut self, grouped: std::ops::Range<usize>, slot: usize, rows: usize) {
        let SlotStatistics { all_numbers, all_canonical, len_min, len_max, value_min, value_max } = self.slots[slot];
        let kind = match (all_numbers, len_min == len_max, all_canonical) {
            (true, true, _) => SlotKind::Digits,
            (true, false, true) => SlotKind::Integer,
            (true, false, false) => SlotKind::MixedDigits,
            (false, true, _) => SlotKind::FixedString,
            (false, false, _) => SlotKind::String,
        };
        self.streams[streams::TEMPLATES].push(kind as u8);
        if kind.has_lengths() {
            let lengths = &mut self.streams[streams::LENGTHS];
            let variables = self.grouped[grouped.clone()].iter();
            lengths.extend(variables.map(|&first| self.variables[first as usize + slot].len));
        }
        if kind.is_number() {
            self.encode_numbers(kind, len_max, value_min, value_max - value_min, slot * rows..(slot + 1) * rows);
        } else {
            self.encode_strings(kind, len_max, grouped, slot);
        }
    }

    fn encode_numbers(&mut self, kind: SlotKind, width: u8, min: u64, range: u64, column: std::ops::Range<usize>) {
        let templates = &mut self.streams[streams::TEMPLATES];
        if kind == SlotKind::Digits {
            templates.push(width);
        }
        put_varint(templates, min);
        put_varint(templates, range);
        let column = &mut self.column[column];
        column.iter_mut().for_each(|value| *value -= min);
        let mut bits = bit_len(range);
        for plane in 0..bits.div_ceil(8) {
            let stream = &mut self.streams[streams::PLANES + bits.min(8) as usize - 1];
            stream.extend(column.iter().map(|value| (value >> (8 * plane)) as u8));
            bits = bits.saturating_sub(8);
        }
    }

    fn encode_strings(&mut self, kind: SlotKind, len: u8, grouped: std::ops::Range<usize>, slot: usize) {
        let strings = &mut self.streams[streams::STRINGS];
        let start = strings.len();
        for &first in &self.grouped[grouped] {
            let Variable { at, len, .. } = self.variables[first as usize + slot];
            strings.extend_from_slice(&self.arena.bytes()[at as usize..at as usize + len as usize]);
        }
        let bytes = (strings.len() - start) as u64;
        let templates = &mut self.streams[streams::TEMPLATES];
        put_varint(templates, if kind == SlotKind::FixedString { len.into() } else { bytes });
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
    }
}

/// What the variables of one slot have in common.
#[derive(Clone, Copy)]
struct SlotStatistics {
    all_numbers: bool,
    all_canonical: bool,
    len_min: u8,
    len_max: u8,
    value_min: u64,
    value_max: u64,
}

impl Default for SlotStatistics {
    fn default() -> Self {
        let (all_numbers, all_canonical) = (true, true);
        Self { all_numbers, all_canonical, len_min: u8::MAX, len_max: 0, value_min: u64::MAX, value_max: 0 }
    }
}

impl SlotStatistics {
    #[inline]
    fn add(&mut self, variable: &Variable) {
        self.all_numbers &= variable.is_number;
        self.all_canonical &= variable.is_canonical;
        self.len_min = self.len_min.min(variable.len);
        self.len_max = self.len_max.max(variable.len);
        self.value_min = self.value_min.min(variable.value);
        self.value_max = self.value_max.max(variable.value);
    }
}

/// The templates seen in a block, found by hash and confirmed byte by byte.
#[derive(Default)]
struct Candidates {
    table: Vec<u32>,
    list: Vec<Candidate>,
    keys: Vec<u8>,
    /// The chosen ones, in the order of their ids.
    kept: Vec<u32>,
}

struct Candidate {
    hash: u64,
    key: (u32, u32),
    rows: u32,
    slots: u32,
    /// 0 if it is not kept.
    id: u32,
}

impl Candidates {
    fn clear(&mut self) {
        self.table.clear();
        self.table.resize(TABLE, NONE);
        self.list.clear();
        self.keys.clear();
        self.kept.clear();
    }

    /// Counts a row of a template; `None` if there are too many templates.
    #[inline]
    fn add(&mut self, key: &[u8], slots: usize) -> Option<u32> {
        let hash = xxh3_64(key);
        let mut place = hash as usize % TABLE;
        loop {
            let index = self.table[place];
            let Some(candidate) = self.list.get_mut(index as usize) else { break };
            if candidate.hash == hash && self.keys[candidate.key.0 as usize..candidate.key.1 as usize] == *key {
                candidate.rows += 1;
                return Some(index);
            }
            place = (place + 1) % TABLE;
        }
        if self.list.len() == TEMPLATES_MAX {
            return None;
        }
        let index = self.list.len() as u32;
        let start = self.keys.len() as u32;
        self.keys.extend_from_slice(key);
        let key = (start, self.keys.len() as u32);
        self.list.push(Candidate { hash, key, rows: 1, slots: slots as u32, id: 0 });
        self.table[place] = index;
        Some(index)
    }

    /// Keeps the templates with so many rows.
    fn choose(&mut self, rows_min: u32) {
        for (index, candidate) in self.list.iter_mut().enumerate() {
            if candidate.rows >= rows_min {
                self.kept.push(index as u32);
                candidate.id = self.kept.len() as u32;
            }
        }
    }
}
