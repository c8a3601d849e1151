//! The dimensions of a unit as small numbers, one a row, and the counting of their combinations.

use super::buckets::Buckets;
use super::dimension::{Dimension, RowSide, StreamSide};
use super::interner::{Interner, Values};
use super::tally::{self, Tally};
use super::{Scratch, Weight};
use crate::plan::Plan;
use crate::source::{OpenSegment, mixed_up};
use std::collections::HashMap;
use timberlog_filter::ColumnSource;
use timberlog_segment::{BlockMeta, Column, ColumnKey};
use timberlog_types::{Batch, Error, Result, RowSet};

/// The values of one dimension for the rows of a unit. Code 0 means that a row has none.
struct Codes {
    values: Values,
    /// By row; empty if all rows have code `constant`.
    rows: Vec<u32>,
    constant: u32,
}

/// All dimensions of a unit.
pub(crate) struct UnitCodes {
    dimensions: Vec<Codes>,
    /// Where rows of another bucket begin, and its place in `starts`; empty if there is one bucket at most. Rows stand by
    /// stream and time, so that these are few.
    buckets: Vec<(u32, u32)>,
    /// The names of the buckets.
    starts: Vec<i64>,
}

impl Codes {
    fn constant(value: Option<&[u8]>) -> Self {
        let mut values = Values::default();
        value.into_iter().for_each(|value| values.push(value));
        Self { values, rows: Vec::new(), constant: u32::from(value.is_some()) }
    }

    fn varying(interner: Interner, rows: Vec<u32>) -> Self {
        Self { values: interner.into_values(), rows, constant: 0 }
    }

    fn code(&self, row: usize) -> u32 {
        self.rows.get(row).copied().unwrap_or(self.constant)
    }

    fn of_batch(dimension: &Dimension, batch: &Batch, within: &RowSet) -> Self {
        if dimension.row == RowSide::None {
            // Of many labels, most are in no stream of a batch, or the same in all.
            let mut values = (0..batch.stream_count()).map(|id| dimension.of_stream(batch.stream(id)));
            let first = values.next().flatten();
            if values.all(|value| value == first) {
                return Self::constant(first);
            }
        }
        let mut interner = Interner::default();
        let mut rows = vec![0; batch.rows()];
        if dimension.row.is_level() {
            let mut code = |id| {
                let level = batch.level(id);
                let value = dimension.row.of_level(level.level, level.spelling);
                value.map_or(0, |value| interner.code(value.as_bytes()))
            };
            let codes: Vec<u32> = (0..batch.level_count()).map(&mut code).collect();
            within.iter().for_each(|row| rows[row] = codes[batch.level_id(row)]);
        }
        if dimension.row == RowSide::Message {
            within.iter().for_each(|row| rows[row] = interner.code(batch.message(row)));
        }
        if let Some(field) = dimension.row.field().and_then(|name| batch.field(name)) {
            for index in 0..field.len() {
                let row = field.row(index);
                let code = if within.contains(row) { interner.code_of(field.value(index)) } else { 0 };
                // A null leaves to the level what it says.
                if code != 0 {
                    rows[row] = code;
                }
            }
        }
        if dimension.stream != StreamSide::None {
            let codes: Vec<Option<u32>> = (0..batch.stream_count())
                .map(|id| dimension.of_stream(batch.stream(id)).map(|value| interner.code(value)))
                .collect();
            if codes.iter().any(Option::is_some) {
                for row in within.iter() {
                    if let Some(code) = codes[batch.stream_id(row)] {
                        rows[row] = code;
                    }
                }
            }
        }
        Self::varying(interner, rows)
    }

