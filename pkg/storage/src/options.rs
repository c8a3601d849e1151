//! Settings of a storage: every limit on memory, files and time, with its default and why.

use crate::archive::ArchiveOptions;
use crate::compaction::CompactionOptions;
use crate::deletes::Selectors;
use crate::retention::RetentionRule;
use crate::tier::TierOptions;
use crate::wal::{Threading, WalOptions};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

/// More threads than this do not help one flush: what comes over one disk and one WAL keeps fewer busy.
const FLUSH_THREADS_MAX: usize = 4;

/// When a batch counts as acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After its fsync. Nothing acknowledged is ever lost.
    Fsync,
    /// After its write; an fsync follows at least this often. A power loss costs at most that.
    Async {
        /// The longest time between a write and its fsync.
        interval: Duration,
    },
}

/// Settings of a storage.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; created if missing.
    pub data_dir: PathBuf,
    /// When a batch counts as acknowledged.
    pub durability: Durability,
    /// Bytes of a preallocated WAL file.
    pub wal_file_bytes: u64,
    /// Bytes that may wait for the WAL writer before appends are refused.
    pub wal_queue_bytes_max: usize,
    /// The buffer is flushed when it holds this many bytes. Large: fewer and better compressed
    /// segments; the WAL makes it safe.
    pub flush_bytes: usize,
    /// The buffer is flushed when its oldest record has been in it for this long.
    pub flush_age: Duration,
    /// Bytes of buffer and flushes under way together; beyond, appends wait and are then refused.
    pub buffer_bytes_max: usize,
    /// Appends that may wait for room in the buffer before others are refused at once.
    pub waiting_max: usize,
    /// Bytes of the appends that may wait so. One longer append may wait alone.
    pub waiting_bytes_max: usize,
    /// How long an append waits for room in the buffer before it is refused.
    pub wait_max: Duration,
    /// Active streams of one tenant; records of further ones are refused.
    pub streams_max: usize,
    /// Distinct partitions (tenant and day) in one flush.
    pub partitions_per_flush_max: usize,
    /// Raw bytes of a block.
    pub block_bytes: usize,
    /// The zstd level of freshly flushed blocks.
    pub zstd_level: i32,
    /// Threads that encode the blocks of a flush, the flusher among them.
    pub flush_threads: usize,
    /// Fields with an index of their own (`--index`).
    pub user_indexes: Vec<String>,
    /// Bytes of decoded columns and token filters kept in memory.
    pub cache_bytes: u64,
    /// Roots kept behind the current one.
    pub manifest_history: usize,
    /// Free bytes on the disk below which appends are refused.
    pub disk_free_bytes_min: u64,
    /// How small segments become larger ones.
    pub compaction: CompactionOptions,
    /// What the selectors of deletes and of retention mean. By default every selector is refused.
    pub selectors: Selectors,
    /// How long a delete waits, from its answer on, before its records are removed from the files:
    /// until then it can be cancelled. They are hidden at once either way.
    pub delete_cancel_period: Duration,
    /// How old records may become; without rules for ever.
    pub retention: Vec<RetentionRule>,
    /// Bytes of the files of all segments beyond which the oldest days go, whatever their tenant.
    pub retention_bytes: Option<u64>,
    /// Where old segments go; `None`: they stay in the data directory.
    pub tier: Option<TierOptions>,
    /// Where the WAL is archived, for restores to any second; nowhere without it.
    pub archive: Option<ArchiveOptions>,
    /// Whether flushes and compaction run on threads of their own; without them, only [`crate::Storage::flush`]
    /// and a full buffer flush. For simulations.
    pub background: bool,
}

impl Options {
    /// The defaults for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            durability: Durability::Fsync,
            wal_file_bytes: 64 << 20,
            wal_queue_bytes_max: 32 << 20,
            flush_bytes: 32 << 20,
            flush_age: Duration::from_secs(300),
            // One generation is written, one fills, and there is room for the second or so that a disk may stand still.
            buffer_bytes_max: 256 << 20,
            waiting_max: 256,
            waiting_bytes_max: 32 << 20,
            wait_max: Duration::from_secs(5),
            streams_max: 100_000,
            partitions_per_flush_max: 64,
            block_bytes: 640 << 10,
            zstd_level: 1,
            flush_threads: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(FLUSH_THREADS_MAX)),
            user_indexes: Vec::new(),
            cache_bytes: 48 << 20,
            manifest_history: 10,
            disk_free_bytes_min: 64 << 20,
            compaction: CompactionOptions::default(),
            selectors: Selectors::default(),
            delete_cancel_period: Duration::ZERO,
            retention: Vec::new(),
            retention_bytes: None,
            tier: None,
            archive: None,
            background: true,
        }
    }

    /// The same, with each index once: an index that is built twice is none, and a flush that cannot build one fails.
    pub(crate) fn normalised(mut self) -> Self {
        let mut seen = HashSet::new();
        self.user_indexes.retain(|name| seen.insert(name.clone()));
        self
    }

    /// The settings of the WAL.
    pub(crate) fn wal(&self, database_id: String) -> WalOptions {
        WalOptions {
            durability: self.durability,
            file_bytes: self.wal_file_bytes,
            queue_bytes_max: self.wal_queue_bytes_max,
            threading: if self.background { Threading::Own } else { Threading::Stepped },
            ..WalOptions::new(self.data_dir.join("wal"), database_id)
        }
    }
}
