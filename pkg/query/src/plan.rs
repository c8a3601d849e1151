//! The planner: which blocks and batches can hold a record of the answer.
//!
//! A plan reads manifest entries, directories and indexes, never a column. Token filters that are to be read are asked by
//! the executor, since a limit may end it before most of them are needed.

mod ahead;
pub(crate) mod fetch;
mod hide;
mod judged;
mod lazy;
pub(crate) mod lookup;

use crate::budget::Budget;
use crate::error::QueryError;
use crate::logql::Residual;
use crate::request::Order;
use crate::source::OpenSegment;
use crate::statistics::Statistics;
use ahead::Ahead;
pub(crate) use judged::OfFiles;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use timberlog_filter::{BatchColumns, Compiled, CompiledTest, Filter, Target, Verdict, evaluate};
use timberlog_segment::{BlockMeta, FilterGroup};
use timberlog_storage::hidden::Hidden;
use timberlog_storage::manifest::SegmentEntry;
use timberlog_storage::{BufferedBatch, Segment, Snapshot};
use timberlog_types::{Error, ErrorKind, Result, RowSet, Seq, TimeRange};

/// What a query may have to look at.
pub(crate) struct Plan {
    pub filter: Compiled,
    /// What was asked for and has not expired.
    pub range: TimeRange,
    /// What deletes and retention hide.
    pub hidden: Arc<Hidden>,
    pub segments: Vec<OpenSegment>,
    /// In the order of arrival: of two records that are equal in time and stream, the one in the
    /// earlier unit arrived first.
    pub units: Vec<Unit>,
    pub budget: Budget,
    /// What rows have to pass besides the filter.
    pub residual: Option<Residual>,
    statistics: Statistics,
    /// Segments that are opened when the order of the query comes to them.
    unopened: lazy::Unopened,
    /// How token filters are asked in advance.
    ahead: Ahead,
}

/// A block or batch.
pub(crate) struct Unit {
    pub place: Place,
    /// The times of its records.
    pub range: TimeRange,
    pub rows: usize,
    /// Whether every record is in the range of the query.
    pub is_inside: bool,
    /// What may hide records of it, by number in [`Plan::hidden`].
    pub hides: Vec<u32>,
    /// What is known of the filter without reading.
    pub verdict: Verdict,
    /// What token filters know besides, once they were asked.
    pub tokens: OnceLock<Verdict>,
}

/// Where the records of a unit are.
pub(crate) enum Place {
    Batch(Arc<BufferedBatch>),
    Block { segment: usize, number: u32 },
}

impl Plan {
    /// Plans a query.
    pub fn new(snapshot: &Snapshot, filter: &Filter, range: TimeRange, budget: Budget) -> Result<Self, QueryError> {
        Self::with_order(snapshot, filter, range, budget, None, Ahead::default())
    }

    /// The same; all that token filters rule out is left to the executor.
    pub fn unsifted(
        snapshot: &Snapshot,
        filter: &Filter,
        range: TimeRange,
        budget: Budget,
    ) -> Result<Self, QueryError> {
        Self::with_order(snapshot, filter, range, budget, None, Ahead::never())
    }

