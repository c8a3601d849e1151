//! Counts: in all, by the values of names, by steps of time, or by both; of records, or of the
//! bytes of their lines.
//!
//! The cheapest source that answers: counts in the block directory, where a whole block is counted
//! and nothing is asked that they do not know; else the columns of the dimensions, by code, and
//! the columns of the filter. Bytes are summed from the lengths that the message column knows.
//! Records are never built.

mod buckets;
mod codes;
mod dimension;
mod interner;
mod seed;
mod tally;
mod weight;

use crate::budget::Budget;
use crate::error::QueryError;
use crate::plan::fetch::Need;
use crate::plan::{Place, Plan, Unit};
use crate::request::Aggregation;
use crate::statistics::Statistics;
pub(crate) use buckets::{Buckets, Grid};
use codes::UnitCodes;
pub(crate) use dimension::{Dimension, RowSide, StreamSide};
use serde::Serialize;
use std::sync::atomic::Ordering::Relaxed;
pub(crate) use tally::Tally;
use timberlog_filter::{ColumnSource, CompiledTest, Node, Target, Verdict};
use timberlog_segment::{BlockMeta, Column, ColumnKey};
use timberlog_storage::Snapshot;
use timberlog_types::{Error, Result, RowSet, TimeRange};
pub(crate) use weight::Weight;

use crate::source::{OpenSegment, mixed_up};

/// The number of records with one combination of values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The values of the names of `by`, in their order; `None` where a record has no such value.
    pub key: Vec<Option<String>>,
    /// Where the step of time begins, in ns; `None` if there are no steps.
    pub bucket: Option<i64>,
    /// The number of records, or of the bytes of their lines, whatever is counted.
    pub count: u64,
}

/// The answer of an aggregation: groups in order of bucket, then the largest first, then by key.
#[derive(Clone, Debug, Serialize)]
pub struct Groups {
    /// The groups that have records; without `by` and `step` one group, be it of 0 records.
    pub groups: Vec<Group>,
    /// What the query looked at.
    pub statistics: Statistics,
    /// What could not be read and so is not counted, for people.
    pub missing: Vec<String>,
}

/// Most names that records can be counted by.
const BY_MAX: usize = 16;

/// Counts records.
///
/// # Errors
/// `Invalid` if the filter is, for a step that is not positive or an answer of too many groups;
/// `Overloaded` if a limit ends the query.
pub fn aggregate(snapshot: &Snapshot, aggregation: &Aggregation) -> Result<Groups> {
    let budget = Budget::new(aggregation.limits).cancelled_by(&aggregation.cancel);
    let plan = Plan::new(snapshot, &aggregation.filter, aggregation.range, budget)?;
    let tally = count(&plan, &Question::new(aggregation)?)?;
    let mut groups = tally.groups(aggregation.step.is_some());
    // Inside, a record without a service has the empty one.
    for index in aggregation.by.iter().enumerate().filter(|(_, name)| *name == "service").map(|(index, _)| index) {
        for value in groups.iter_mut().filter_map(|group| group.key.get_mut(index)) {
            value.take_if(|text| text.is_empty());
        }
    }
    if groups.is_empty() && aggregation.by.is_empty() && aggregation.step.is_none() {
        groups.push(Group { key: Vec::new(), bucket: None, count: 0 });
    }
    groups.sort_unstable_by(|a, b| (a.bucket, b.count, &a.key).cmp(&(b.bucket, a.count, &b.key)));
    Ok(Groups { groups, statistics: plan.statistics(), missing: plan.budget.missing() })
}

/// Counts the records of a plan.
pub(crate) fn count(plan: &Plan, question: &Question) -> Result<Tally, QueryError> {
    let mut counted = Tally::new(question.groups_max);
    let mut unread: Vec<&Unit> = Vec::new();
    for unit in &plan.units {
        if question.is_known(plan, unit, &mut counted)? {
            plan.budget.blocks_from_counts.fetch_add(1, Relaxed);
            plan.budget.rows_matched.fetch_add(unit.rows as u64, Relaxed);
        } else {
            unread.push(unit);
        }
    }
    counted.check(&plan.budget)?;
    let columns =
        |open: &OpenSegment, block: &BlockMeta, keys: &mut Vec<ColumnKey>| question.columns(open, block, keys);
    plan.fetched(&unread, &Need::Columns(&columns), &mut |some| {
        counted.merge(count_units(plan, question, some)?);
        counted.check(&plan.budget)
    })?;
    Ok(counted)
}

/// Counts units by their columns.
fn count_units(plan: &Plan, question: &Question, units: &[&Unit]) -> Result<Tally, QueryError> {
    let start = || (Tally::new(question.groups_max), Scratch::default());
    let add = |(mut tally, mut scratch): (Tally, Scratch), unit: &&Unit| {
        question.count_unit(plan, unit, &mut tally, &mut scratch)?;
        tally.check(&plan.budget)?;
        Ok::<_, QueryError>((tally, scratch))
    };
    let merge = |(mut a, scratch): (Tally, Scratch), (b, _)| {
        a.merge(b);
        a.check(&plan.budget)?;
        Ok((a, scratch))
    };
    Ok(plan.budget.fold(units, start, add, merge)?.0)
}

