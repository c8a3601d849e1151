//! What is deleted or expired and still in a file or in the buffer: who reads leaves it out.
//!
//! A [`Hidden`] belongs to one snapshot and tenant. It decides by sequence numbers which segments and
//! batches a [`Hide`] is about; which of their rows match is for the reader to evaluate. It never
//! reads a file.

use crate::manifest::SegmentEntry;
use crate::snapshot::BufferedBatch;
use std::sync::Arc;
use timberlog_filter::Compiled;
use timberlog_types::{Seq, TimeRange};

/// Up to where in the order of arrival a [`Hide`] reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upto {
    /// What came before the delete of this number.
    Seq(Seq),
    /// What is still to come, too: retention.
    Always,
}

/// Records that nobody may see: those within a range that a filter lets through.
#[derive(Clone, Debug)]
pub struct Hide {
    /// Records that it lets through are hidden.
    pub filter: Arc<Compiled>,
    /// The selector that says the same in LogQL, for who reads segments by himself.
    pub selector: String,
    /// Only within this range, both ends included.
    pub range: TimeRange,
    /// `delete <id>` or `retention {…}`: for explanations.
    pub name: String,
    /// Up to where in the order of arrival.
    pub upto: Upto,
}

/// What a snapshot must not show.
#[derive(Clone, Debug)]
pub struct Hidden {
    start: i64,
    hides: Arc<[Arc<Hide>]>,
}

impl Default for Hidden {
    fn default() -> Self {
        Self { start: i64::MIN, hides: Arc::from([]) }
    }
}

impl Hide {
    /// Whether rows of a segment may be hidden by this: by time and arrival, whatever they hold.
    pub fn touches(&self, entry: &SegmentEntry) -> bool {
        let reaches = match self.upto {
            Upto::Always => true,
            // A segment never has rows on both sides of a delete that was not applied to it.
            Upto::Seq(seq) => entry.seq_max <= seq && entry.purged_seq < seq,
        };
        reaches && self.range.overlaps(entry.range)
    }

    /// Whether rows of a buffered batch may be hidden by this.
    pub fn touches_batch(&self, batch: &BufferedBatch) -> bool {
        let reaches = match self.upto {
            Upto::Always => true,
            Upto::Seq(seq) => batch.seq_max <= seq,
        };
        reaches && self.range.overlaps(batch.range)
    }
}

impl Hidden {
    /// Records before `start` are hidden, and what `hides` say.
    pub fn new(start: i64, hides: impl Into<Arc<[Arc<Hide>]>>) -> Self {
        Self { start, hides: hides.into() }
    }

    /// Records before this time, in ns, are expired: every range is to be clamped to it.
    /// `i64::MIN` if records are kept for ever.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// What may hide rows of a segment, beside [`Hidden::start`].
    pub fn of_segment<'a>(&'a self, entry: &'a SegmentEntry) -> impl Iterator<Item = &'a Arc<Hide>> {
        self.hides.iter().filter(move |hide| hide.touches(entry))
    }

    /// What may hide rows of a buffered batch, beside [`Hidden::start`].
    pub fn of_batch<'a>(&'a self, batch: &'a BufferedBatch) -> impl Iterator<Item = &'a Arc<Hide>> {
        self.hides.iter().filter(move |hide| hide.touches_batch(batch))
    }

    /// Everything that hides something, beside [`Hidden::start`].
    pub fn hides(&self) -> &[Arc<Hide>] {
        &self.hides
    }

    /// The same, to be kept: two that hold the same ones say the same of a segment.
    pub fn list(&self) -> &Arc<[Arc<Hide>]> {
        &self.hides
    }

    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.start == i64::MIN && self.hides.is_empty()
    }
}