    fn of_block(
        dimension: &Dimension,
        plan: &Plan,
        open: &OpenSegment,
        block: &BlockMeta,
        within: &RowSet,
    ) -> Result<Self> {
        if let Some(value) = dimension.constant(open, block) {
            return Ok(Self::constant(value));
        }
        let (directory, source, number) = (open.directory(), open.source(&plan.budget), block.number);
        let mut interner = Interner::default();
        let mut rows = Vec::new();
        if dimension.row.is_level() {
            let column = source.column(number, ColumnKey::Level)?;
            let Column::Levels(levels) = &*column else { return Err(mixed_up(number, ColumnKey::Level)) };
            let code = |&id: &u32| {
                let level = directory.levels.get(id as usize);
                let value = level.and_then(|l| dimension.row.of_level(l.level, l.spelling.as_deref()));
                value.map_or(0, |value| interner.code(value.as_bytes()))
            };
            let codes: Vec<u32> = levels.spellings().iter().map(code).collect();
            rows.resize(levels.rows(), 0);
            let mut slots = rows.iter_mut();
            levels.codes().for_each(|code| {
                if let Some(slot) = slots.next() {
                    *slot = codes.get(code).copied().unwrap_or_default();
                }
            });
        }
        rows.resize(within.rows(), 0);
        if dimension.row == RowSide::Message {
            let column = source.column(number, ColumnKey::Message)?;
            let Column::Message(messages) = &*column else { return Err(mixed_up(number, ColumnKey::Message)) };
            messages
                .read(within, &mut |row, message| {
                    if let Some(code) = rows.get_mut(row) {
                        *code = interner.code(message);
                    }
                })
                .map_err(|error| Error::corrupt(format!("block {number}: {error}")))?;
        }
        if let Some(key) = dimension.field(open, block) {
            let column = source.column(number, key)?;
            let Column::Field(values) = &*column else { return Err(mixed_up(number, key)) };
            match (values.dictionary(), values.codes()) {
                (Some(dictionary), Some(codes)) => {
                    let known: Vec<u32> = dictionary.iter().map(|value| interner.code_of(value)).collect();
                    values.for_each_row(|row, index| {
                        let code = known.get(codes.get(index)).copied().unwrap_or_default();
                        if let Some(slot) = rows.get_mut(row).filter(|_| code != 0) {
                            *slot = code;
                        }
                    });
                }
                _ => values.for_each_row(|row, index| {
                    if let Some(slot) = rows.get_mut(row).filter(|_| within.contains(row)) {
                        let code = interner.code_of(values.value(index));
                        if code != 0 {
                            *slot = code;
                        }
                    }
                }),
            }
        }
        if dimension.is_decided_by_streams(open, block) {
            let column = source.column(number, ColumnKey::Stream)?;
            let Column::Streams(runs) = &*column else { return Err(mixed_up(number, ColumnKey::Stream)) };
            for (id, range) in runs.runs() {
                let value = directory.streams.get(id).and_then(|stream| dimension.of_stream(stream));
                if let (Some(value), Some(slots)) = (value, rows.get_mut(range)) {
                    slots.fill(interner.code(value));
                }
            }
        }
        Ok(Self::varying(interner, rows))
    }
}

impl UnitCodes {
    pub fn of_batch(dimensions: &[Dimension], step: Option<Buckets>, batch: &Batch, within: &RowSet) -> Result<Self> {
        let codes = dimensions.iter().map(|dimension| Codes::of_batch(dimension, batch, within)).collect();
        let mut all = Self { dimensions: codes, buckets: Vec::new(), starts: vec![0] };
        if let Some(step) = step {
            all.set_buckets(step, batch.timestamps(), within);
        }
        Ok(all)
    }

    pub fn of_block(
        dimensions: &[Dimension],
        step: Option<Buckets>,
        plan: &Plan,
        open: &OpenSegment,
        block: &BlockMeta,
        within: &RowSet,
    ) -> Result<Self> {
        let codes = |dimension| Codes::of_block(dimension, plan, open, block, within);
        let dimensions = dimensions.iter().map(codes).collect::<Result<_>>()?;
        let mut all = Self { dimensions, buckets: Vec::new(), starts: vec![0] };
        if let Some(step) = step {
            let (first, last) = (step.number(block.range.start), step.number(block.range.end));
            if first == last {
                all.starts = vec![step.name(first)];
            } else {
                open.source(&plan.budget).with_timestamps(block.number, |times| {
                    all.set_buckets(step, times.iter().copied(), within);
                })?;
            }
        }
        Ok(all)
    }

