//! What the engine counts of itself.

use crate::archive::ArchiveStats;
use crate::compaction::CompactionStats;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far a start is: read by another thread while [`crate::Storage::open`] runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of WAL replayed.
    pub done_bytes: AtomicU64,
    /// Bytes of WAL to replay; 0 until known.
    pub total_bytes: AtomicU64,
}

impl Progress {
    /// Bytes done and bytes in all.
    pub fn get(&self) -> (u64, u64) {
        (self.done_bytes.load(Ordering::Relaxed), self.total_bytes.load(Ordering::Relaxed))
    }
}

/// What the engine knows of itself. Counters count since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// Records acknowledged since the start.
    pub records_appended: u64,
    /// Batches acknowledged since the start.
    pub batches_appended: u64,
    /// Bytes of these batches in the WAL.
    pub bytes_appended: u64,
    /// Records of batches that were refused for want of room.
    pub records_refused: u64,
    /// Batches that a producer sent again and that were answered from memory.
    pub duplicates: u64,
    /// Records in the buffer.
    pub buffer_records: u64,
    /// Bytes of the buffer, flushes under way included.
    pub buffer_bytes: u64,
    /// Appends that wait for room.
    pub appends_waiting: u64,
    /// Flushes since the start.
    pub flushes: u64,
    /// Flushes that failed since the start, and are tried again.
    pub flushes_failed: u64,
    /// The reason of the last failed flush, if none has succeeded since.
    pub flush_error: Option<String>,
    /// Nanoseconds that flushes took since the start.
    pub flush_ns: u64,
    /// Segments.
    pub segments: u64,
    /// Those of them that are on the disk; the others are in the object store alone.
    pub segments_local: u64,
    /// Partitions.
    pub partitions: u64,
    /// Records in segments.
    pub segment_records: u64,
    /// Bytes of segments on disk, indexes included.
    pub segment_bytes: u64,
    /// Bytes of text in segments before compression.
    pub segment_raw_bytes: u64,
    /// The oldest timestamp in ns; `None` if there is no record.
    pub timestamp_min: Option<i64>,
    /// The newest timestamp in ns.
    pub timestamp_max: Option<i64>,
    /// Tenants that have records.
    pub tenants: u64,
    /// The newest root of the manifest.
    pub manifest_version: u64,
    /// Every batch up to this number is in segments.
    pub flushed_seq: u64,
    /// Every batch up to this number is visible to queries.
    pub visible_seq: u64,
    /// Every batch up to this number is on disk.
    pub synced_seq: u64,
    /// Bytes of the chunk cache.
    pub cache_bytes: u64,
    /// Parts found in the chunk cache since the start.
    pub cache_hits: u64,
    /// Parts not found in the chunk cache since the start.
    pub cache_misses: u64,
    /// What the archive of the WAL has done, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveStats>,
    /// What compaction has done.
    pub compaction: CompactionStats,
    /// What tiering says of itself.
    pub tier: crate::tier::TierStats,
    /// Damage that the start found, or a query or a compaction met, for people; at most 100 messages.
    pub damage: Vec<String>,
}
