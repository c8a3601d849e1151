//! What deletes and retention hide of a plan: whole segments, blocks and batches are left out when
//! the plan is made, rows of others when they are read.
//!
//! A unit of which some record may be hidden is never answered from its directory alone.

use super::judged::{Judged, OfEntry};
use super::{Place, Plan, Unit};
use crate::error::QueryError;
use crate::source::OpenSegment;
use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use timberlog_filter::{BatchColumns, Target, Verdict, evaluate};
use timberlog_segment::BlockMeta;
use timberlog_storage::hidden::Hide;
use timberlog_storage::{BufferedBatch, Segment};
use timberlog_types::{Result, RowSet, TimeRange};

impl Plan {
    /// Why a segment is hidden whole, by its manifest entry.
    pub(super) fn hides_segment(&self, segment: &Segment) -> Option<Cow<'static, str>> {
        if self.hidden.hides().is_empty() {
            return None;
        }
        let asked = segment.entry.range.intersect(self.range);
        let of_entry = OfEntry::of(segment, &self.hidden);
        let always = of_entry.touching.iter().filter(|(_, verdict)| *verdict == Verdict::Always);
        let hide = always
            .filter_map(|&(number, _)| self.hide(number))
            .find(|hide| hide.range.covers(asked) && hide.range.overlaps(self.range))?;
        Some(Cow::Owned(format!("hidden: {}", hide.name)))
    }

    /// What may hide rows of a block; `None` if it is hidden whole.
    pub(super) fn hides_of_block(&self, open: &OpenSegment, block: &BlockMeta) -> Option<Vec<u32>> {
        let judged = open.hides().of_block(block);
        let judged = judged.filter_map(|(number, _, verdict)| Some((number, self.hide(number)?, verdict)));
        self.left(block.range, judged)
    }

    /// What may hide rows of a batch; `None` if it is hidden whole.
    pub(super) fn hides_of_batch(&self, batch: &BufferedBatch) -> Option<Vec<u32>> {
        let touching = (0_u32..).zip(self.hidden.hides()).filter(|(_, hide)| hide.touches_batch(batch));
        let judged = touching.map(|(number, hide)| {
            let verdict = hide.filter.judge(&mut |test| match test.target() {
                Target::Timestamp => test.judge_times(batch.range),
                _ => Verdict::Maybe,
            });
            (number, &**hide, verdict)
        });
        self.left(batch.range, judged)
    }

    fn left<'a>(&self, range: TimeRange, judged: impl Iterator<Item = (u32, &'a Hide, Verdict)>) -> Option<Vec<u32>> {
        let asked = range.intersect(self.range);
        let mut left = Vec::new();
        for (number, hide, verdict) in judged {
            match verdict {
                Verdict::Never => {}
                Verdict::Always if hide.range.covers(asked) => return None,
                _ if hide.range.overlaps(asked) => left.push(number),
                _ => {}
            }
        }
        Some(left)
    }

    /// What people call it: `delete <id>`, `retention {…}`.
    pub fn hide_name(&self, number: u32) -> Option<&str> {
        self.hide(number).map(|hide| hide.name.as_str())
    }

    /// Whether it hides something of the times that are asked for.
    pub fn is_asked_hide(&self, number: u32) -> bool {
        self.hide(number).is_some_and(|hide| hide.range.overlaps(self.range))
    }

    fn hide(&self, number: u32) -> Option<&Hide> {
        self.hidden.hides().get(number as usize).map(|hide| &**hide)
    }

    /// Whether every record of a unit is in the range of the query and none is hidden: then what a
    /// directory says of it counts. May look at token filters.
    pub fn is_whole(&self, unit: &Unit) -> Result<bool, QueryError> {
        if !unit.is_inside {
            return Ok(false);
        }
        for &number in &unit.hides {
            if self.may_hide(unit, number)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a directory's lists (of streams, of fields) hold names of records that are hidden, as
    /// far as is known without looking at them.
    pub fn is_listed(&self, unit: &Unit) -> Result<bool, QueryError> {
        let has_expired = unit.range.start < self.hidden.start();
        if has_expired {
            return Ok(false);
        }
        for &number in &unit.hides {
            if self.may_hide(unit, number)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether some row of a unit may be hidden, by token filters too.
    fn may_hide(&self, unit: &Unit, number: u32) -> Result<bool> {
        let (Some(hide), Some((open, block))) = (self.hide(number), self.block(unit)) else { return Ok(true) };
        let Some(judged) = open.hides().judged(number) else { return Ok(true) };
        Ok(self.judge_hide(hide, judged, open, block)? != Verdict::Never)
    }

    /// What is known of the rows that one delete or rule hides of a block; token filters are asked once.
    fn judge_hide(&self, hide: &Hide, judged: &Judged, open: &OpenSegment, block: &BlockMeta) -> Result<Verdict> {
        if let Some(verdict) = judged.asked(block) {
            return Ok(verdict);
        }
        let verdict = open.judge_tokens(&hide.filter, &judged.known, block, &self.budget)?;
        judged.note(block, verdict);
        Ok(verdict)
    }

    /// The rows of a unit without those that are hidden.
    pub(super) fn without_hidden(&self, unit: &Unit, rows: Option<RowSet>) -> Result<Option<RowSet>> {
        let Some(mut rows) = rows.filter(|rows| !rows.is_empty()) else { return Ok(None) };
        let before = rows.count();
        for &number in &unit.hides {
            let Some(hide) = self.hide(number) else { continue };
            if rows.is_empty() {
                break;
            }
            if let Some(hidden) = self.hidden_by(unit, number, hide, &rows)? {
                rows.subtract(&hidden);
            }
        }
        if !unit.hides.is_empty() {
            self.budget.rows_hidden.fetch_add((before - rows.count()) as u64, Relaxed);
        }
        Ok(Some(rows))
    }

    /// Which of some rows one delete or rule hides.
    fn hidden_by(&self, unit: &Unit, number: u32, hide: &Hide, rows: &RowSet) -> Result<Option<RowSet>> {
        if let Place::Batch(batch) = &unit.place {
            let batch = &*batch.batch;
            let mut within = rows.clone();
            if !hide.range.covers(unit.range) {
                rows.iter()
                    .filter(|&row| !hide.range.contains(batch.timestamp(row)))
                    .for_each(|row| within.remove(row));
            }
            return evaluate(&hide.filter, &BatchColumns::new(batch), within).map(Some);
        }
        let Some((open, block)) = self.block(unit) else { return Ok(None) };
        let Some(judged) = open.hides().judged(number) else { return Ok(None) };
        if self.judge_hide(hide, judged, open, block)? == Verdict::Never {
            return Ok(None);
        }
        let source = open.source_of_part(&self.budget, rows.count(), rows.rows());
        let mut within = rows.clone();
        if !hide.range.covers(unit.range) {
            source.with_timestamps(block.number, |times| {
                let is_out = |row: &usize| !times.get(*row).is_some_and(|&time| hide.range.contains(time));
                rows.iter().filter(is_out).for_each(|row| within.remove(row));
            })?;
        }
        if within.is_empty() {
            return Ok(None);
        }
        let is_all = within.is_full();
        let hidden = evaluate(&hide.filter, &open.columns(&judged.known, block, &source), within)?;
        if is_all && hidden.is_empty() {
            // A token filter was wrong about it, as one in some hundred is.
            judged.note(block, Verdict::Never);
        }
        Ok(Some(hidden))
    }
}