    fn set_buckets(&mut self, step: Buckets, times: impl Iterator<Item = i64>, within: &RowSet) {
        self.starts.clear();
        self.buckets.clear();
        let mut known: HashMap<i64, u32> = HashMap::new();
        // Most records stand next to one of the same bucket.
        let (mut first, mut last) = (1, 0);
        for (row, time) in times.enumerate() {
            if (time < first || last < time) && within.contains(row) {
                let number = step.number(time);
                (first, last) = step.span(number);
                let bucket = *known.entry(number).or_insert_with(|| {
                    self.starts.push(step.name(number));
                    // At most as many as rows of a unit.
                    self.starts.len() as u32 - 1
                });
                // A unit has less than 2³² rows.
                self.buckets.push((row as u32, bucket));
            }
        }
    }

    /// The rows of a unit of so many, by bucket: those that are not asked for may be in any.
    fn runs(&self, rows: usize) -> impl Iterator<Item = (std::ops::Range<usize>, u64)> {
        let of = |at: usize| self.buckets.get(at).map(|&(start, bucket)| (start as usize, u64::from(bucket)));
        (0..self.buckets.len().max(1)).map(move |at| {
            let (start, bucket) = of(at).filter(|_| at > 0).unwrap_or((0, of(0).map_or(0, |(_, bucket)| bucket)));
            (start..of(at + 1).map_or(rows, |(next, _)| next), bucket)
        })
    }

    /// Counts all rows of a unit where one dimension at most varies, bucket by bucket.
    fn count_runs(&self, rows: usize, counts: &mut [u64]) {
        let varying = self.dimensions.first().map_or(&[][..], |dimension| dimension.rows.as_slice());
        let (size, constant) = self
            .dimensions
            .first()
            .map_or((1, 0), |dimension| (dimension.values.len() + 1, dimension.constant as usize));
        for (run, bucket) in self.runs(rows) {
            let base = usize::try_from(bucket).unwrap_or(usize::MAX).saturating_mul(size);
            let Some(counts) = counts.get_mut(base..base.saturating_add(size)) else { continue };
            match varying.get(run.clone()).filter(|_| !varying.is_empty()) {
                Some(codes) => count_codes(codes, counts),
                None => {
                    if let Some(count) = counts.get_mut(constant) {
                        *count += run.len() as u64;
                    }
                }
            }
        }
    }

