//! Opening cold segments only when the order of a query comes to them: who wants the newest hundred records asks the
//! object store for the indexes of the newest segments, not for all.
//!
//! Only segments whose index would have to be asked for are left for later, and a segment is opened before any record
//! can be given that one of its own might come before.

use super::ahead::Ahead;
use super::{Place, Plan, Unit};
use crate::budget::Budget;
use crate::error::QueryError;
use crate::request::Order;
use crate::scan;
use std::collections::VecDeque;
use std::sync::Arc;
use timberlog_filter::Filter;
use timberlog_storage::{Segment, Snapshot};
use timberlog_types::TimeRange;

/// So many are opened at first, twice as many each time after that: their requests go out together.
const AT_ONCE_MIN: usize = 2;
/// And at most.
const AT_ONCE_MAX: usize = 128;

/// Segments that are not opened yet.
#[derive(Default)]
pub(super) struct Unopened {
    /// By the first time in terms of keys.
    segments: VecDeque<(i64, Arc<Segment>)>,
    at_once: usize,
}

impl Unopened {
    /// Takes those out of a list that can wait, unless they are too few to be worth it.
    pub(super) fn of(all: &mut Vec<&Arc<Segment>>, order: Order) -> Self {
        let mut segments: Vec<(i64, Arc<Segment>)> = Vec::new();
        let waits = |segment: &&Arc<Segment>| !segment.is_at_hand();
        if all.iter().filter(|segment| waits(segment)).count() > AT_ONCE_MIN {
            all.retain(|segment| {
                let waits = waits(segment);
                if waits {
                    segments.push((scan::times(order, segment.entry.range).0, Arc::clone(segment)));
                }
                !waits
            });
        }
        segments.sort_by_key(|(first, _)| *first);
        Self { segments: segments.into(), at_once: AT_ONCE_MIN }
    }
}

impl Plan {
    /// Plans a query whose records are wanted in order: [`Plan::open_next`] is called before a record is given that is
    /// not before [`Plan::first_unopened`].
    pub fn in_order(
        snapshot: &Snapshot,
        filter: &Filter,
        range: TimeRange,
        budget: Budget,
        order: Order,
    ) -> Result<Self, QueryError> {
        Self::with_order(snapshot, filter, range, budget, Some(order), Ahead::default())
    }

    /// The first time, in terms of keys, that a record of a segment may have that is not opened yet.
    pub fn first_unopened(&self) -> Option<i64> {
        self.unopened.segments.front().map(|(first, _)| *first)
    }

    /// Opens the segments that come next, none of them beyond a time in terms of keys. Gives the new number of each unit
    /// that the plan had.
    pub fn open_next(&mut self, last: i64) -> Result<Vec<u32>, QueryError> {
        let unopened = &mut self.unopened;
        let count = unopened.segments.iter().take(unopened.at_once).take_while(|(first, _)| *first <= last).count();
        unopened.at_once = (unopened.at_once * 2).min(AT_ONCE_MAX);
        let now: Vec<Arc<Segment>> = unopened.segments.drain(..count).map(|(_, segment)| segment).collect();
        let before = self.segments.len();
        self.open(&now.iter().collect::<Vec<_>>())?;
        let had = self.units.len();
        for index in before..self.segments.len() {
            self.add_blocks(index);
        }
        let mut numbered: Vec<(usize, Unit)> = std::mem::take(&mut self.units).into_iter().enumerate().collect();
        // Batches arrived last, in their order.
        numbered.sort_by_key(|(_, unit)| match unit.place {
            Place::Block { .. } => (false, self.arrival(unit)),
            Place::Batch(_) => (true, (0, 0)),
        });
        let mut new_numbers = vec![0; had];
        for (new, (old, unit)) in (0_u32..).zip(numbered) {
            if let Some(number) = new_numbers.get_mut(old) {
                *number = new;
            }
            self.units.push(unit);
        }
        Ok(new_numbers)
    }
}
