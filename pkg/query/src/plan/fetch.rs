//! Bringing what a query is about to read of cold segments: many places in few requests, before the
//! first of them is needed.
//!
//! What is read without having been fetched comes too, block by block; so nothing here decides an
//! answer. Segments whose files are local are left alone.

use super::{Place, Plan, Unit};
use crate::error::QueryError;
use crate::pace;
use crate::source::{Known, OpenSegment};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{MutexGuard, PoisonError};
use timberlog_filter::{Compiled, Target, Verdict};
use timberlog_segment::{BlockMeta, ColumnKey};
use timberlog_storage::Piece;
use timberlog_types::Result;

/// What is fetched before it is read, in bytes: what is kept in memory has room for it.
const BYTES_AT_ONCE: u64 = 24 << 20;
/// Units that are looked at together.
const UNITS_AT_ONCE: usize = 256;
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

/// By segment: the blocks that token filters leave.
pub(crate) type Sifted = BTreeMap<usize, RoaringBitmap>;

impl Plan {
    /// Whether a segment of the plan is cold.
    pub fn has_cold(&self) -> bool {
        self.first_unopened().is_some() || self.segments.iter().any(|open| open.segment.is_cold())
    }

    /// Runs something over units, some at a time, with what it needs of them at hand. Units of which token filters say
    /// that they hold no match are left out, if they are cold.
    pub fn fetched<'u>(
        &self,
        units: &[&'u Unit],
        need: &Need<'_>,
        run: &mut dyn FnMut(&[&'u Unit]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        if !self.has_cold() {
            return units.chunks(pace::wave_units()).try_for_each(run);
        }
        for some in units.chunks(UNITS_AT_ONCE * 4) {
            let mut left: &[&Unit] = &self.sift(some)?;
            while !left.is_empty() {
                let at_hand = self.fetch(&left[..left.len().min(UNITS_AT_ONCE)], need)?;
                let (now, later) = left.split_at(at_hand.clamp(1, left.len()));
                run(now)?;
                left = later;
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

    /// Leaves out units that hold no match by their token filters, if they are cold. The filters of a segment are asked
    /// for together, those of its other units too: they stand side by side.
    pub fn sift<'u>(&self, units: &[&'u Unit]) -> Result<Vec<&'u Unit>, QueryError> {
        let mut new: BTreeMap<usize, Vec<&Unit>> = BTreeMap::new();
        for unit in units {
            if let (Place::Block { segment, .. }, Some((open, _)), Verdict::Maybe) =
                (&unit.place, self.block(unit), unit.verdict)
                && open.segment.is_cold()
                && !self.sifted().contains_key(segment)
            {
                new.entry(*segment).or_default();
            }
        }
        for unit in &self.units {
            if let Place::Block { segment, .. } = &unit.place
                && let Some(of_segment) = new.get_mut(segment)
            {
                of_segment.push(unit);
            }
        }
        let asked: Vec<&Unit> = new.values().flatten().copied().collect();
        let mut rest = asked.as_slice();
        let mut found: BTreeMap<usize, RoaringBitmap> =
            new.keys().map(|&index| (index, RoaringBitmap::new())).collect();
        while !rest.is_empty() {
            let fetched = self.fetch_by(rest, &mut |unit, open, block| self.token_filters(unit, open, block))?;
            let (now, later) = rest.split_at(fetched.clamp(1, rest.len()));
            for unit in now {
                self.budget.check()?;
                let (Some((open, block)), Place::Block { segment, number }) = (self.block(unit), &unit.place) else {
                    continue;
                };
                let verdict = open.judge_tokens(&self.filter, &open.known, block, &self.budget)?;
                if let Some(found) = found.get_mut(segment).filter(|_| verdict != Verdict::Never) {
                    found.insert(*number);
                }
            }
            rest = later;
        }
        self.sifted().extend(found);
        let mut left = Vec::with_capacity(units.len());
        for unit in units {
            match self.sifted_verdict(unit) {
                Some(Verdict::Never) => drop(self.budget.blocks_pruned.fetch_add(1, Relaxed)),
                _ => left.push(*unit),
            }
        }
        Ok(left)
    }

    /// What token filters know of a unit's block: remembered, if they have been asked.
    pub fn judge_tokens(&self, unit: &Unit, open: &OpenSegment, block: &BlockMeta) -> Result<Verdict> {
        match self.sifted_verdict(unit) {
            Some(verdict) => Ok(verdict),
            None => open.judge_tokens(&self.filter, &open.known, block, &self.budget),
        }
    }

    fn sifted_verdict(&self, unit: &Unit) -> Option<Verdict> {
        let Place::Block { segment, number } = &unit.place else { return None };
        let sifted = self.sifted();
        let left = sifted.get(segment)?;
        let may_match = unit.verdict != Verdict::Maybe || left.contains(*number);
        Some(if may_match { unit.verdict } else { Verdict::Never })
    }

    fn sifted(&self) -> MutexGuard<'_, Sifted> {
        self.sifted.lock().unwrap_or_else(PoisonError::into_inner)
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
