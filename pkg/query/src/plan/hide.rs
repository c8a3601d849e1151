//! What deletes and retention hide of a plan: whole segments, blocks and batches are left out when
//! the plan is made, rows of others when they are read.
//!
//! A unit of which some record may be hidden is never answered from its directory alone.

use super::{Place, Plan, Unit, entry_verdict};
use crate::error::QueryError;
use crate::source::OpenSegment;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use timberlog_filter::{BatchColumns, Target, Verdict, evaluate};
use timberlog_segment::BlockMeta;
use timberlog_storage::BufferedBatch;
use timberlog_storage::hidden::Hide;
use timberlog_storage::manifest::SegmentEntry;
use timberlog_types::{Result, RowSet, TimeRange};

impl Plan {
    /// What may hide rows of a segment within the range of the query, by number.
    pub(super) fn hides_of<'a>(&'a self, entry: &'a SegmentEntry) -> impl Iterator<Item = (u32, &'a Arc<Hide>)> {
        let is_near = |hide: &Hide| hide.touches(entry) && hide.range.overlaps(self.range);
        let hides = (0_u32..).zip(self.hidden.hides());
        hides.filter(move |(_, hide)| is_near(hide) && entry_verdict(&hide.filter, entry).0 != Verdict::Never)
    }

    /// Why a segment is hidden whole, by its manifest entry.
    pub(super) fn hides_entry(&self, entry: &SegmentEntry) -> Option<Cow<'static, str>> {
        let asked = entry.range.intersect(self.range);
        let is_whole =
            |hide: &Hide| hide.range.covers(asked) && entry_verdict(&hide.filter, entry).0 == Verdict::Always;
        let (_, hide) = self.hides_of(entry).find(|(_, hide)| is_whole(hide))?;
        Some(Cow::Owned(format!("hidden: {}", hide.name)))
    }

    /// What may hide rows of a block; `None` if it is hidden whole.
    pub(super) fn hides_of_block(&self, open: &OpenSegment, block: &BlockMeta) -> Option<Vec<u32>> {
        let judged = open.hides().iter().filter_map(|(number, known)| {
            let hide = self.hide(*number)?;
            Some((*number, hide, known.judge(&hide.filter, block)))
        });
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
        let Some((_, known)) = open.hides().iter().find(|(of, _)| *of == number) else { return Ok(true) };
        Ok(open.judge_tokens(&hide.filter, known, block, &self.budget)? != Verdict::Never)
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
        let Some((_, known)) = open.hides().iter().find(|(of, _)| *of == number) else { return Ok(None) };
        if open.judge_tokens(&hide.filter, known, block, &self.budget)? == Verdict::Never {
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
        evaluate(&hide.filter, &open.columns(known, block, &source), within).map(Some)
    }
}
