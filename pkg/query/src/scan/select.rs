//! Finds the keys of the next records in order, reading as few blocks as the order allows.

use super::key::{self, Key};
use crate::error::QueryError;
use crate::plan::fetch::Need;
use crate::plan::{Place, Plan, Unit};
use crate::request::Order;
use crate::source::mixed_up;
use std::collections::BinaryHeap;
use timberlog_filter::ColumnSource;
use timberlog_segment::{Column, ColumnKey};
use timberlog_types::{Result, RowSet, TimeRange};

/// At most so many units are read at once; the first round reads one a thread.
const WAVE_MAX: usize = 32;
/// Token filters of cold segments are asked about so many units at first.
const SIFT_COLD_MIN: usize = 64;
/// Token filters are asked about so many units at most.
const SIFT_MAX: usize = 4096;

/// A walk over the units of a plan in the order of their times.
pub(crate) struct Selection {
    order: Order,
    range: TimeRange,
    after: Option<Key>,
    /// Units that were not read yet, by their first time in terms of keys.
    unread: Vec<(i64, u32)>,
    next: usize,
    /// Token filters have been asked about the units before this one.
    sifted: usize,
    /// Token filters are asked about so many units next.
    ahead: usize,
    /// Units that were read and may have more records: what matches in them.
    active: Vec<(u32, RowSet)>,
}

/// Up to so many units that an index or a token filter let through are the last ones of a needle.
const NEEDLE_UNITS_MAX: usize = 8;

/// What a unit has for the answer.
type Found = Option<(u32, RowSet, Vec<Key>)>;

impl Selection {
    /// Begins behind a key.
    pub fn new(plan: &Plan, order: Order, range: TimeRange, after: Option<Key>) -> Self {
        let mut unread: Vec<(i64, u32)> = (0_u32..)
            .zip(&plan.units)
            .filter(|(_, unit)| range.overlaps(unit.range))
            .map(|(index, unit)| (key::times(order, unit.range).0, index))
            .collect();
        unread.sort_unstable();
        let ahead = if plan.has_cold() { SIFT_COLD_MIN } else { 1 };
        Self { order, range, after, unread, next: 0, sifted: 0, ahead, active: Vec::new() }
    }

    /// Asks the token filters of units that come next, and leaves out those without a match: of the next wave, and of more
    /// in advance the more of them are left out.
    fn sift(&mut self, plan: &Plan, wave: usize) -> Result<(), QueryError> {
        if !plan.sifts() {
            return Ok(());
        }
        let has_cold = plan.has_cold();
        let ahead_min = if has_cold { SIFT_COLD_MIN } else { wave };
        while self.sifted < self.unread.len().min(self.next + wave) {
            let some = self.sifted..self.unread.len().min(self.sifted + self.ahead.max(wave));
            let units: Vec<&Unit> =
                self.unread[some.clone()].iter().filter_map(|&(_, unit)| plan.units.get(unit as usize)).collect();
            let left = plan.sift(&units)?;
            let is_selective = left.len() * 2 <= units.len();
            let more = is_selective || has_cold;
            self.ahead = if more { self.ahead * 4 } else { ahead_min }.clamp(ahead_min, SIFT_MAX);
            let mut left = left.into_iter().peekable();
            let mut kept: Vec<(i64, u32)> = self.unread[some.clone()].to_vec();
            kept.retain(|&(_, unit)| {
                let unit = plan.units.get(unit as usize);
                left.next_if(|left| unit.is_some_and(|unit| std::ptr::eq(*left, unit))).is_some()
            });
            self.sifted = some.start + kept.len();
            self.unread.splice(some, kept);
        }
        Ok(())
    }