    /// Plans a query; with an order, segments whose indexes are to be asked of an object store are left for later, see
    /// [`Plan::open_next`].
    fn with_order(
        snapshot: &Snapshot,
        filter: &Filter,
        range: TimeRange,
        budget: Budget,
        order: Option<Order>,
        ahead: Ahead,
    ) -> Result<Self, QueryError> {
        let filter = Compiled::interruptible(filter, budget.interrupt())?;
        let mut plan = Self {
            filter,
            range: range.intersect(TimeRange { start: snapshot.hidden.start(), end: i64::MAX }),
            hidden: Arc::clone(&snapshot.hidden),
            segments: Vec::new(),
            units: Vec::new(),
            budget,
            residual: None,
            statistics: Statistics::default(),
            unopened: lazy::Unopened::default(),
            ahead,
        };
        snapshot.unreachable.iter().for_each(|what| plan.budget.miss(what.clone()));
        plan.statistics.segments = snapshot.segments.len() as u64;
        plan.statistics.partitions = snapshot.segments.partitions() as u64;
        let near = snapshot.segments.in_days_of(range);
        let mut left: Vec<_> = near.filter(|segment| plan.judge_segment(segment).is_none()).collect();
        plan.statistics.segments_pruned = (snapshot.segments.len() - left.len()) as u64;
        plan.statistics.partitions_read = days(left.iter().copied());
        if let Some(order) = order {
            plan.unopened = lazy::Unopened::of(&mut left, order);
        }
        plan.open(&left)?;
        // Sequence ranges of one partition are disjoint, and only there can timestamps be equal.
        let mut arrived: Vec<(Seq, usize)> =
            plan.segments.iter().map(|open| open.segment.entry.seq_min).zip(0..).collect();
        arrived.sort_unstable();
        for (_, index) in arrived {
            plan.add_blocks(index);
        }
        plan.add_batches(snapshot);
        Ok(plan)
    }

