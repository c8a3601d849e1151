//! Writes a segment's `.log` once, front to back: header, blocks, token filters, footer.

mod block;
mod distinct;
mod field;
mod gather;
mod names;

use crate::directory::{BlockMeta, ColumnKey, Directory, FilterPlace, RedbPages, codec};
use crate::encoding::Compressor;
use crate::error::SegmentError;
use crate::layout::{self, FILTER_BYTES_MAX, FILTER_HEADER, Identity, Section, Trailer};
pub use block::BlockEncoder;
use names::Names;
use std::sync::Arc;
use timberlog_disk::File;
use timberlog_types::{Batch, Tenant};

/// A row of one of several batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRef {
    /// The place of the batch in the slice of batches.
    pub batch: u32,
    /// The row in that batch.
    pub row: u32,
}

/// How a segment is written.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The segment's id.
    pub segment_id: String,
    /// The tenant whose records these are.
    pub tenant: Tenant,
    /// The level of zstd, 1 to 22.
    pub zstd_level: i32,
}

/// A block that was written.
#[derive(Clone, Debug)]
pub struct WrittenBlock {
    /// Its metadata, as [`Directory::blocks`] has it.
    pub meta: BlockMeta,
    /// For each column that wants a token filter, the hashes to put in; repeats are possible.
    /// For messages: [`crate::message::token_hashes`] of the variables; for a field: XXH3-64 of
    /// each whole value, whatever its kind (the missing value is not among them).
    pub tokens: Vec<(ColumnKey, Vec<u64>)>,
}

/// A block that is encoded and not written yet.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedBlock {
    /// Its metadata, but for its place in the file.
    meta: BlockMeta,
    /// As [`WrittenBlock::tokens`].
    pub tokens: Vec<(ColumnKey, Vec<u64>)>,
    bytes: Vec<u8>,
}

/// What a [`BlockEncoder`] must know of the segment.
#[derive(Clone, Copy)]
pub struct Tables<'w> {
    names: &'w Names,
    directory: &'w Directory,
}

/// A segment that was written whole.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The bytes of the file.
    pub len: u64,
    /// The CRC32C of the file.
    pub crc32c: u32,
    /// What it holds.
    pub directory: Directory,
}

/// The file goes to the device in steps of so many bytes, so that the fsync at its end finds little to do.
const WRITTEN_SOON_BYTES: u64 = 1 << 20;
/// Filters are written out when so many bytes have gathered.
const WRITE_BYTES: usize = 1 << 20;
/// The footer is small and read often: worth more than level 1.
const FOOTER_ZSTD_LEVEL_MIN: i32 = 3;

/// Writes a segment's `.log`. A writer that gave an error once must not be finished.
pub struct SegmentWriter {
    file: Arc<dyn File>,
    directory: Directory,
    names: Names,
    filters: Vec<PendingFilter>,
    zstd_level: i32,
    /// What is to be written next.
    buffer: Vec<u8>,
    /// What was written, buffer not included.
    len: u64,
    crc32c: u32,
}

/// A token filter that is not written yet.
struct PendingFilter {
    block: u32,
    column: usize,
    filter: Vec<u8>,
}

impl SegmentWriter {
    /// Starts a file, which must be empty, with its header.
    pub fn new(file: Arc<dyn File>, options: WriterOptions) -> Result<Self, SegmentError> {
        let WriterOptions { segment_id, tenant, zstd_level } = options;
        let identity = Identity { segment_id, tenant: tenant.as_str().to_owned() };
        let mut buffer = Vec::new();
        layout::put_header(&identity, &mut buffer)?;
        let Identity { segment_id, tenant } = identity;
        let mut writer = Self {
            file,
            directory: Directory { segment_id, tenant, ..Directory::default() },
            names: Names::default(),
            filters: Vec::new(),
            zstd_level,
            buffer,
            len: 0,
            crc32c: 0,
        };
        writer.write_buffer()?;
        Ok(writer)
    }

    /// Learns of rows, whose blocks can be encoded then: their streams, levels and fields get their ids in the order of
    /// the rows.
    ///
    /// # Errors
    /// If the segment has more of one of them than a segment may.
    ///
    /// # Panics
    /// If a row is not in `batches`.
    pub fn learn(&mut self, batches: &[Arc<Batch>], rows: &[RowRef]) -> Result<(), SegmentError> {
        let learnt = self.names.learn(batches, rows, &mut self.directory);
        learnt.map_err(|error| error.in_segment(&self.directory.segment_id))
    }

