//! Pages and exports: records in order.

mod key;
mod select;

use crate::budget::Budget;
use crate::cursor::Cursor;
use crate::error::QueryError;
use crate::plan::Plan;
use crate::record::{self, Record};
use crate::request::{Order, Query};
use crate::split::{Rank, Ranked};
use crate::statistics::Statistics;
pub(crate) use key::{Key, range_left, times};
pub(crate) use select::Selection;
use std::collections::VecDeque;
use std::time::Instant;
use timberlog_storage::Snapshot;
use timberlog_types::{Result, TimeRange};

/// A page of records.
#[derive(Clone, Debug)]
pub struct Page {
    /// The records, in the order that was asked for.
    pub records: Vec<Record>,
    /// Where the next page begins; `None` if this was the last one.
    pub next: Option<Cursor>,
    /// What the query looked at.
    pub statistics: Statistics,
    /// What could not be read, for people: damaged blocks, segments and parts of the manifest.
    pub missing: Vec<String>,
}

/// One page of records.
///
/// # Errors
/// `Invalid` if the filter or the cursor is, `Overloaded` if a limit ends the query.
pub fn page(snapshot: &Snapshot, query: &Query) -> Result<Page> {
    page_ranked(snapshot, query).map(|ranked| ranked.page)
}

/// One page of records, and how each stands among those of one time.
///
/// # Errors
/// As of [`page`].
pub fn page_ranked(snapshot: &Snapshot, query: &Query) -> Result<Ranked> {
    let (mut plan, mut selection) = start(snapshot, query)?;
    let mut keys = selection.next_keys(&mut plan, query.limit.saturating_add(1))?;
    let beyond = if keys.len() > query.limit { keys.pop() } else { None };
    let next = match (beyond, keys.last()) {
        (Some(beyond), Some(&last)) => Some(cursor(&plan, query, &keys, last, beyond)?),
        _ => None,
    };
    let found = record::materialise_slots(&plan, query.order, &keys)?;
    let rank = |slot: usize| {
        let (timestamp, stream, unit, _) = keys.get(slot)?.parts(query.order);
        Some(Rank { timestamp, stream, seq: plan.seq(plan.units.get(unit as usize)?) })
    };
    let ranks = found.iter().filter_map(|&(slot, _)| rank(slot)).collect();
    let records = found.into_iter().map(|(_, record)| record).collect();
    let page = Page { records, next, statistics: plan.statistics(), missing: plan.budget.missing() };
    Ok(Ranked { page, ranks })
}

fn start(snapshot: &Snapshot, query: &Query) -> Result<(Plan, Selection), QueryError> {
    let cursor = query.cursor.as_ref();
    if cursor.is_some_and(|cursor| cursor.order != query.order) {
        return Err(QueryError::Cursor("of another order; use it in the order of its page"));
    }
    let range = key::range_left(query.range, cursor);
    let budget = Budget::new(query.limits).cancelled_by(&query.cancel);
    let mut plan = Plan::in_order(snapshot, &query.filter, range, budget, query.order)?;
    if let Some(cursor) = cursor {
        // What stands beside it is counted.
        let (_, last) = times(cursor.order, TimeRange { start: cursor.timestamp, end: cursor.timestamp });
        while plan.first_unopened().is_some_and(|first| first <= last) {
            plan.open_next(last)?;
        }
    }
    let after = match cursor {
        None => None,
        Some(cursor) if cursor.n == 0 => key::after(cursor, &[]),
        Some(cursor) => key::after(cursor, &Selection::ties(&plan, cursor.order, cursor.timestamp, cursor.stream)?),
    };
    let selection = Selection::new(&plan, query.order, range, after);
    Ok((plan, selection))
}

/// The cursor of a page that ends with `last`, where `beyond` would come next.
fn cursor(plan: &Plan, query: &Query, keys: &[Key], last: Key, beyond: Key) -> Result<Cursor, QueryError> {
    let (timestamp, stream, ..) = last.parts(query.order);
    let n = match query.order {
        Order::NewestFirst if !last.ties_with(beyond) => 0,
        Order::NewestFirst => {
            let ties = Selection::ties(plan, query.order, timestamp, stream)?;
            ties.iter().filter(|&&tie| tie > last).count() as u64
        }
        Order::OldestFirst => {
            let here = keys.iter().rev().take_while(|key| key.ties_with(last)).count() as u64;
            let before = query.cursor.filter(|cursor| (cursor.timestamp, cursor.stream) == (timestamp, stream));
            here + before.map_or(0, |cursor| cursor.n)
        }
    };
    Ok(Cursor { order: query.order, timestamp, stream, n })
}