    /// Why a segment cannot hold a record of the answer, by its manifest entry.
    pub fn judge_segment(&self, segment: &Segment) -> Option<Cow<'static, str>> {
        let entry = &*segment.entry;
        if entry.range.end < self.hidden.start() {
            return Some(Cow::Borrowed("retention: its records have expired"));
        }
        judge_entry(&self.filter, self.range, entry).map(Cow::Borrowed).or_else(|| self.hides_segment(segment))
    }

    /// The statistics so far.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = self.budget.statistics(&self.statistics);
        statistics.segments_read = self.segments.iter().filter(|open| open.is_read.load(Relaxed)).count() as u64;
        statistics
    }

    fn open(&mut self, segments: &[&Arc<Segment>]) -> Result<(), QueryError> {
        let cold = || segments.iter().copied().filter(|segment| segment.is_cold());
        if cold().next().is_some() {
            // An error is that of the budget, which says so below.
            let _ = self.budget.with_demand(|demand| timberlog_storage::segment::fetch_indexes(cold(), demand));
        }
        let open = |segment: &&Arc<Segment>| OpenSegment::open(segment, &self.filter, &self.hidden, &self.budget);
        let opened = self.budget.each(segments, |segment| Ok(open(segment)))?;
        for (opened, segment) in opened.into_iter().zip(segments) {
            match opened {
                Ok(open) => self.segments.push(open),
                Err(error) => self.budget.miss(missing(segment, None, &error)),
            }
        }
        self.budget.check()
    }

    fn add_blocks(&mut self, index: usize) {
        let Some(open) = self.segments.get(index) else { return };
        let blocks = &open.directory().blocks;
        self.statistics.blocks += blocks.len() as u64;
        let (before, mut blocks_hidden) = (self.units.len(), 0);
        let looked_up = lookup::candidates(open, &self.filter, self.range);
        let is_near = |block: &BlockMeta| {
            looked_up.as_ref().is_none_or(|left| left.contains(block.number)) && self.range.overlaps(block.range)
        };
        for (group, blocks) in (0..).zip(blocks.chunks(FilterGroup::BLOCKS as usize)) {
            if !blocks.iter().any(is_near) {
                continue;
            }
            let left = self.ahead.left(open, &self.filter, group, blocks.len() as u32, &self.budget);
            let is_left = |(bit, block): &(u32, &BlockMeta)| left & (1 << bit) != 0 && is_near(block);
            for (_, block) in (0..).zip(blocks).filter(is_left) {
                let verdict = open.known.judge(&self.filter, block);
                if verdict == Verdict::Never {
                    continue;
                }
                if let Some(hides) = self.hides_of_block(open, block) {
                    self.units.push(Unit {
                        place: Place::Block { segment: index, number: block.number },
                        range: block.range,
                        rows: block.rows as usize,
                        is_inside: self.range.covers(block.range),
                        hides,
                        verdict,
                        tokens: OnceLock::new(),
                    });
                } else {
                    blocks_hidden += 1;
                }
            }
        }
        self.statistics.blocks_pruned += (blocks.len() + before - self.units.len()) as u64;
        if let Some(open) = self.segments.get_mut(index) {
            open.blocks_hidden = blocks_hidden;
        }
    }

    fn add_batches(&mut self, snapshot: &Snapshot) {
        let is_in = |range: TimeRange| !self.range.is_empty() && self.range.overlaps(range);
        for batch in snapshot.batches.iter().filter(|batch| is_in(batch.range)) {
            let Some(hides) = self.hides_of_batch(batch) else { continue };
            self.units.push(Unit {
                place: Place::Batch(Arc::clone(batch)),
                range: batch.range,
                rows: batch.batch.rows(),
                is_inside: self.range.covers(batch.range),
                hides,
                verdict: self.filter.judge(&mut |test| match test.target() {
                    Target::Timestamp => test.judge_times(batch.range),
                    _ => Verdict::Maybe,
                }),
                tokens: OnceLock::new(),
            });
        }
    }

    /// Where the records of a block stand in the order of arrival.
    fn arrival(&self, unit: &Unit) -> (Seq, u32) {
        let number = match unit.place {
            Place::Block { number, .. } => number,
            Place::Batch(_) => 0,
        };
        (self.seq(unit), number)
    }

    /// The lowest sequence number of a unit's segment or batch.
    pub fn seq(&self, unit: &Unit) -> Seq {
        match &unit.place {
            Place::Batch(batch) => batch.seq_min,
            Place::Block { segment, .. } => self.segments.get(*segment).map_or(0, |open| open.segment.entry.seq_min),
        }
    }

    /// The block of a unit, with its segment; `None` for a batch.
    pub fn block(&self, unit: &Unit) -> Option<(&OpenSegment, &BlockMeta)> {
        let Place::Block { segment, number } = unit.place else { return None };
        let open = self.segments.get(segment)?;
        Some((open, open.block(number)?))
    }

    /// The rows of a unit that match and are not hidden, with times in `range`; `None` if none can.
    /// Counts what it looks at; a unit that is damaged is noted and matches nothing.
    pub fn rows(&self, unit: &Unit, range: TimeRange) -> Result<Option<RowSet>, QueryError> {
        self.budget.check()?;
        let rows = self.try_rows(unit, range.intersect(self.range)).and_then(|rows| self.without_hidden(unit, rows));
        let rows = match (rows, &self.residual) {
            (Ok(Some(rows)), Some(residual)) if !rows.is_empty() => match residual.select(self, unit, &rows) {
                Ok(rows) => Ok(Some(rows)),
                Err(QueryError::Storage(error)) => Err(error),
                Err(error) => return Err(error),
            },
            (rows, _) => rows,
        };
        match rows {
            Ok(rows) => {
                let rows = rows.filter(|rows| !rows.is_empty());
                if let Some(rows) = &rows {
                    self.budget.rows_matched.fetch_add(rows.count() as u64, Relaxed);
                }
                Ok(rows)
            }
            Err(error) => self.miss(unit, &error).map(|()| None),
        }
    }

    /// Notes that a unit cannot be read, unless it was a limit that ended reading.
    pub fn miss(&self, unit: &Unit, error: &Error) -> Result<(), QueryError> {
        self.budget.check()?;
        self.budget.blocks_missing.fetch_add(1, Relaxed);
        self.budget.miss(match self.block(unit) {
            Some((open, block)) => missing(&open.segment, Some(block.number), error),
            None => named("a batch of the memory buffer", error),
        });
        Ok(())
    }

    fn try_rows(&self, unit: &Unit, range: TimeRange) -> Result<Option<RowSet>> {
        if let Place::Batch(batch) = &unit.place {
            self.budget.batches_read.fetch_add(1, Relaxed);
            self.budget.rows_scanned.fetch_add(unit.rows as u64, Relaxed);
            let batch = &*batch.batch;
            let within = if range.covers(unit.range) {
                RowSet::all(unit.rows)
            } else {
                let mut times = batch.timestamps();
                RowSet::from_fn(unit.rows, |_| times.next().is_some_and(|time| range.contains(time)))
            };
            if unit.verdict == Verdict::Always {
                return Ok(Some(within));
            }
            return evaluate(&self.filter, &BatchColumns::new(batch), within).map(Some);
        }
        let Some((open, block)) = self.block(unit) else { return Ok(None) };
        if unit.verdict == Verdict::Maybe && self.judge_tokens(unit, open, block)? == Verdict::Never {
            self.budget.blocks_pruned.fetch_add(1, Relaxed);
            return Ok(None);
        }
        self.budget.blocks_read.fetch_add(1, Relaxed);
        self.budget.rows_scanned.fetch_add(unit.rows as u64, Relaxed);
        let source = open.source(&self.budget);
        let within = if range.covers(unit.range) {
            RowSet::all(unit.rows)
        } else {
            source.with_timestamps(block.number, |times| {
                RowSet::from_fn(unit.rows, |row| times.get(row).is_some_and(|&time| range.contains(time)))
            })?
        };
        if unit.verdict == Verdict::Always || within.is_empty() {
            return Ok(Some(within));
        }
        evaluate(&self.filter, &open.columns(&open.known, block, &source), within).map(Some)
    }
}

