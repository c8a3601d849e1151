//! Bringing what a query is about to read of cold segments: many places in few requests, before the
//! first of them is needed.
//!
//! What is read without having been fetched comes too, block by block; so nothing here decides an
//! answer. Segments whose files are local are left alone.

use super::{Place, Plan, Unit};
use crate::error::QueryError;
use crate::pace::Wave;
use crate::source::{Known, OpenSegment};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;
use timberlog_filter::{Compiled, Target, Verdict};
use timberlog_segment::{BlockMeta, ColumnKey};
use timberlog_storage::Piece;
use timberlog_types::Result;

/// What is fetched before it is read, in bytes: what is kept in memory has room for it.
const BYTES_AT_ONCE: u64 = 24 << 20;
/// Cold units that are looked at together.
const UNITS_AT_ONCE: usize = 256;
/// Units whose token filters are asked together.
const SIFTED_AT_ONCE: usize = 1024;
/// A block up to this length comes whole where it is likely to hold a hit: one request, not two.
const BLOCK_BYTES_AT_ONCE: u32 = 1 << 20;

/// What is going to be read of a unit, beside the columns of the filter.
pub(crate) enum Need<'a> {
    /// Where its rows stand in the order of time: times and streams.
    Keys,
    /// All of it.
    Block,
    /// These columns.
    Columns(&'a dyn Fn(&OpenSegment, &BlockMeta, &mut Vec<ColumnKey>)),
}

impl Plan {
    /// Whether a segment of the plan is cold.
    pub fn has_cold(&self) -> bool {
        self.first_unopened().is_some() || self.segments.iter().any(|open| open.segment.is_cold())
    }