    /// Brings what is needed of some units; of how many, at least one. The last ones of a needle come together, in as few
    /// requests as may be.
    fn fetch(&self, plan: &Plan, units: &[u32]) -> Result<usize, QueryError> {
        if !plan.has_cold() {
            return Ok(units.len());
        }
        let of = |unit: u32| plan.units.get(unit as usize);
        let rest = self.unread.get(self.next..).unwrap_or_default();
        if units.len() < rest.len() && rest.len() <= NEEDLE_UNITS_MAX && plan.first_unopened().is_none() {
            let rest: Vec<&Unit> = rest.iter().filter_map(|&(_, unit)| of(unit)).collect();
            if rest.iter().all(|unit| plan.is_likely(unit)) {
                plan.fetch(&rest, &Need::Keys)?;
            }
        }
        let units: Vec<&Unit> = units.iter().filter_map(|&unit| of(unit)).collect();
        Ok(plan.fetch(&units, &Need::Keys)?.max(1))
    }

    /// The next `limit` keys in order; fewer if there are no more. Segments are opened when it comes to them, which may
    /// give the plan's units new numbers: keys that were given before are worth nothing then.
    pub fn next_keys(&mut self, plan: &mut Plan, limit: usize) -> Result<Vec<Key>, QueryError> {
        let mut best = BinaryHeap::new();
        if limit == 0 {
            return Ok(Vec::new());
        }
        self.resume(plan, limit, &mut best)?;
        while let Some(last) = self.advance(plan, limit, &mut best)? {
            self.open(plan, last, &mut best)?;
        }
        Ok(self.finish(plan, best))
    }

    fn resume(&mut self, plan: &Plan, limit: usize, best: &mut BinaryHeap<Key>) -> Result<(), QueryError> {
        let active = std::mem::take(&mut self.active);
        for (unit, rows, keys) in self.again(plan, active, limit)? {
            offer(plan, best, keys, limit)?;
            self.active.push((unit, rows));
        }
        Ok(())
    }

    /// Reads units until the best keys are known, or until segments are to be opened that begin before what comes next:
    /// then says before which time.
    fn advance(&mut self, plan: &Plan, limit: usize, best: &mut BinaryHeap<Key>) -> Result<Option<i64>, QueryError> {
        let mut wave = rayon::current_num_threads().clamp(1, WAVE_MAX);
        let unopened = plan.first_unopened();
        loop {
            let worst = if best.len() == limit { best.peek().copied() } else { None };
            let first = self.unread.get(self.next).map_or(i64::MAX, |(first, _)| *first);
            let last = worst.map_or(i64::MAX, Key::time);
            if unopened.is_some_and(|unopened| unopened <= first.min(last)) {
                return Ok(Some(last));
            }
            if self.next >= self.unread.len() || first > last {
                return Ok(None);
            }
            self.sift(plan, wave)?;
            let rest = self.unread.get(self.next..).unwrap_or_default();
            let is_next = |first: i64| first <= last && unopened.is_none_or(|unopened| first < unopened);
            let reachable = rest.iter().take(wave).take_while(|(first, _)| is_next(*first));
            let mut units: Vec<u32> = reachable.map(|&(_, unit)| unit).collect();
            if units.is_empty() {
                // What came next holds no match by its token filters.
                continue;
            }
            units.truncate(self.fetch(plan, &units)?);
            self.next += units.len();
            for (unit, rows, keys) in self.read(plan, &units, worst, limit)? {
                offer(plan, best, keys, limit)?;
                self.active.push((unit, rows));
            }
            wave = (wave * 2).min(WAVE_MAX);
        }
    }