    /// Counts rows, or their weights.
    pub fn count(&self, rows: &RowSet, weight: Weight, tally: &mut Tally, scratch: &mut Scratch) {
        let Scratch { key, counts, codes, weights, sums } = scratch;
        let weight_of = |row: usize| match weight {
            Weight::Rows => 1,
            Weight::LineBytes => u64::from(weights.get(row).copied().unwrap_or_default()),
        };
        // A group is one number: bucket, then the code of each dimension, in mixed radix.
        let sizes = self.dimensions.iter().map(|dimension| dimension.values.len() as u64 + 1);
        let combinations = sizes.fold(self.starts.len() as u64, u64::saturating_mul);
        let mut parts = vec![0_u64; self.dimensions.len()];
        let mut report = |combined: u64, total: u64| {
            let mut rest = combined;
            for (part, dimension) in parts.iter_mut().zip(&self.dimensions).rev() {
                let size = dimension.values.len() as u64 + 1;
                (*part, rest) = (rest % size, rest / size);
            }
            let start = usize::try_from(rest).ok().and_then(|bucket| self.starts.get(bucket)).copied();
            let values = parts.iter().zip(&self.dimensions).map(|(&part, dimension)| dimension.values.get(part));
            tally::encode(key, start.unwrap_or_default(), values);
            tally.put(key, total);
        };
        if combinations == u64::MAX {
            // More combinations than numbers: every row by itself.
            for row in rows.iter() {
                let start = self.starts.get(self.bucket(row)).copied();
                let values = self.dimensions.iter().map(|d| d.values.get(u64::from(d.code(row))));
                tally::encode(key, start.unwrap_or_default(), values);
                tally.put(key, weight_of(row));
            }
            return;
        }
        let is_small = |combinations: usize| combinations <= 4 * rows.rows() + 1024;
        if let Some(combinations) = usize::try_from(combinations).ok().filter(|&combinations| is_small(combinations))
            && weight == Weight::Rows
            && rows.is_full()
            && self.dimensions.len() <= 1
        {
            counts.clear();
            counts.resize(combinations, 0);
            self.count_runs(rows.rows(), counts);
            let counted = counts.iter().enumerate().filter(|&(_, &rows)| rows > 0);
            counted.for_each(|(code, &rows)| report(code as u64, rows));
            return;
        }
        codes.clear();
        for (run, bucket) in self.runs(rows.rows()) {
            codes.extend(std::iter::repeat_n(bucket, run.len()));
        }
        for dimension in &self.dimensions {
            let size = dimension.values.len() as u64 + 1;
            match dimension.rows.as_slice() {
                [] => codes.iter_mut().for_each(|code| *code = *code * size + u64::from(dimension.constant)),
                values => {
                    codes.iter_mut().zip(values).for_each(|(code, &value)| *code = *code * size + u64::from(value));
                }
            }
        }
        match usize::try_from(combinations) {
            Ok(combinations) if is_small(combinations) => {
                counts.clear();
                counts.resize(combinations, 0);
                let mut add = |code: u64| {
                    if let Some(count) = counts.get_mut(code as usize) {
                        *count += 1;
                    }
                };
                if rows.is_full() {
                    codes.iter().for_each(|&code| add(code));
                } else {
                    rows.iter().for_each(|row| add(codes.get(row).copied().unwrap_or_default()));
                }
                if weight != Weight::Rows {
                    sums.clear();
                    sums.resize(combinations, 0);
                    for row in rows.iter() {
                        let code = codes.get(row).copied().unwrap_or_default();
                        if let Some(sum) = sums.get_mut(code as usize) {
                            *sum += weight_of(row);
                        }
                    }
                }
                // Rows of no weight are a group too.
                let counted = counts.iter().enumerate().filter(|&(_, &rows)| rows > 0);
                counted.for_each(|(code, &rows)| match weight {
                    Weight::Rows => report(code as u64, rows),
                    Weight::LineBytes => report(code as u64, sums.get(code).copied().unwrap_or_default()),
                });
            }
            _ if weight == Weight::Rows => {
                let mut present: Vec<u64> = rows.iter().filter_map(|row| codes.get(row).copied()).collect();
                present.sort_unstable();
                present.chunk_by(|a, b| a == b).for_each(|same| {
                    if let Some(&code) = same.first() {
                        report(code, same.len() as u64);
                    }
                });
            }
            _ => {
                let codes = rows.iter().filter_map(|row| Some((codes.get(row).copied()?, weight_of(row))));
                let mut present: Vec<(u64, u64)> = codes.collect();
                present.sort_unstable_by_key(|&(code, _)| code);
                present.chunk_by(|a, b| a.0 == b.0).for_each(|same| {
                    if let Some(&(code, _)) = same.first() {
                        report(code, same.iter().map(|&(_, weight)| weight).sum());
                    }
                });
            }
        }
    }

    fn bucket(&self, row: usize) -> usize {
        let behind = self.buckets.partition_point(|&(start, _)| start as usize <= row);
        self.buckets.get(behind.saturating_sub(1)).map_or(0, |&(_, bucket)| bucket as usize)
    }
}

/// Codes below this are counted in several tables.
const FEW: usize = 16;

/// Adds to `counts`, by code, how often each code occurs. A table of few counts would wait for itself where neighbours are
/// equal, so there are four, used by turns.
fn count_codes(codes: &[u32], counts: &mut [u64]) {
    if counts.len() > FEW {
        for &code in codes {
            if let Some(count) = counts.get_mut(code as usize) {
                *count += 1;
            }
        }
        return;
    }
    let mut tables = [[0_u32; FEW]; 4];
    let (fours, rest) = codes.as_chunks::<4>();
    for four in fours {
        for (table, &code) in tables.iter_mut().zip(four) {
            table[code as usize % FEW] += 1;
        }
    }
    for &code in rest {
        tables[0][code as usize % FEW] += 1;
    }
    for (code, count) in counts.iter_mut().enumerate() {
        *count += tables.iter().filter_map(|table| table.get(code)).map(|&count| u64::from(count)).sum::<u64>();
    }
}
