//! The segments of one tenant as queries see them, by partition: a query of one day of ten years
//! looks at that day alone, and a commit makes anew what it changed and nothing else.

use crate::manifest::{MonthNode, Months, Partition, SegmentEntry};
use crate::segment::Segment;
use crate::view::Opener;
use std::collections::BTreeMap;
use std::sync::Arc;
use timberlog_types::{Day, Result, TimeRange};

/// The segments of a tenant.
#[derive(Clone, Default)]
pub struct Segments {
    /// Of each day in order of sequence; no day without segments.
    days: BTreeMap<Day, Arc<[Arc<Segment>]>>,
    len: usize,
}

impl Segments {
    /// The number of segments.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of days that have segments.
    pub fn partitions(&self) -> usize {
        self.days.len()
    }

    /// All segments, by day and in order of sequence within one.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.days.values().flat_map(|segments| segments.iter())
    }

    /// The segments of the days that share a time with `range`, in the same order.
    pub fn in_days_of(&self, range: TimeRange) -> impl Iterator<Item = &Arc<Segment>> {
        let days = if range.is_empty() { None } else { Some(Day::of(range.start)..=Day::of(range.end)) };
        days.into_iter().flat_map(|days| self.days.range(days)).flat_map(|(_, segments)| segments.iter())
    }

    /// Those that `is_wanted` tells.
    pub fn only(&self, is_wanted: &dyn Fn(&Segment) -> bool) -> Self {
        let mut some = Self::default();
        for (day, segments) in &self.days {
            let wanted: Vec<_> = segments.iter().filter(|segment| is_wanted(segment)).cloned().collect();
            some.set(*day, wanted);
        }
        some
    }

    /// Handles of segments of one tenant, in any order.
    pub(crate) fn of(entries: Vec<(Day, SegmentEntry)>, opener: &Opener) -> Result<Self> {
        let mut days: BTreeMap<Day, Vec<Arc<Segment>>> = BTreeMap::new();
        for (number, (day, entry)) in (0_u64..).zip(entries) {
            let segment = Segment::new(opener, number, day, Arc::new(entry))?;
            days.entry(day).or_default().push(Arc::new(segment));
        }
        let mut all = Self::default();
        for (day, mut segments) in days {
            segments.sort_by_key(|segment| segment.entry.seq_min);
            all.set(day, segments);
        }
        Ok(all)
    }

    /// Follows a commit: days that it changed get their segments anew, a segment that stays as it is
    /// keeps its handle. `next_number` counts the handles made.
    pub(crate) fn follow(
        &mut self,
        before: Option<&Months>,
        after: &Months,
        opener: &Opener,
        next_number: &mut u64,
    ) -> Result<()> {
        let old = |month| before.and_then(|months| months.get(month));
        let gone = before.into_iter().flatten().filter(|(month, _)| !after.contains_key(month));
        for (_, node) in gone {
            node.partitions.keys().for_each(|day| self.set(*day, Vec::new()));
        }
        for (month, node) in after {
            let before: Option<&Arc<MonthNode>> = old(month);
            if before.is_some_and(|before| Arc::ptr_eq(before, node)) {
                continue;
            }
            let days_before = before.map(|before| &before.partitions);
            for day in days_before.into_iter().flat_map(|days| days.keys()) {
                if !node.partitions.contains_key(day) {
                    self.set(*day, Vec::new());
                }
            }
            for (day, partition) in &node.partitions {
                let is_same = days_before.and_then(|days| days.get(day)).is_some_and(|old| Arc::ptr_eq(old, partition));
                if !is_same {
                    let segments = self.handles(*day, partition, opener, next_number)?;
                    self.set(*day, segments);
                }
            }
        }
        Ok(())
    }

    fn handles(
        &self,
        day: Day,
        partition: &Partition,
        opener: &Opener,
        next_number: &mut u64,
    ) -> Result<Vec<Arc<Segment>>> {
        let old = self.days.get(&day);
        let handle =
            |entry| old.into_iter().flat_map(|old| old.iter()).find(|segment| Arc::ptr_eq(&segment.entry, entry));
        let mut segments = Vec::with_capacity(partition.segments.len());
        for entry in &partition.segments {
            segments.push(match handle(entry) {
                Some(segment) => Arc::clone(segment),
                None => {
                    *next_number += 1;
                    Arc::new(Segment::new(opener, *next_number, day, Arc::clone(entry))?)
                }
            });
        }
        Ok(segments)
    }

    fn set(&mut self, day: Day, segments: Vec<Arc<Segment>>) {
        self.len += segments.len();
        let before = if segments.is_empty() { self.days.remove(&day) } else { self.days.insert(day, segments.into()) };
        self.len -= before.map_or(0, |before| before.len());
    }
}

impl std::fmt::Debug for Segments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