    /// Opens the segments that come next, none that begins behind `last`.
    fn open(&mut self, plan: &mut Plan, last: i64, best: &mut BinaryHeap<Key>) -> Result<(), QueryError> {
        let new_numbers = plan.open_next(last)?;
        let order = self.order;
        let renumber = |unit: u32| new_numbers.get(unit as usize).copied().unwrap_or(unit);
        self.unread.iter_mut().for_each(|(_, unit)| *unit = renumber(*unit));
        self.active.iter_mut().for_each(|(unit, _)| *unit = renumber(*unit));
        self.after = self.after.map(|after| after.renumbered(order, &new_numbers));
        *best = best.drain().map(|key| key.renumbered(order, &new_numbers)).collect();
        let mut is_new = vec![true; plan.units.len()];
        for &unit in &new_numbers {
            if let Some(is_new) = is_new.get_mut(unit as usize) {
                *is_new = false;
            }
        }
        let mut unread = self.unread.split_off(self.next);
        unread.extend(
            (0_u32..)
                .zip(plan.units.iter().zip(is_new))
                .filter(|(_, (unit, is_new))| *is_new && self.range.overlaps(unit.range))
                .map(|(index, (unit, _))| (key::times(order, unit.range).0, index)),
        );
        unread.sort_unstable();
        self.unread.append(&mut unread);
        self.sifted = self.next;
        Ok(())
    }

    fn finish(&mut self, plan: &Plan, best: BinaryHeap<Key>) -> Vec<Key> {
        let keys = best.into_sorted_vec();
        plan.budget.free_memory(keys.len() * size_of::<Key>());
        if let Some(&last) = keys.last() {
            self.after = Some(last);
            let order = self.order;
            self.active.retain(|&(unit, _)| {
                plan.units.get(unit as usize).is_some_and(|unit| key::times(order, unit.range).1 >= last.time())
            });
        }
        keys
    }

    /// The keys of all matching records with this timestamp and stream, in order of arrival.
    pub fn ties(plan: &Plan, order: Order, timestamp: i64, stream: u64) -> Result<Vec<Key>, QueryError> {
        let instant = TimeRange { start: timestamp, end: timestamp };
        if !plan.range.contains(timestamp) {
            return Ok(Vec::new());
        }
        let mut all = Self::new(plan, order, instant, None);
        let mut best = BinaryHeap::new();
        // What is not opened yet has none of them.
        all.advance(plan, usize::MAX, &mut best)?;
        let mut keys = all.finish(plan, best);
        keys.retain(|key| key.parts(order).1 == stream);
        if order == Order::NewestFirst {
            keys.reverse();
        }
        Ok(keys)
    }

    fn read(
        &self,
        plan: &Plan,
        units: &[u32],
        worst: Option<Key>,
        limit: usize,
    ) -> Result<Vec<(u32, RowSet, Vec<Key>)>, QueryError> {
        let one = |&index: &u32| -> Result<Found, QueryError> {
            let Some(unit) = plan.units.get(index as usize) else { return Ok(None) };
            let Some(rows) = plan.rows(unit, self.range)? else { return Ok(None) };
            Ok(self.keys(plan, index, unit, &rows, worst, limit)?.map(|keys| (index, rows, keys)))
        };
        Ok(plan.budget.each(units, one)?.into_iter().flatten().collect())
    }

    fn again(
        &self,
        plan: &Plan,
        active: Vec<(u32, RowSet)>,
        limit: usize,
    ) -> Result<Vec<(u32, RowSet, Vec<Key>)>, QueryError> {
        let one = |(index, rows): &(u32, RowSet)| -> Result<Option<Vec<Key>>, QueryError> {
            let Some(unit) = plan.units.get(*index as usize) else { return Ok(None) };
            self.keys(plan, *index, unit, rows, None, limit)
        };
        let keys = plan.budget.each(&active, one)?;
        Ok(active.into_iter().zip(keys).filter_map(|((index, rows), keys)| Some((index, rows, keys?))).collect())
    }

    /// The first keys of a unit behind `after`, and before `worst`.
    fn keys(
        &self,
        plan: &Plan,
        index: u32,
        unit: &Unit,
        rows: &RowSet,
        worst: Option<Key>,
        limit: usize,
    ) -> Result<Option<Vec<Key>>, QueryError> {
        match self.try_keys(plan, index, unit, rows, worst, limit) {
            Ok(keys) => Ok(Some(keys)),
            Err(error) => plan.miss(unit, &error).map(|()| None),
        }
    }

