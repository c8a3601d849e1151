//! Encodes one block: its rows from several batches, column by column.

use super::field::{self, FieldValues, Tools};
use super::gather::{Gather, LocalRow, Used};
use super::names::{UNKNOWN, learnt, not_learnt};
use super::{EncodedBlock, RowRef, Tables};
use crate::chunk::{self, Encoding};
use crate::directory::{BlockMeta, ColumnKey, ColumnMeta};
use crate::encoding::input::put_varint;
use crate::encoding::ints::{self, Shape};
use crate::encoding::{BLOCK_ROWS_MAX, codes, split};
use crate::error::SegmentError;
use crate::layout::{self, BLOCK_HEADER};
use crate::message::MessageEncoder;
use std::sync::Arc;
use timberlog_types::{Batch, TimeRange};

/// With more ranges of streams than this, a block lists a superset.
const STREAM_RANGES_MAX: usize = 1024;

/// Encodes blocks, one after the other; keeps its buffers. Several may encode blocks of one segment side by side: what
/// they make depends on the rows alone.
pub struct BlockEncoder {
    gather: Gather,
    tools: Tools,
    messages: MessageEncoder,
    /// Per batch of the slice: its place among the used ones.
    used_of: Vec<u32>,
    rows: Vec<LocalRow>,
    values: Vec<i64>,
    lens: Vec<i64>,
    codes: Vec<u32>,
    service_rows: Tally,
    level_rows: Tally,
    /// Bytes of the last block: the next one has about as many, and does not grow step by step.
    last_bytes: usize,
}

/// Counts by id.
#[derive(Default)]
struct Tally {
    counts: Vec<u32>,
    touched: Vec<u32>,
}

impl Tally {
    fn add(&mut self, id: u32, rows: u32) {
        if self.counts.len() <= id as usize {
            self.counts.resize(id as usize + 1, 0);
        }
        let count = &mut self.counts[id as usize];
        if *count == 0 {
            self.touched.push(id);
        }
        *count += rows;
    }

    /// The counts by ascending id; nothing is counted afterwards.
    fn take(&mut self) -> Vec<(u32, u32)> {
        self.touched.sort_unstable();
        self.touched.drain(..).map(|id| (id, std::mem::take(&mut self.counts[id as usize]))).collect()
    }
}

impl BlockEncoder {
    /// An encoder that compresses at a level of zstd, 1 to 22.
    pub fn new(zstd_level: i32) -> Self {
        Self {
            gather: Gather::default(),
            tools: Tools::new(zstd_level),
            messages: MessageEncoder::new(zstd_level),
            used_of: Vec::new(),
            rows: Vec::new(),
            values: Vec::new(),
            lens: Vec::new(),
            codes: Vec::new(),
            service_rows: Tally::default(),
            level_rows: Tally::default(),
            last_bytes: 0,
        }
    }

    /// Encodes the block `number` of a segment: 1 to 2²² rows in their final order, of which its writer has
    /// [learnt](super::SegmentWriter::learn).
    ///
    /// # Errors
    /// If something of it is too large, or the writer has not learnt of the rows.
    ///
    /// # Panics
    /// If a row is not in `batches`.
    pub fn encode(
        &mut self,
        tables: Tables<'_>,
        number: u32,
        batches: &[Arc<Batch>],
        rows: &[RowRef],
    ) -> Result<EncodedBlock, SegmentError> {
        let encoded = self.encode_rows(tables, number, batches, rows);
        if encoded.is_err() {
            self.forget();
        }
        encoded.map_err(|error| error.in_segment(&tables.directory.segment_id))
    }

    /// Forgets what was begun of a block.
    fn forget(&mut self) {
        self.gather = Gather::default();
        self.used_of.clear();
        (self.service_rows, self.level_rows) = (Tally::default(), Tally::default());
    }

    fn encode_rows(
        &mut self,
        tables: Tables<'_>,
        number: u32,
        batches: &[Arc<Batch>],
        rows: &[RowRef],
    ) -> Result<EncodedBlock, SegmentError> {
        if rows.is_empty() || rows.len() > BLOCK_ROWS_MAX {
            let (len, max) = (rows.len() as u64, BLOCK_ROWS_MAX as u64);
            return Err(SegmentError::TooLarge { what: "the number of rows of a block", len, max });
        }
        let used = self.localise(tables, batches, rows)?;
        let mut bytes = Vec::with_capacity(self.last_bytes + self.last_bytes / 8);
        bytes.resize(BLOCK_HEADER, 0);
        let mut block = Building { number, out: &mut bytes, columns: Vec::new(), tokens: Vec::new() };
        let range = self.timestamps(&used, &mut block)?;
        let streams = self.streams(&used, tables, &mut block)?;
        self.levels(&used, tables, &mut block)?;
        let message_bytes = self.messages(&used, &mut block)?;
        let value_bytes = self.fields(&used, tables, &mut block)?;
        let Building { columns, tokens, .. } = block;
        let len = u32::try_from(bytes.len()).map_err(|_| SegmentError::TooLarge {
            what: "the length of a block",
            len: bytes.len() as u64,
            max: u64::from(u32::MAX),
        })?;
        // At most BLOCK_ROWS_MAX, and less columns than bytes.
        layout::set_block_header(&mut bytes, number, rows.len() as u32, columns.len() as u32, len);
        self.last_bytes = bytes.len();
        let (streams, streams_exact) = ranges(streams);
        let meta = BlockMeta {
            number,
            offset: 0,
            len,
            rows: rows.len() as u32,
            raw_bytes: message_bytes + value_bytes,
            range,
            columns,
            services: self.service_rows.take(),
            levels: self.level_rows.take(),
            streams,
            streams_exact,
        };
        Ok(EncodedBlock { meta, tokens, bytes })
    }

