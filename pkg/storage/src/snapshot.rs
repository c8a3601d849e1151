//! A snapshot: what one query sees, whatever is flushed and committed meanwhile.

use crate::hidden::Hidden;
use crate::manifest::State;
use crate::segments::Segments;
use std::sync::Arc;
use timberlog_types::{Batch, Seq, TimeRange};

/// A batch in the memory buffer. Small batches that arrived one after the other are merged, so
/// it may stand for several sequence numbers.
#[derive(Debug)]
pub struct BufferedBatch {
    /// The first sequence number in it.
    pub seq_min: Seq,
    /// The last sequence number in it.
    pub seq_max: Seq,
    /// From the oldest to the newest timestamp.
    pub range: TimeRange,
    /// The records.
    pub batch: Arc<Batch>,
}

/// The records of one tenant at one instant: every acknowledged one, each once, and what of them is
/// hidden.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// What is not in a segment yet, in order of sequence.
    pub batches: Vec<Arc<BufferedBatch>>,
    /// The segments, by partition.
    pub segments: Arc<Segments>,
    /// Parts of the manifest that are damaged: answers say that these are missing.
    pub unreachable: Vec<String>,
    /// Which of these records are deleted or expired: no answer may show or count them.
    pub hidden: Arc<Hidden>,
    /// Pins the files of the segments: they stay while someone holds it.
    pub(crate) _state: Option<Arc<State>>,
}
