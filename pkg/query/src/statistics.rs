//! What a query looked at: every answer carries it.

use serde::Serialize;

/// What a query looked at and what it could leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// Partitions in the snapshot.
    pub partitions: u64,
    /// Partitions in which some segment was left to look at.
    pub partitions_read: u64,
    /// Segments in the snapshot.
    pub segments: u64,
    /// Segments ruled out by their manifest entry.
    pub segments_pruned: u64,
    /// Segments of which columns were read.
    pub segments_read: u64,
    /// Blocks of the segments that were not ruled out.
    pub blocks: u64,
    /// Blocks ruled out by indexes, the block directory and token filters.
    pub blocks_pruned: u64,
    /// Blocks answered from counts in the block directory, without reading a column.
    pub blocks_from_counts: u64,
    /// Blocks of which columns were read.
    pub blocks_read: u64,
    /// Blocks that are damaged and were left out.
    pub blocks_missing: u64,
    /// Batches of the memory buffer that were looked at.
    pub batches_read: u64,
    /// Records in the blocks and batches that were read.
    pub rows_scanned: u64,
    /// Records of these that the filter let through.
    pub rows_matched: u64,
    /// Records that the filter let through and a delete or retention hides; those of segments and
    /// blocks that are hidden whole, and so left out unread, are not among them.
    pub rows_hidden: u64,
    /// Bytes of the columns and token filters that were looked at, as they are in memory.
    pub bytes_read: u64,
    /// Requests to the object store that read something.
    pub object_gets: u64,
    /// Bytes that they asked for.
    pub object_bytes: u64,
    /// From start to end, in ns.
    pub elapsed_ns: u64,
}

impl Statistics {
    /// Adds what another part of the same query looked at.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.partitions, other.partitions),
            (&mut self.partitions_read, other.partitions_read),
            (&mut self.segments, other.segments),
            (&mut self.segments_pruned, other.segments_pruned),
            (&mut self.segments_read, other.segments_read),
            (&mut self.blocks, other.blocks),
            (&mut self.blocks_pruned, other.blocks_pruned),
            (&mut self.blocks_from_counts, other.blocks_from_counts),
            (&mut self.blocks_read, other.blocks_read),
            (&mut self.blocks_missing, other.blocks_missing),
            (&mut self.batches_read, other.batches_read),
            (&mut self.rows_scanned, other.rows_scanned),
            (&mut self.rows_matched, other.rows_matched),
            (&mut self.rows_hidden, other.rows_hidden),
            (&mut self.bytes_read, other.bytes_read),
            (&mut self.object_gets, other.object_gets),
            (&mut self.object_bytes, other.object_bytes),
            (&mut self.elapsed_ns, other.elapsed_ns),
        ];
        pairs.into_iter().for_each(|(mine, theirs)| *mine = mine.saturating_add(theirs));
    }
}
