//! Writes a segment's `.log` once, front to back: header, blocks, token filters, footer.

use crate::directory::{BlockMeta, ColumnKey, Directory, RedbPages};
use crate::error::SegmentError;
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

/// Writes a segment's `.log`.
pub struct SegmentWriter {
    directory: Directory,
}

impl SegmentWriter {
    /// Starts a file, which must be empty, with its header.
    pub fn new(file: Arc<dyn File>, options: WriterOptions) -> Result<Self, SegmentError> {
        let _ = (file, options);
        Err(SegmentError::corrupt("not written yet"))
    }

    /// Writes a block of rows, which are in their final order.
    ///
    /// # Panics
    /// If a row is not in `batches`.
    pub fn write_block(&mut self, batches: &[Arc<Batch>], rows: &[RowRef]) -> Result<WrittenBlock, SegmentError> {
        let _ = (batches, rows);
        Err(SegmentError::corrupt("not written yet"))
    }

    /// Takes the token filter of a block's column; it is written behind the blocks. Takes no
    /// filter of a column that the block has not.
    pub fn add_filter(&mut self, block: u32, column: ColumnKey, filter: &[u8]) {
        let _ = (block, column, filter);
    }

    /// What the segment holds so far.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Writes the token filters and the footer. The caller syncs the file.
    pub fn finish(self, redb: Option<RedbPages>) -> Result<Finished, SegmentError> {
        let _ = redb;
        Err(SegmentError::corrupt("not written yet"))
    }
}
