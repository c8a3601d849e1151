//! Compaction: small segments of a partition become larger ones.
//!
//!     manifest state → plan → inputs → k-way merge → blocks, token filters, B+trees → edit → commit
//!
//! A job merges neighbours in sequence of one partition into one segment with the same records in
//! the same total order; a purge writes segments anew without their deleted rows. Nothing here decides
//! what exists: the engine commits the edit, and until then the inputs are what there is. A merge never
//! drops a record, a purge only those that are hidden: input that cannot be read whole stays as it is.

pub(crate) mod execute;
pub(crate) mod inputs;
mod merge;
pub(crate) mod plan;
pub(crate) mod purge;
pub(crate) mod reindex;
mod run;
mod slices;
#[cfg(test)]
mod tests;

use serde::Serialize;
use std::time::Duration;

/// Settings of compaction.
#[derive(Clone, Debug)]
pub struct CompactionOptions {
    /// Whether a thread compacts by itself. [`crate::Storage::compact`] works either way.
    pub enabled: bool,
    /// Raw bytes of text that a merged segment has at most. One with half of it is *full*, and is
    /// not merged any more. Bounds the memory for token filters and user-defined indexes too.
    pub segment_raw_bytes_max: u64,
    /// Segments of a size class that are merged into one, from 2 to 64; also the ratio between
    /// size classes. Larger: fewer times each record is written, and more small segments.
    pub fan_in: usize,
    /// A partition whose day is over, and that got no segment for `sealed_quiet`, is merged until it
    /// has no more segments than this, full ones apart.
    pub sealed_segments_max: usize,
    /// See [`CompactionOptions::sealed_segments_max`].
    pub sealed_quiet: Duration,
    /// Bytes a second that compaction may read and write together; 0: no limit.
    pub bytes_per_second: u64,
    /// The zstd level of segments that are full, or of a sealed day: they are read for years.
    pub zstd_level: i32,
}

impl Default for CompactionOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            segment_raw_bytes_max: 512 << 20,
            fan_in: 32,
            sealed_segments_max: 2,
            sealed_quiet: Duration::from_secs(3600),
            bytes_per_second: 32 << 20,
            zstd_level: 6,
        }
    }
}

/// What a job did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were merged, or looked through for what is deleted.
    pub segments: u64,
    /// Their records, all of which but those removed are in the new segments.
    pub records: u64,
    /// Records that were deleted or expired, and are gone.
    pub rows_removed: u64,
    /// Bytes of their files.
    pub bytes_read: u64,
    /// Bytes of the new segment's files.
    pub bytes_written: u64,
    /// Bytes of decoded blocks that the job held at one time, at most.
    pub memory_bytes_peak: u64,
    /// Bytes of the largest decoded block.
    pub block_memory_bytes_max: u64,
    /// Blocks that it had open at one time, at most: one for each sorted run of rows.
    pub runs_max: u64,
}

/// What compaction counts of itself, since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CompactionStats {
    /// Whether a thread compacts by itself.
    pub enabled: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// Jobs that were committed.
    pub jobs: u64,
    /// Jobs that were abandoned because of an error; nothing is lost by that.
    pub jobs_failed: u64,
    /// Segments that committed jobs have merged.
    pub segments_merged: u64,
    /// Records of these segments.
    pub records: u64,
    /// Records that were deleted or expired, and are gone.
    pub rows_removed: u64,
    /// Bytes of the files that committed jobs have read.
    pub bytes_read: u64,
    /// Bytes of the files that committed jobs have written.
    pub bytes_written: u64,
    /// Bytes of segments that flushes have written.
    pub bytes_flushed: u64,
    /// Bytes that flushes and compaction have written, for each byte that flushes have written.
    pub write_amplification: f64,
    /// Nanoseconds that committed jobs took, waiting included.
    pub jobs_ns: u64,
    /// Segments that are to be merged, as of the last look at the manifest.
    pub segments_waiting: u64,
    /// Segments that are left alone because they are damaged.
    pub segments_left_alone: u64,
    /// Why the last job failed, if none has succeeded since.
    pub last_error: Option<String>,
}
