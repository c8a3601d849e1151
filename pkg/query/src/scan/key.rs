//! Keys: where a record stands in the total order, within one plan.

use crate::cursor::Cursor;
use crate::request::Order;
use timberlog_types::TimeRange;

/// Where a record stands in the order of one query: whatever the order is, the smaller key comes
/// first. For newest first every part is the complement of what it is for oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    time: i64,
    stream: u64,
    unit: u32,
    row: u32,
}

impl Key {
    pub fn new(order: Order, timestamp: i64, stream: u64, unit: u32, row: u32) -> Self {
        let key = Self { time: timestamp, stream, unit, row };
        match order {
            Order::OldestFirst => key,
            Order::NewestFirst => key.complement(),
        }
    }

    /// Timestamp, hash of the stream, unit and row.
    pub fn parts(self, order: Order) -> (i64, u64, u32, u32) {
        let Self { time, stream, unit, row } = match order {
            Order::OldestFirst => self,
            Order::NewestFirst => self.complement(),
        };
        (time, stream, unit, row)
    }

    /// The time in terms of keys.
    pub fn time(self) -> i64 {
        self.time
    }

    /// The same record, where units have new numbers.
    pub fn renumbered(self, order: Order, new_numbers: &[u32]) -> Self {
        let (timestamp, stream, unit, row) = self.parts(order);
        // What stands for "behind all units" stays so.
        let unit = new_numbers.get(unit as usize).copied().unwrap_or(unit);
        Self::new(order, timestamp, stream, unit, row)
    }

    fn complement(self) -> Self {
        Self { time: !self.time, stream: !self.stream, unit: !self.unit, row: !self.row }
    }

    /// Whether two records have one timestamp and stream.
    pub fn ties_with(self, other: Self) -> bool {
        (self.time, self.stream) == (other.time, other.stream)
    }
}

/// The first and last time in terms of keys.
pub(crate) fn times(order: Order, range: TimeRange) -> (i64, i64) {
    match order {
        Order::OldestFirst => (range.start, range.end),
        Order::NewestFirst => (!range.end, !range.start),
    }
}

/// The part of a range that a cursor leaves.
pub(crate) fn range_left(range: TimeRange, cursor: Option<&Cursor>) -> TimeRange {
    match cursor {
        None => range,
        Some(Cursor { order: Order::NewestFirst, timestamp, .. }) => {
            TimeRange { end: range.end.min(*timestamp), ..range }
        }
        Some(Cursor { order: Order::OldestFirst, timestamp, .. }) => {
            TimeRange { start: range.start.max(*timestamp), ..range }
        }
    }
}

/// The key behind which a cursor goes on. `ties` are the keys of all matching records with its
/// timestamp and stream in order of arrival; they are not needed where its `n` is 0. `None`: from
/// the start.
pub(crate) fn after(cursor: &Cursor, ties: &[Key]) -> Option<Key> {
    let Cursor { order, timestamp, stream, n } = *cursor;
    let key = |unit: u32, row: u32| Key::new(order, timestamp, stream, unit, row);
    let nth = |n: u64| usize::try_from(n).ok().and_then(|n| ties.get(n)).copied();
    match (order, n) {
        (Order::NewestFirst, 0) => Some(key(0, 0)),
        // The n oldest are left, so the next one to give is before the one at place n.
        (Order::NewestFirst, n) => Some(nth(n).unwrap_or(key(u32::MAX, u32::MAX))),
        (Order::OldestFirst, 0) => match (stream.checked_sub(1), timestamp.checked_sub(1)) {
            (Some(stream), _) => Some(Key::new(order, timestamp, stream, u32::MAX, u32::MAX)),
            (None, Some(timestamp)) => Some(Key::new(order, timestamp, u64::MAX, u32::MAX, u32::MAX)),
            (None, None) => None,
        },
        (Order::OldestFirst, n) => Some(nth(n - 1).unwrap_or(key(u32::MAX, u32::MAX))),
    }
}