    /// What was learnt so far.
    pub fn tables(&self) -> Tables<'_> {
        Tables { names: &self.names, directory: &self.directory }
    }

    /// The number of the next block.
    pub fn next_block(&self) -> u32 {
        u32::try_from(self.directory.blocks.len()).unwrap_or(u32::MAX)
    }

    /// Writes an encoded block, the next in order.
    ///
    /// # Errors
    /// If it is not the next one, or cannot be written.
    pub fn append(&mut self, block: EncodedBlock) -> Result<WrittenBlock, SegmentError> {
        let EncodedBlock { mut meta, tokens, bytes } = block;
        if meta.number != self.next_block() {
            return Err(
                SegmentError::corrupt("a block that is not the next one").in_segment(&self.directory.segment_id)
            );
        }
        meta.offset = self.len;
        self.buffer = bytes;
        self.write_buffer()?;
        self.directory.blocks.push(meta.clone());
        Ok(WrittenBlock { meta, tokens })
    }

    /// Learns of the rows of a block, encodes and writes it.
    ///
    /// # Errors
    /// As [`Self::learn`], [`BlockEncoder::encode`] and [`Self::append`].
    ///
    /// # Panics
    /// If a row is not in `batches`.
    pub fn write_block(
        &mut self,
        encoder: &mut BlockEncoder,
        batches: &[Arc<Batch>],
        rows: &[RowRef],
    ) -> Result<WrittenBlock, SegmentError> {
        self.learn(batches, rows)?;
        let block = encoder.encode(self.tables(), self.next_block(), batches, rows)?;
        self.append(block)
    }

    /// Takes the token filter of a block's column; it is written behind the blocks. A filter of a
    /// column that the block has not, or of more than 256 MiB, is not kept: filters only save work.
    pub fn add_filter(&mut self, block: u32, column: ColumnKey, filter: Vec<u8>) {
        let Some(meta) = self.directory.blocks.get(block as usize) else { return };
        if let Ok(column) = meta.columns.binary_search_by_key(&column, |column| column.key)
            && filter.len() <= FILTER_BYTES_MAX
        {
            self.filters.push(PendingFilter { block, column, filter });
        }
    }

    /// What the segment holds so far. Filters are located by [`SegmentWriter::finish`] or
    /// [`SegmentWriter::write_filters`].
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Writes the token filters taken so far, so that the directory locates them. No block can
    /// be written afterwards without leaving the filters between blocks, which readers allow.
    pub fn write_filters(&mut self) -> Result<(), SegmentError> {
        for PendingFilter { block, column, filter } in std::mem::take(&mut self.filters) {
            let column = &mut self.directory.blocks[block as usize].columns[column];
            let offset = self.len + self.buffer.len() as u64;
            // At most FILTER_BYTES_MAX and the header.
            column.filter = Some(FilterPlace { offset, len: (FILTER_HEADER + filter.len()) as u32 });
            layout::put_filter(block, column.key, &filter, &mut self.buffer);
            if self.buffer.len() >= WRITE_BYTES {
                self.write_buffer()?;
            }
        }
        self.write_buffer()
    }

    /// Writes the token filters and the footer. The caller syncs the file.
    pub fn finish(mut self, redb: Option<RedbPages>) -> Result<Finished, SegmentError> {
        self.write_filters()?;
        let mut compressor = Compressor::new(self.zstd_level.max(FOOTER_ZSTD_LEVEL_MIN));
        let mut content = Vec::new();
        codec::encode(&self.directory, &mut content);
        layout::put_section(Section::Directory, &content, &mut compressor, &mut self.buffer)?;
        content.clear();
        codec::encode_streams(&self.directory.streams, &mut content);
        layout::put_section(Section::Streams, &content, &mut compressor, &mut self.buffer)?;
        if let Some(pages) = redb {
            content.clear();
            codec::encode_pages(&pages, &mut content);
            layout::put_section(Section::RedbPages, &content, &mut compressor, &mut self.buffer)?;
        }
        let trailer = Trailer {
            footer_offset: self.len,
            footer_len: self.buffer.len() as u64,
            footer_crc: crc32c::crc32c(&self.buffer),
        };
        layout::put_trailer(trailer, &mut self.buffer)?;
        self.write_buffer()?;
        Ok(Finished { len: self.len, crc32c: self.crc32c, directory: self.directory })
    }

    fn write_buffer(&mut self) -> Result<(), SegmentError> {
        self.file
            .write_all_at(&self.buffer, self.len)
            .map_err(|error| SegmentError::io("write", error).in_segment(&self.directory.segment_id))?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &self.buffer);
        let before = self.len - self.len % WRITTEN_SOON_BYTES;
        self.len += self.buffer.len() as u64;
        let whole = self.len - self.len % WRITTEN_SOON_BYTES;
        if whole > before {
            self.file.write_soon(before..whole);
        }
        self.buffer.clear();
        Ok(())
    }
}
