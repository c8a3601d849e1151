//! Reads a segment's `.log`. Every byte that is given out was checked against its CRC32C.

use crate::column::Column;
use crate::directory::{ColumnKey, Directory, RedbPages};
use crate::error::SegmentError;
use std::sync::Arc;
use timberlog_disk::File;
use timberlog_types::Batch;

/// An open segment: its file and its directory.
pub struct SegmentReader {
    directory: Directory,
    redb_pages: Option<RedbPages>,
}

/// Something wrong in a segment.
#[derive(Debug)]
pub struct Damage {
    /// What and where.
    pub error: SegmentError,
    /// The block whose rows are lost to it, if it is one block's damage.
    pub block: Option<u32>,
}

impl SegmentReader {
    /// Opens a segment: checks trailer, footer and header.
    pub fn open(file: Arc<dyn File>) -> Result<Self, SegmentError> {
        let _ = file;
        Err(SegmentError::corrupt("not written yet"))
    }

    /// What the segment holds.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The checksums of the `.redb`'s pages, if the segment has one.
    pub fn redb_pages(&self) -> Option<&RedbPages> {
        self.redb_pages.as_ref()
    }

    /// Reads and decodes a column of a block. A field that no record of the block has gives an error:
    /// ask [`crate::BlockMeta::column`] first.
    pub fn column(&self, block: u32, key: ColumnKey) -> Result<Column, SegmentError> {
        Err(SegmentError::corrupt("not written yet").in_block(block).in_column(key))
    }

    /// The token filter of a column of a block, as it was given to the writer.
    pub fn filter(&self, block: u32, key: ColumnKey) -> Result<Option<Vec<u8>>, SegmentError> {
        Err(SegmentError::corrupt("not written yet").in_block(block).in_column(key))
    }

    /// A block's records as a batch, in the block's order: for compaction and repair.
    pub fn read_block_as_batch(&self, block: u32) -> Result<Batch, SegmentError> {
        Err(SegmentError::corrupt("not written yet").in_block(block))
    }

    /// Reads everything and reports every damage.
    pub fn verify(&self, report: &mut dyn FnMut(Damage)) {
        let _ = report;
    }

    /// Bytes of memory held, about.
    pub fn memory_bytes(&self) -> usize {
        self.directory.memory_bytes() + self.redb_pages.as_ref().map_or(0, |pages| pages.crcs.len() * 4)
    }
}