    fn try_keys(
        &self,
        plan: &Plan,
        index: u32,
        unit: &Unit,
        rows: &RowSet,
        worst: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Key>> {
        let order = self.order;
        let (first, last) = (self.after.map_or(i64::MIN, Key::time), worst.map_or(i64::MAX, Key::time));
        let mut times: Vec<(i64, u32)> = Vec::with_capacity(rows.count());
        let mut consider = |row: usize, timestamp: i64| {
            let (time, _) = key::times(order, TimeRange { start: timestamp, end: timestamp });
            if first <= time && time <= last {
                // A unit has less than 2³² rows.
                times.push((time, row as u32));
            }
        };
        let at = |time: i64| if order == Order::NewestFirst { !time } else { time };
        let mut keys: Vec<Key> = match &unit.place {
            Place::Batch(batch) => {
                let batch = &*batch.batch;
                rows.iter().for_each(|row| consider(row, batch.timestamp(row)));
                keep_first(&mut times, limit, self.after);
                let key = |&(time, row): &(i64, u32)| {
                    let stream = batch.stream_hash(batch.stream_id(row as usize));
                    Key::new(order, at(time), stream, index, row)
                };
                times.iter().map(key).collect()
            }
            Place::Block { number, .. } => {
                let Some((open, _)) = plan.block(unit) else { return Ok(Vec::new()) };
                // The filter has counted the block; its keys are few bytes, and asked for often.
                let source = open.source_of_part(&plan.budget, 0, 1);
                source.with_timestamps(*number, |column| {
                    rows.iter().for_each(|row| consider(row, column.get(row).copied().unwrap_or_default()));
                })?;
                if times.is_empty() {
                    return Ok(Vec::new());
                }
                keep_first(&mut times, limit, self.after);
                let column = source.column(*number, ColumnKey::Stream)?;
                let Column::Streams(runs) = &*column else { return Err(mixed_up(*number, ColumnKey::Stream)) };
                let streams = &open.directory().streams;
                let key = |&(time, row): &(i64, u32)| {
                    let stream = streams.hash(runs.get(row as usize)).unwrap_or_default();
                    Key::new(order, at(time), stream, index, row)
                };
                times.iter().map(key).collect()
            }
        };
        keys.retain(|key| self.after.is_none_or(|after| *key > after) && worst.is_none_or(|worst| *key < worst));
        keys.sort_unstable();
        keys.truncate(limit);
        Ok(keys)
    }
}

/// Drops times that cannot be among the first `limit`; all that tie with the last one stay, and
/// those at the time of `after`, some of which may be before it.
fn keep_first(times: &mut Vec<(i64, u32)>, limit: usize, after: Option<Key>) {
    let (mut at_after, beyond) = (Vec::new(), after.map_or(i64::MIN, Key::time));
    if after.is_some() {
        times.retain(|&entry| {
            let stays = entry.0 > beyond;
            if !stays {
                at_after.push(entry);
            }
            stays
        });
    }
    if times.len() > limit {
        let (_, &mut (threshold, _), _) = times.select_nth_unstable(limit - 1);
        times.retain(|&(time, _)| time <= threshold);
    }
    times.append(&mut at_after);
}

/// Takes the keys that are among the best `limit`.
fn offer(plan: &Plan, best: &mut BinaryHeap<Key>, keys: Vec<Key>, limit: usize) -> Result<(), QueryError> {
    let before = best.len();
    for key in keys {
        if best.len() < limit {
            best.push(key);
        } else if let Some(mut worst) = best.peek_mut()
            && key < *worst
        {
            *worst = key;
        } else {
            // The keys of a unit are sorted: the rest is worse.
            break;
        }
    }
    plan.budget.take_memory((best.len() - before) * size_of::<Key>())
}