/// Why a segment cannot hold a record of the answer, by its manifest entry.
fn judge_entry(filter: &Compiled, range: TimeRange, entry: &SegmentEntry) -> Option<&'static str> {
    if range.is_empty() || !range.overlaps(entry.range) {
        return Some("time: no record in the range");
    }
    let (verdict, decided_by) = entry_verdict(filter, entry);
    (verdict == Verdict::Never).then_some(decided_by)
}

/// What a manifest entry knows of a filter, and what of it decides.
fn entry_verdict(filter: &Compiled, entry: &SegmentEntry) -> (Verdict, &'static str) {
    let mut decided_by = "filter: no record can match";
    let verdict = filter.judge(&mut |test: &CompiledTest| {
        let (verdict, target) = match test.target() {
            Target::Timestamp => (test.judge_times(entry.range), "time: no record passes the test of the timestamp"),
            Target::Level => {
                let levels = entry.levels.iter().map(|(level, _)| test.judge_level(level));
                (Verdict::of_parts(levels), "level: no record with such a level")
            }
            Target::Service => {
                let services = entry.services.iter().flatten();
                let verdicts = services.map(|(name, _)| Verdict::of(test.matches_text(name.as_bytes())));
                (Verdict::of_parts(verdicts), "service: no record of such a service")
            }
            Target::Message | Target::Spelling | Target::Stream | Target::Name(_) => (Verdict::Maybe, ""),
        };
        if verdict != Verdict::Maybe {
            decided_by = target;
        }
        verdict
    });
    (verdict, decided_by)
}

/// What to say of a segment, or of a block of it, that cannot be read. What is cold while the store does not answer is
/// missing by the day.
fn missing(segment: &Segment, block: Option<u32>, error: &Error) -> String {
    if segment.is_cold() && error.kind == ErrorKind::Unavailable {
        return format!("partition {}: what is in the object store alone, which does not answer", segment.day);
    }
    let id = &segment.entry.id;
    named(&block.map_or_else(|| format!("segment `{id}`"), |block| format!("segment `{id}`: block {block}")), error)
}

/// Puts the name of what is missing before the error, unless the error says it.
fn named(name: &str, error: &Error) -> String {
    let message = &error.message;
    if message.contains(name) { message.clone() } else { format!("{name}: {message}") }
}

fn days<'a>(segments: impl Iterator<Item = &'a Arc<Segment>>) -> u64 {
    segments.map(|segment| segment.day).collect::<HashSet<_>>().len() as u64
}