/// What is counted by.
pub(crate) struct Question {
    /// Values.
    pub dimensions: Vec<Dimension>,
    /// Steps of time.
    pub step: Option<Buckets>,
    /// What a record counts for.
    pub weight: Weight,
    /// The most groups.
    pub groups_max: usize,
}

/// Memory that is used again from unit to unit.
#[derive(Default)]
pub(crate) struct Scratch {
    key: Vec<u8>,
    counts: Vec<u64>,
    codes: Vec<u64>,
    /// By row, what it counts for; of use if that is not 1.
    weights: Vec<u32>,
    sums: Vec<u64>,
}

impl Question {
    fn new(aggregation: &Aggregation) -> Result<Self, QueryError> {
        if aggregation.step.is_some_and(|step| step <= 0) {
            return Err(QueryError::Invalid("the step of an aggregation must be more than 0 ns".to_owned()));
        }
        if aggregation.by.len() > BY_MAX {
            return Err(QueryError::Invalid(format!("an aggregation can count by {BY_MAX} names at most")));
        }
        let dimensions = aggregation.by.iter().map(|name| Dimension::named(name)).collect::<Result<_, _>>()?;
        let step = aggregation.step.map(Buckets::Aligned);
        Ok(Self { dimensions, step, weight: Weight::Rows, groups_max: aggregation.groups_max })
    }

    /// The columns that counting a block reads, beside those of the filter.
    fn columns(&self, open: &OpenSegment, block: &BlockMeta, keys: &mut Vec<ColumnKey>) {
        if self.weight == Weight::LineBytes {
            keys.push(ColumnKey::Message);
        }
        if self.only_bucket(block.range).is_none() {
            keys.push(ColumnKey::Timestamp);
        }
        for dimension in self.dimensions.iter().filter(|dimension| dimension.constant(open, block).is_none()) {
            dimension.columns(open, block, keys);
        }
    }

    /// Counts a unit by what the directory says of its block; `false` if that does not answer.
    fn is_known(&self, plan: &Plan, unit: &Unit, tally: &mut Tally) -> Result<bool, QueryError> {
        let Some((open, block)) = plan.block(unit) else { return Ok(false) };
        Ok(unit.verdict == Verdict::Always && plan.is_whole(unit)? && self.count_known(open, block, tally))
    }

    /// Counts a whole block by what its directory says; `false` if that does not answer.
    fn count_known(&self, open: &OpenSegment, block: &BlockMeta, tally: &mut Tally) -> bool {
        // Its bytes are those of lines and fields together.
        if self.weight != Weight::Rows {
            return false;
        }
        let Some(bucket) = self.only_bucket(block.range) else { return false };
        // One dimension may vary, if the directory counts by it.
        let mut varying = None;
        let mut constants: Vec<Option<&[u8]>> = Vec::with_capacity(self.dimensions.len());
        for (index, dimension) in self.dimensions.iter().enumerate() {
            match dimension.constant(open, block) {
                Some(value) => constants.push(value),
                None if varying.is_none() && dimension.is_counted(open, block) => {
                    varying = Some(index);
                    constants.push(None);
                }
                None => return false,
            }
        }
        let mut key = Vec::new();
        let Some(index) = varying else {
            tally::encode(&mut key, bucket, constants.iter().copied());
            tally.add(&key, u64::from(block.rows));
            return true;
        };
        let Some(dimension) = self.dimensions.get(index) else { return false };
        dimension.counts(open, block, &mut |value, rows| {
            let values = constants.iter().enumerate().map(|(i, &constant)| if i == index { value } else { constant });
            tally::encode(&mut key, bucket, values);
            tally.add(&key, rows);
        });
        true
    }

    /// The name of the bucket that all times of a range belong to.
    fn only_bucket(&self, range: TimeRange) -> Option<i64> {
        let Some(step) = self.step else { return Some(0) };
        let number = step.number(range.start);
        (number == step.number(range.end)).then(|| step.name(number))
    }

    /// Counts one unit, from the directory if that answers.
    pub fn count_one(
        &self,
        plan: &Plan,
        unit: &Unit,
        tally: &mut Tally,
        scratch: &mut Scratch,
    ) -> Result<(), QueryError> {
        if self.is_known(plan, unit, tally)? { Ok(()) } else { self.count_unit(plan, unit, tally, scratch) }
    }