    /// Numbers the batches that the block has rows of, and tells each row its batch's number.
    fn localise<'a>(
        &mut self,
        tables: Tables<'a>,
        batches: &'a [Arc<Batch>],
        rows: &[RowRef],
    ) -> Result<Vec<Used<'a>>, SegmentError> {
        self.used_of.resize(batches.len(), UNKNOWN);
        self.rows.clear();
        let mut used: Vec<Used<'a>> = Vec::new();
        let mut places = Vec::new();
        for row in rows {
            let place = &mut self.used_of[row.batch as usize];
            if *place == UNKNOWN {
                let batch = &batches[row.batch as usize];
                // No more than there are rows.
                *place = used.len() as u32;
                let resolved = tables.names.resolved(row.batch as usize, batch);
                let resolved = resolved.ok_or_else(not_learnt)?;
                used.push(Used { batch, resolved, rows: 0 });
                places.push(row.batch);
            }
            used[*place as usize].rows += 1;
            self.rows.push(LocalRow { used: *place, row: row.row });
        }
        places.iter().for_each(|&batch| self.used_of[batch as usize] = UNKNOWN);
        Ok(used)
    }

    fn timestamps(&mut self, used: &[Used<'_>], block: &mut Building<'_>) -> Result<TimeRange, SegmentError> {
        self.values.clear();
        self.values.extend(self.rows.iter().map(|row| used[row.used as usize].batch.timestamp(row.row as usize)));
        let range = TimeRange {
            start: self.values.iter().copied().min().unwrap_or_default(),
            end: self.values.iter().copied().max().unwrap_or_default(),
        };
        block.chunk(ColumnKey::Timestamp, |out| {
            let Tools { compressor, ints, codes, split, .. } = &mut self.tools;
            let start = out.len();
            ints::encode(&self.values, Shape::Sorted, ints, out);
            let plain = out.len();
            if !split::encode(&self.values, plain - start, split::Tools { compressor, ints, codes }, split, out) {
                return Encoding::Timestamps;
            }
            out.drain(start..plain);
            Encoding::TimestampsSplit
        })?;
        Ok(range)
    }

    /// Writes the runs of streams; returns the stream of each run.
    fn streams(
        &mut self,
        used: &[Used<'_>],
        Tables { names, directory }: Tables<'_>,
        block: &mut Building<'_>,
    ) -> Result<Vec<u32>, SegmentError> {
        self.values.clear();
        self.lens.clear();
        let mut last = UNKNOWN;
        let mut ids = Vec::new();
        for row in &self.rows {
            let Used { batch, resolved, .. } = &used[row.used as usize];
            let stream = batch.stream_id(row.row as usize);
            let id = learnt(names.ids[resolved.streams + stream])?;
            if id != last {
                self.values.push(i64::from(id));
                self.lens.push(0);
                ids.push(id);
                last = id;
            }
            if let Some(len) = self.lens.last_mut() {
                *len += 1;
            }
        }
        for (&id, &len) in ids.iter().zip(&self.lens) {
            let service = directory.streams.service(id).unwrap_or_default();
            // At most the rows of the block.
            self.service_rows.add(service, len as u32);
        }
        block.chunk(ColumnKey::Stream, |out| {
            put_varint(out, self.values.len() as u64);
            ints::encode(&self.values, Shape::Any, &mut self.tools.ints, out);
            ints::encode(&self.lens, Shape::Any, &mut self.tools.ints, out);
            Encoding::Streams
        })?;
        Ok(ids)
    }

    fn levels(
        &mut self,
        used: &[Used<'_>],
        Tables { names, .. }: Tables<'_>,
        block: &mut Building<'_>,
    ) -> Result<(), SegmentError> {
        self.codes.clear();
        for row in &self.rows {
            let Used { batch, resolved, .. } = &used[row.used as usize];
            let level = batch.level_id(row.row as usize);
            let id = learnt(names.ids[resolved.levels + level])?;
            self.level_rows.add(id, 1);
            self.codes.push(id);
        }
        // From the segment's ids to the block's, which are their order.
        self.level_rows.touched.sort_unstable();
        let spellings = &self.level_rows.touched;
        self.values.clear();
        self.values.extend(spellings.iter().map(|&id| i64::from(id)));
        let mut code_of = vec![0; spellings.last().map_or(0, |&last| last as usize + 1)];
        spellings.iter().enumerate().for_each(|(code, &id)| code_of[id as usize] = code as u32);
        self.codes.iter_mut().for_each(|code| *code = code_of[*code as usize]);
        let Tools { compressor, ints, codes: scratch, .. } = &mut self.tools;
        block.chunk(ColumnKey::Level, |out| {
            put_varint(out, self.values.len() as u64);
            ints::encode(&self.values, Shape::Any, ints, out);
            codes::encode(&self.codes, self.values.len(), compressor, ints, scratch, out);
            Encoding::Levels
        })
    }

    /// Writes the messages; returns how many bytes they have.
    fn messages(&mut self, used: &[Used<'_>], block: &mut Building<'_>) -> Result<u64, SegmentError> {
        let messages = self.rows.iter().map(|row| used[row.used as usize].batch.message(row.row as usize));
        let bytes = messages.clone().map(|message| message.len() as u64).sum();
        if bytes > crate::encoding::TEXT_BYTES_MAX as u64 {
            let max = crate::encoding::TEXT_BYTES_MAX as u64;
            return Err(SegmentError::TooLarge { what: "the length of a block's messages", len: bytes, max });
        }
        let mut tokens = Vec::new();
        block.chunk(ColumnKey::Message, |out| {
            self.messages.encode(messages, out, &mut tokens);
            Encoding::Messages
        })?;
        if !tokens.is_empty() {
            block.tokens.push((ColumnKey::Message, tokens));
        }
        Ok(bytes)
    }

    /// Writes the fields; returns how many bytes their values have.
    fn fields(
        &mut self,
        used: &[Used<'_>],
        Tables { names, .. }: Tables<'_>,
        block: &mut Building<'_>,
    ) -> Result<u64, SegmentError> {
        let mut total = 0;
        let Self { gather, tools, rows: local, .. } = self;
        let count = local.len();
        gather.fields(used, local, &names.ids, |id, rows, values| {
            let bytes: usize = values.iter().map(|value| value.text.len()).sum();
            if bytes > crate::encoding::TEXT_BYTES_MAX {
                let (len, max) = (bytes as u64, crate::encoding::TEXT_BYTES_MAX as u64);
                return Err(SegmentError::TooLarge { what: "the length of a field's values in a block", len, max });
            }
            total += bytes as u64;
            let key = ColumnKey::Field(id);
            let mut tokens = None;
            block.chunk(key, |out| {
                let (encoding, found) = field::encode(&FieldValues { rows, values, count }, tools, out);
                tokens = found;
                encoding
            })?;
            block.tokens.extend(tokens.map(|tokens| (key, tokens)));
            Ok(())
        })?;
        Ok(total)
    }
}

/// A block under construction.
struct Building<'o> {
    number: u32,
    out: &'o mut Vec<u8>,
    columns: Vec<ColumnMeta>,
    tokens: Vec<(ColumnKey, Vec<u64>)>,
}

impl Building<'_> {
    fn chunk(&mut self, key: ColumnKey, encode: impl FnOnce(&mut Vec<u8>) -> Encoding) -> Result<(), SegmentError> {
        let start = self.out.len();
        chunk::write(self.number, key, self.out, encode)?;
        // A block that is longer than 32 bits tell is refused at its end.
        let (offset, len) = (start as u32, (self.out.len() - start) as u32);
        self.columns.push(ColumnMeta { key, offset, len, filter: None });
        Ok(())
    }
}

/// The ids as ascending ranges, and whether these hold no other id.
fn ranges(mut ids: Vec<u32>) -> (Vec<(u32, u32)>, bool) {
    ids.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for id in ids {
        match ranges.last_mut() {
            Some((_, last)) if id <= last.saturating_add(1) => *last = id,
            _ => ranges.push((id, id)),
        }
    }
    if ranges.len() <= STREAM_RANGES_MAX {
        return (ranges, true);
    }
    let step = ranges.len().div_ceil(STREAM_RANGES_MAX);
    let wide = ranges.chunks(step).map(|part| (part[0].0, part[part.len() - 1].1)).collect();
    (wide, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_ranges_become_a_superset() {
        assert_eq!(ranges(vec![5, 3, 4, 9, 9]), (vec![(3, 5), (9, 9)], true));
        let (wide, is_exact) = ranges((0..5000).map(|n| n * 2).collect());
        assert!(!is_exact && wide.len() <= STREAM_RANGES_MAX);
        assert!((0..5000).map(|n| n * 2).all(|id| wide.iter().any(|&(first, last)| first <= id && id <= last)));
    }
}
