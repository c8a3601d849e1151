//! What tiering says of itself.

use serde::Serialize;

/// How tiering is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TierPhase {
    /// The bucket was not asked yet.
    #[default]
    Starting,
    /// The bucket is this node's to write.
    Writing,
    /// The store does not answer, or something else went wrong that may pass.
    Failing,
    /// The bucket belongs to somebody else.
    Refused,
    /// Another writer has taken the bucket over: this one writes no more before a restart.
    Stale,
    /// This node follows a bucket and writes nothing.
    Following,
}

/// Figures of tiering. Counters count since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TierStats {
    /// Whether there is an object store.
    pub enabled: bool,
    /// How it is.
    pub phase: TierPhase,
    /// This writer's epoch.
    pub epoch: u64,
    /// The bucket's root.
    pub version: u64,
    /// Segments in the store.
    pub segments_stored: u64,
    /// Bytes of them there.
    pub bytes_stored: u64,
    /// Segments that were uploaded.
    pub segments_uploaded: u64,
    /// Bytes that were sent.
    pub bytes_uploaded: u64,
    /// Segments that are due.
    pub segments_waiting: u64,
    /// Bytes of them.
    pub bytes_waiting: u64,
    /// Roots of the bucket that were committed.
    pub commits: u64,
    /// Passes that failed, and are tried again.
    pub failures: u64,
    /// Objects that nothing named any more and that were removed.
    pub objects_collected: u64,
    /// Their bytes.
    pub bytes_collected: u64,
    /// Bytes of cold segments' indexes that are kept on disk.
    pub cache_index_bytes: u64,
    /// Bytes of their data that are kept on disk.
    pub cache_data_bytes: u64,
    /// Bytes of their data that are kept in memory as well.
    pub cache_memory_bytes: u64,
    /// Why the last pass failed, if none has succeeded since.
    pub last_error: Option<String>,
}

impl TierStats {
    /// Whether the last pass went well.
    pub fn is_up(&self) -> bool {
        matches!(self.phase, TierPhase::Writing | TierPhase::Following)
    }
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiered {
    /// Segments that were uploaded.
    pub segments_uploaded: u64,
    /// Bytes that were sent.
    pub bytes_uploaded: u64,
    /// Segments whose local files may go.
    pub segments_cold: u64,
    /// Roots of the bucket that were committed.
    pub commits: u64,
    /// Objects that were removed.
    pub objects_collected: u64,
}