/// Keys that an export finds at once.
const KEYS_AT_ONCE: usize = 16_384;
/// Records that an export gives at once, at most.
const RECORDS_AT_ONCE: usize = 4_096;
/// Bytes of records that an export gives at once, in about.
const BYTES_AT_ONCE: usize = 4 << 20;

/// All records of a query in order, some thousand at a time.
pub struct Export {
    state: State,
    query: Query,
    keys: VecDeque<Key>,
    /// How many records to give next.
    step: usize,
    /// When the caller was given something: its own time does not count.
    pub(crate) given: Instant,
}

enum State {
    Planned(Box<(Plan, Selection)>),
    Failed(QueryError),
    Done(Box<Statistics>, Vec<String>),
}

impl Export {
    /// Tells now why nothing can be exported (a malformed filter, say), not as the first item.
    ///
    /// # Errors
    /// Whatever planning failed with.
    pub fn planned(self) -> Result<Self> {
        match self.state {
            State::Failed(error) => Err(error.into()),
            State::Planned(_) | State::Done(..) => Ok(self),
        }
    }

    /// What the query has looked at so far.
    pub fn statistics(&self) -> Statistics {
        match &self.state {
            State::Planned(running) => running.0.statistics(),
            State::Failed(_) => Statistics::default(),
            State::Done(statistics, _) => (**statistics).clone(),
        }
    }

    /// What could not be read so far.
    pub fn missing(&self) -> Vec<String> {
        match &self.state {
            State::Planned(running) => running.0.budget.missing(),
            State::Failed(_) => Vec::new(),
            State::Done(_, missing) => missing.clone(),
        }
    }

    fn finish(&mut self) {
        self.state = State::Done(Box::new(self.statistics()), self.missing());
    }

    fn advance(&mut self) -> Result<Option<Vec<Record>>, QueryError> {
        let State::Planned(running) = &mut self.state else { return Ok(None) };
        let (plan, selection) = &mut **running;
        plan.budget.was_idle_since(self.given);
        loop {
            if self.keys.is_empty() {
                self.keys = selection.next_keys(plan, KEYS_AT_ONCE)?.into();
                if self.keys.is_empty() {
                    return Ok(None);
                }
            }
            let count = self.step.min(self.keys.len());
            let keys: Vec<Key> = self.keys.drain(..count).collect();
            let records = record::materialise(plan, self.query.order, &keys)?;
            let bytes: usize = records.iter().map(Record::memory_bytes).sum();
            // The caller owns them now.
            plan.budget.free_memory(bytes);
            if !records.is_empty() {
                let each = bytes.div_ceil(records.len()).max(1);
                self.step = (BYTES_AT_ONCE / each).clamp(1, RECORDS_AT_ONCE);
                return Ok(Some(records));
            }
        }
    }
}

impl Iterator for Export {
    type Item = Result<Vec<Record>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let State::Failed(_) = &self.state {
            let done = State::Done(Box::default(), Vec::new());
            let State::Failed(error) = std::mem::replace(&mut self.state, done) else { return None };
            return Some(Err(error.into()));
        }
        let advanced = self.advance();
        self.given = Instant::now();
        match advanced {
            Ok(Some(records)) => Some(Ok(records)),
            Ok(None) => {
                self.finish();
                None
            }
            Err(error) => {
                self.finish();
                Some(Err(error.into()))
            }
        }
    }
}

/// All records of a query in order, some thousand at a time, in bounded memory. The snapshot is
/// held until the iterator is dropped. An error (a malformed filter too) is the last item.
pub fn export(snapshot: Snapshot, query: Query) -> Export {
    let state = match start(&snapshot, &query) {
        Ok(running) => State::Planned(Box::new(running)),
        Err(error) => State::Failed(error),
    };
    Export { state, query, keys: VecDeque::new(), step: 64, given: Instant::now() }
}
