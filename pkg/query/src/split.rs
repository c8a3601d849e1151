//! A question in two parts: the records that are here, and the cold segments that whoever asks reads himself.
//!
//! Both parts are in the order of the question, and each record comes with its [`Rank`]; merged by these they are what
//! one answer over all of it would be, in the same order.

use crate::budget::Budget;
use crate::error::QueryError;
use crate::plan::{Place, Plan};
use crate::record::Record;
use crate::request::{Order, Query};
use crate::scan::{page_ranked, range_left};
use crate::{Page, Statistics};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use timberlog_storage::segment::Gathered;
use timberlog_storage::{Segment, Snapshot};
use timberlog_types::{Error, ErrorKind, Result, Seq};

/// Where a record stands among those of one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// ns since 1970 UTC.
    pub timestamp: i64,
    /// The hash of its stream.
    pub stream: u64,
    /// The lowest sequence number of the segment or batch that it is in; records of equal time and stream in one of them
    /// stand side by side.
    pub seq: Seq,
}

impl Rank {
    /// Whether a record comes before another one; of equals neither does.
    pub fn is_before(self, other: Self, order: Order) -> bool {
        match order {
            Order::NewestFirst => self > other,
            Order::OldestFirst => self < other,
        }
    }
}

/// A page of records with their ranks.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// The page.
    pub page: Page,
    /// The ranks of its records.
    pub ranks: Vec<Rank>,
}

/// A cold segment that may hold records of the answer.
pub struct ColdPart {
    /// The segment.
    pub segment: Arc<Segment>,
    /// The ranges of its `.log` that are left to read at most, token filters apart.
    pub ranges: Vec<Range<u64>>,
}

/// The two parts.
pub struct Split {
    /// What is here.
    pub hot: Ranked,
    /// What somebody else reads, by partition and in order of sequence.
    pub cold: Vec<ColdPart>,
}

/// Answers a question but for cold segments. `cold` names those that are left out, as an earlier split of the same
/// question did; without it these are all that `is_readable` by whoever asks.
///
/// # Errors
/// `Conflict` if one of `cold` is not there any more: ask anew. What [`crate::page`] says.
pub fn split(
    snapshot: &Snapshot,
    query: &Query,
    cold: Option<&[String]>,
    is_readable: &dyn Fn(&Segment) -> bool,
) -> Result<Split> {
    let is_cold = |segment: &Segment| match cold {
        Some(ids) => ids.iter().any(|id| *id == segment.entry.id),
        None => segment.is_cold() && is_readable(segment),
    };
    let (mut hot, mut there) = (snapshot.clone(), snapshot.clone());
    hot.segments = Arc::new(snapshot.segments.only(&|segment| !is_cold(segment)));
    there.segments = Arc::new(snapshot.segments.only(&is_cold));
    there.batches.clear();
    if let Some(ids) = cold.filter(|ids| ids.len() > there.segments.len()) {
        let gone = ids.iter().find(|id| !there.segments.iter().any(|segment| segment.entry.id == **id));
        let gone = gone.map_or("?", String::as_str);
        return Err(Error::new(ErrorKind::Conflict, format!("segment `{gone}` was replaced since: ask anew")));
    }
    let mut ranked = page_ranked(&hot, query)?;
    let range = range_left(query.range, query.cursor.as_ref());
    let plan = Plan::new(&there, &query.filter, range, Budget::new(query.limits).cancelled_by(&query.cancel))?;
    let mut parts: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for unit in &plan.units {
        if let Place::Block { segment, number } = &unit.place {
            parts.entry(*segment).or_default().push(*number);
        }
    }
    let part = |(index, blocks): (usize, Vec<u32>)| {
        let open = plan.segments.get(index)?;
        let gathered = Gathered::blocks(blocks.iter().filter_map(|&number| open.block(number)));
        Some(ColdPart { segment: Arc::clone(&open.segment), ranges: gathered.ranges })
    };
    let cold = parts.into_iter().filter_map(part).collect();
    let statistics: &mut Statistics = &mut ranked.page.statistics;
    statistics.add(&Statistics { elapsed_ns: 0, ..plan.statistics() });
    for what in plan.budget.missing() {
        if !ranked.page.missing.contains(&what) {
            ranked.page.missing.push(what);
        }
    }
    Ok(Split { hot: ranked, cold })
}

/// Gives records of two parts, each in order, in the order of the question.
pub struct Merge<'a> {
    order: Order,
    parts: [Part<'a>; 2],
}

/// Gives the page that follows a cursor; the first one without.
pub type NextPage<'a> = Box<dyn FnMut(Option<crate::Cursor>) -> Result<Ranked> + 'a>;

struct Part<'a> {
    next_page: NextPage<'a>,
    /// Where the next page begins, if there may be one.
    next: Option<Option<crate::Cursor>>,
    records: std::vec::IntoIter<(Rank, Record)>,
    missing: Vec<String>,
}

impl<'a> Merge<'a> {
    /// Of two sources of pages.
    pub fn new(order: Order, a: NextPage<'a>, b: NextPage<'a>) -> Self {
        let part =
            |next_page| Part { next_page, next: Some(None), records: Vec::new().into_iter(), missing: Vec::new() };
        Self { order, parts: [part(a), part(b)] }
    }

    /// What could not be read so far, sorted.
    pub fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> = self.parts.iter().flat_map(|part| part.missing.clone()).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// The next record.
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        for part in &mut self.parts {
            part.fill()?;
        }
        let [a, b] = &mut self.parts;
        let rank = |part: &Part<'_>| part.records.as_slice().first().map(|(rank, _)| *rank);
        let from = match (rank(a), rank(b)) {
            (Some(of_a), Some(of_b)) if of_b.is_before(of_a, self.order) => b,
            (None, _) => b,
            _ => a,
        };
        Ok(from.records.next().map(|(_, record)| record))
    }
}

impl Part<'_> {
    fn fill(&mut self) -> Result<()> {
        while self.records.as_slice().is_empty() {
            let Some(cursor) = self.next.take() else { return Ok(()) };
            let Ranked { page, ranks } = (self.next_page)(cursor)?;
            if ranks.len() != page.records.len() {
                return Err(QueryError::Cursor("of a page whose records have no ranks").into());
            }
            self.missing.extend(page.missing);
            self.next = page.next.map(Some);
            self.records = ranks.into_iter().zip(page.records).collect::<Vec<_>>().into_iter();
        }
        Ok(())
    }
}