    /// Runs something over units, some at a time, with what it needs of them at hand. Units of which token filters say
    /// that they hold no match are left out.
    pub fn fetched<'u>(
        &self,
        units: &[&'u Unit],
        need: &Need<'_>,
        run: &mut dyn FnMut(&[&'u Unit]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let has_cold = self.has_cold();
        let mut wave = Wave::default();
        for some in units.chunks(SIFTED_AT_ONCE) {
            let mut left: &[&Unit] = &self.sift(some)?;
            while !left.is_empty() {
                let next = if has_cold { UNITS_AT_ONCE } else { wave.units };
                let mut next = &left[..left.len().min(next)];
                if has_cold {
                    next = &next[..self.fetch(next, need)?.clamp(1, next.len())];
                }
                wave.run(|| run(next))?;
                left = &left[next.len()..];
            }
        }
        Ok(())
    }

    /// Fetches units whole, as far as there is room for them at once.
    pub fn bring(&self, units: &[&Unit]) -> Result<(), QueryError> {
        if self.has_cold() {
            self.fetch(units, &Need::Block)?;
        }
        Ok(())
    }

    /// Leaves out units that hold no match by their token filters, and counts them as pruned.
    pub fn sift<'u>(&self, units: &[&'u Unit]) -> Result<Vec<&'u Unit>, QueryError> {
        if !self.sifts() {
            return Ok(units.to_vec());
        }
        self.sift_cold(units)?;
        let verdicts = self.budget.each(units, |unit| self.judge_unit(unit))?;
        let left = units.iter().zip(verdicts).filter(|(_, verdict)| *verdict != Verdict::Never);
        let left: Vec<&Unit> = left.map(|(unit, _)| *unit).collect();
        self.budget.blocks_pruned.fetch_add((units.len() - left.len()) as u64, Relaxed);
        Ok(left)
    }

    /// What is known of a unit by its token filters.
    fn judge_unit(&self, unit: &Unit) -> Result<Verdict, QueryError> {
        let Place::Block { segment, number } = unit.place else { return Ok(Verdict::Maybe) };
        let Some(open) = self.segments.get(segment).filter(|_| unit.verdict == Verdict::Maybe) else {
            return Ok(unit.verdict);
        };
        let verdict = open.judge_tokens_alone(&self.filter, &open.known, number, &self.budget);
        match open.block(number) {
            Some(block) if verdict == Verdict::Maybe => Ok(self.judge_tokens(unit, open, block)?),
            _ => Ok(verdict),
        }
    }

    /// Whether token filters may say something: about the filter, or of a cold segment about what hides rows of it.
    pub fn sifts(&self) -> bool {
        self.filter.tests().iter().any(|test| !test.tokens().is_none()) || self.has_cold()
    }

    /// Asks the token filters of the cold segments that some units are of; those of all units of a segment together: they
    /// stand side by side.
    fn sift_cold(&self, units: &[&Unit]) -> Result<(), QueryError> {
        let is_new = |unit: &&&Unit| unit.verdict == Verdict::Maybe && unit.tokens.get().is_none();
        let new = units.iter().filter(is_new).filter_map(|unit| self.cold_segment(unit));
        let new: BTreeSet<usize> = new.collect();
        let mut by_segment: BTreeMap<usize, Vec<&Unit>> = BTreeMap::new();
        if !new.is_empty() {
            for unit in &self.units {
                if let Some(segment) = self.cold_segment(unit).filter(|segment| new.contains(segment)) {
                    by_segment.entry(segment).or_default().push(unit);
                }
            }
        }
        let asked: Vec<&Unit> = by_segment.into_values().flatten().collect();
        let mut rest = asked.as_slice();
        while !rest.is_empty() {
            let fetched = self.fetch_by(rest, &mut |unit, open, block| self.token_filters(unit, open, block))?;
            let (now, later) = rest.split_at(fetched.clamp(1, rest.len()));
            for unit in now {
                self.budget.check()?;
                if let Some((open, block)) = self.block(unit) {
                    self.judge_tokens(unit, open, block)?;
                }
            }
            rest = later;
        }
        Ok(())
    }

    fn cold_segment(&self, unit: &Unit) -> Option<usize> {
        let Place::Block { segment, .. } = unit.place else { return None };
        self.segments.get(segment).filter(|open| open.segment.is_cold()).map(|_| segment)
    }

    /// What token filters know of a unit's block; they are asked once.
    pub fn judge_tokens(&self, unit: &Unit, open: &OpenSegment, block: &BlockMeta) -> Result<Verdict> {
        if let Some(verdict) = unit.tokens.get() {
            return Ok(*verdict);
        }
        let verdict = open.judge_tokens(&self.filter, &open.known, block, &self.budget)?;
        // Who else asks at this moment is told the same.
        let _ = unit.tokens.set(verdict);
        Ok(verdict)
    }

    /// Fetches what is needed of the first of some units; says of how many.
    pub fn fetch(&self, units: &[&Unit], need: &Need<'_>) -> Result<usize, QueryError> {
        self.fetch_by(units, &mut |unit, open, block| self.pieces(unit, open, block, need))
    }

    /// How many requests reading some units would take, and the bytes that would come.
    pub fn estimate(&self, units: &[&Unit], need: &Need<'_>) -> (u64, u64) {
        let mut wants: BTreeMap<usize, Vec<(u32, Piece)>> = BTreeMap::new();
        for unit in units {
            if let (Some((open, block)), Place::Block { segment, number }) = (self.block(unit), &unit.place)
                && open.segment.is_cold()
            {
                let pieces = self.pieces(unit, open, block, need);
                wants.entry(*segment).or_default().extend(pieces.into_iter().map(|piece| (*number, piece)));
            }
        }
        timberlog_storage::segment::estimate(&self.wants(wants))
    }

    fn fetch_by(
        &self,
        units: &[&Unit],
        pieces: &mut dyn FnMut(&Unit, &OpenSegment, &BlockMeta) -> Vec<Piece>,
    ) -> Result<usize, QueryError> {
        let mut wants: BTreeMap<usize, Vec<(u32, Piece)>> = BTreeMap::new();
        let (mut bytes, mut asked) = (0, 0);
        for unit in units {
            if let (Some((open, block)), Place::Block { segment, number }) = (self.block(unit), &unit.place)
                && open.segment.is_cold()
            {
                let pieces = pieces(unit, open, block);
                bytes += pieces.iter().map(|&piece| bytes_of(block, piece)).sum::<u64>();
                if bytes > BYTES_AT_ONCE && asked > 0 {
                    break;
                }
                wants.entry(*segment).or_default().extend(pieces.into_iter().map(|piece| (*number, piece)));
            }
            asked += 1;
        }
        if wants.values().any(|pieces| !pieces.is_empty()) {
            let wants = self.wants(wants);
            let fetched = self.budget.with_demand(|demand| timberlog_storage::segment::fetch(&wants, demand));
            if let Err(error) = fetched {
                self.budget.check()?;
                return Err(error.into());
            }
        }
        Ok(asked)
    }

    fn wants(&self, wants: BTreeMap<usize, Vec<(u32, Piece)>>) -> Vec<timberlog_storage::Wants<'_>> {
        let of = |(segment, pieces)| self.segments.get(segment).map(|open: &OpenSegment| open.wants(pieces));
        wants.into_iter().filter_map(of).collect()
    }

    /// The token filters that are going to be asked about a block.
    fn token_filters(&self, unit: &Unit, open: &OpenSegment, block: &BlockMeta) -> Vec<Piece> {
        let mut keys = Vec::new();
        if unit.verdict == Verdict::Maybe {
            keys = open.token_filters(&self.filter, &open.known, block);
        }
        for &number in &unit.hides {
            if let (Some(hide), Some(judged)) = (self.hidden.hides().get(number as usize), open.hides().judged(number))
                && judged.asked(block).is_none()
            {
                keys.extend(open.token_filters(&hide.filter, &judged.known, block));
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(Piece::Filter).collect()
    }

    /// Whether an index or a token filter let a unit through: it is likely to hold a match.
    pub fn is_likely(&self, unit: &Unit) -> bool {
        let is_selective =
            |(open, block): (&OpenSegment, &BlockMeta)| open.known.is_selective(&self.filter, open, block);
        unit.verdict == Verdict::Maybe && self.block(unit).is_some_and(is_selective)
    }

    fn pieces(&self, unit: &Unit, open: &OpenSegment, block: &BlockMeta, need: &Need<'_>) -> Vec<Piece> {
        let is_likely = self.is_likely(unit);
        let is_whole = matches!(need, Need::Block) || !unit.hides.is_empty() || self.residual.is_some();
        if is_whole || (is_likely && block.len <= BLOCK_BYTES_AT_ONCE) {
            return vec![Piece::Block];
        }
        let mut keys = Vec::new();
        if unit.verdict == Verdict::Maybe {
            keys = filter_columns(&self.filter, &open.known, block);
        }
        if !unit.is_inside {
            keys.push(ColumnKey::Timestamp);
        }
        match need {
            Need::Keys => keys.extend([ColumnKey::Timestamp, ColumnKey::Stream]),
            Need::Block => {}
            Need::Columns(columns) => columns(open, block, &mut keys),
        }
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(Piece::Column).collect()
    }
}

/// The columns that the tests of a filter ask in a block.
fn filter_columns(filter: &Compiled, known: &Known, block: &BlockMeta) -> Vec<ColumnKey> {
    let mut keys = Vec::new();
    let _ = filter.judge(&mut |test| {
        let mut asked = None;
        let verdict = known.facts.judge(test, block, &mut |_, key| {
            asked = Some(key);
            Verdict::Maybe
        });
        if verdict == Verdict::Maybe {
            keys.extend(asked);
            match test.target() {
                Target::Timestamp => keys.push(ColumnKey::Timestamp),
                Target::Level | Target::Spelling => keys.push(ColumnKey::Level),
                Target::Service | Target::Stream => keys.push(ColumnKey::Stream),
                Target::Name(_) if !known.facts.is_field_alone(test, block) => keys.push(ColumnKey::Stream),
                Target::Message | Target::Name(_) => {}
            }
        }
        verdict
    });
    keys
}

fn bytes_of(block: &BlockMeta, piece: Piece) -> u64 {
    let bytes = match piece {
        Piece::Block => Some(block.len),
        Piece::Column(key) => block.column(key).map(|column| column.len),
        Piece::Filter(key) => block.column(key).and_then(|column| column.filter).map(|filter| filter.len),
    };
    bytes.map_or(0, u64::from)
}