    fn count_unit(&self, plan: &Plan, unit: &Unit, tally: &mut Tally, scratch: &mut Scratch) -> Result<(), QueryError> {
        if self.weight == Weight::LineBytes {
            let Some(rows) = plan.rows(unit, plan.range)?.filter(|rows| !rows.is_empty()) else { return Ok(()) };
            return match weight::line_bytes(plan, unit, &rows, &mut scratch.weights) {
                Ok(()) => self.count_columns(plan, unit, &rows, tally, scratch),
                Err(error) => plan.miss(unit, &error),
            };
        }
        if self.dimensions.is_empty()
            && plan.is_whole(unit)?
            && let Some(bucket) = self.only_bucket(unit.range)
        {
            plan.budget.check()?;
            match count_messages(plan, unit) {
                Ok(Some(rows)) => {
                    tally::encode(&mut scratch.key, bucket, std::iter::empty());
                    tally.add(&scratch.key, rows);
                    plan.budget.rows_matched.fetch_add(rows, Relaxed);
                    return Ok(());
                }
                Ok(None) => {}
                Err(error) => return plan.miss(unit, &error),
            }
        }
        let Some(rows) = plan.rows(unit, plan.range)? else { return Ok(()) };
        if self.dimensions.is_empty() && self.step.is_none() {
            tally::encode(&mut scratch.key, 0, std::iter::empty());
            tally.add(&scratch.key, rows.count() as u64);
            return Ok(());
        }
        if let (None, [dimension], Some((open, block))) = (self.step, self.dimensions.as_slice(), plan.block(unit)) {
            let each = &mut |value: Option<&[u8]>, rows: u64| {
                tally::encode(&mut scratch.key, 0, std::iter::once(value));
                tally.add(&scratch.key, rows);
            };
            match dimension::count_by_dictionary(dimension, plan, open, block, &rows, each) {
                Ok(Some(())) => return Ok(()),
                Ok(None) => {}
                Err(error) => return plan.miss(unit, &error),
            }
        }
        self.count_columns(plan, unit, &rows, tally, scratch)
    }

    /// Counts rows by the columns of the dimensions.
    fn count_columns(
        &self,
        plan: &Plan,
        unit: &Unit,
        rows: &RowSet,
        tally: &mut Tally,
        scratch: &mut Scratch,
    ) -> Result<(), QueryError> {
        let codes = match &unit.place {
            Place::Batch(batch) => UnitCodes::of_batch(&self.dimensions, self.step, &batch.batch, rows),
            Place::Block { .. } => match plan.block(unit) {
                Some((open, block)) => UnitCodes::of_block(&self.dimensions, self.step, plan, open, block, rows),
                None => return Ok(()),
            },
        };
        match codes {
            Ok(codes) => {
                codes.count(rows, self.weight, tally, scratch);
                Ok(())
            }
            Err(error) => plan.miss(unit, &error),
        }
    }
}

/// Counts the rows of a whole block if nothing but one test of the message has to be asked: the
/// column can often tell without naming them.
fn count_messages(plan: &Plan, unit: &Unit) -> Result<Option<u64>> {
    let Some((open, block)) = plan.block(unit) else { return Ok(None) };
    let Some(test) = only_test(plan.filter.node(), open, block) else { return Ok(None) };
    let (Target::Message, Some(matcher)) = (test.target(), test.matcher()) else { return Ok(None) };
    if plan.judge_tokens(unit, open, block)? == Verdict::Never {
        plan.budget.blocks_pruned.fetch_add(1, Relaxed);
        return Ok(Some(0));
    }
    let source = open.source(&plan.budget);
    let column = source.column(block.number, ColumnKey::Message)?;
    let Column::Message(messages) = &*column else { return Err(mixed_up(block.number, ColumnKey::Message)) };
    let count = messages.count(matcher).map_err(|error| Error::corrupt(format!("block {}: {error}", block.number)))?;
    plan.budget.blocks_read.fetch_add(1, Relaxed);
    plan.budget.rows_scanned.fetch_add(unit.rows as u64, Relaxed);
    let count = if test.is_negated() { unit.rows.saturating_sub(count) } else { count };
    Ok(Some(count as u64))
}

/// The one test that is left to ask in a block; `None` if there are more.
fn only_test<'a>(node: &'a Node, open: &OpenSegment, block: &BlockMeta) -> Option<&'a CompiledTest> {
    let unknown = |part: &&Node| {
        let mut facts = |test: &CompiledTest| open.known.facts.judge(test, block, &mut |_, _| Verdict::Maybe);
        (*part).judge(&mut facts)
    };
    match node {
        Node::Test(test) => Some(test),
        Node::All | Node::None => None,
        Node::And(parts) | Node::Or(parts) => {
            let mut left = parts.iter().filter(|part| unknown(part) == Verdict::Maybe);
            match (left.next(), left.next()) {
                (Some(part), None) => only_test(part, open, block),
                _ => None,
            }
        }
    }
}

/// The values of a name in a range, most records first: for listings.
pub(crate) fn distinct(plan: &Plan, name: &str, groups_max: usize) -> Result<Vec<Group>, QueryError> {
    let question = Question { dimensions: vec![Dimension::named(name)?], step: None, weight: Weight::Rows, groups_max };
    count(plan, &question).map(|tally| tally.groups(false))
}
