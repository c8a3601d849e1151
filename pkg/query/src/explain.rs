//! What a query would read, what it would leave out, and why.

use crate::budget::Budget;
use crate::error::QueryError;
use crate::plan::fetch::Need;
use crate::plan::{Plan, Unit, lookup};
use crate::request::Query;
use crate::scan::range_left;
use crate::source::OpenSegment;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use timberlog_filter::Verdict;
use timberlog_storage::{Segment, Snapshot};
use timberlog_types::Result;

/// One step of pruning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainStep {
    /// What decided: `partitions`, `segments`, `blocks`; within a segment `index ts`,
    /// `index level`, `index service`, `index` and the name of a user-defined one,
    /// `block directory`, `deletes and retention`, `token filters`.
    pub step: String,
    /// Why, for people.
    pub reason: String,
    /// What was left before.
    pub before: u64,
    /// What is left after.
    pub after: u64,
}

/// What happens to one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainSegment {
    /// The segment.
    pub id: String,
    /// The day of its partition.
    pub partition: String,
    /// The records in it.
    pub rows: u64,
    /// Why it is not looked at; `None` if it is.
    pub pruned: Option<String>,
    /// How its blocks are narrowed down.
    pub steps: Vec<ExplainStep>,
    /// The numbers of the blocks that are left.
    pub blocks: Vec<u32>,
    /// Deletes and rules of retention that may hide rows of these blocks: they are read, where counts
    /// of the index would answer otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hidden_by: Vec<String>,
}

/// What a query would read, what it would leave out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explain {
    /// The filter as it is run: normalised, the cheapest test first.
    pub filter: serde_json::Value,
    /// Partitions, then segments, then blocks: what was left after each step.
    pub steps: Vec<ExplainStep>,
    /// Each segment of the days that share a time with the range.
    pub segments: Vec<ExplainSegment>,
    /// Batches of the memory buffer in the range.
    pub batches: u64,
    /// Blocks that would be read at most; with a limit it may be fewer.
    pub blocks: u64,
    /// Records in these blocks and batches.
    pub rows: u64,
    /// Deletes and rules of retention that may hide some of these records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hidden_by: Vec<String>,
    /// Requests to the object store that the query would make, if it has to read all of these blocks and nothing more comes
    /// into the caches before: an estimate.
    pub object_gets: u64,
    /// Bytes that they would ask for.
    pub object_bytes: u64,
    /// What cannot be read, for people.
    pub missing: Vec<String>,
}

/// Plans a query and tells the plan; reads indexes and token filters, but no column.
///
/// # Errors
/// `Invalid` if the filter is, `Overloaded` if a limit ends it.
pub fn explain(snapshot: &Snapshot, query: &Query) -> Result<Explain> {
    let range = range_left(query.range, query.cursor.as_ref());
    let budget = Budget::new(query.limits).cancelled_by(&query.cancel);
    let plan = Plan::unsifted(snapshot, &query.filter, range, budget)?;
    let near = snapshot.segments.in_days_of(plan.range);
    let segments: Vec<ExplainSegment> =
        near.map(|segment| explain_segment(&plan, segment)).collect::<Result<_, QueryError>>()?;
    let (gets, bytes) = estimate(&plan, &segments);
    let blocks: u64 = segments.iter().map(|segment| segment.blocks.len() as u64).sum();
    let statistics = plan.statistics();
    let batches = plan.units.iter().filter(|unit| plan.block(unit).is_none() && unit.verdict != Verdict::Never);
    let buffered: (u64, u64) = batches.fold((0, 0), |(count, rows), unit| (count + 1, rows + unit.rows as u64));
    let days = |segments: &mut dyn Iterator<Item = &ExplainSegment>| {
        segments.map(|segment| segment.partition.as_str()).collect::<BTreeSet<_>>().len() as u64
    };
    let left = |segment: &&ExplainSegment| segment.pruned.is_none();
    let step = |step: &str, reason: &str, before, after| ExplainStep {
        step: step.to_owned(),
        reason: reason.to_owned(),
        before,
        after,
    };
    let mut steps = vec![
        step(
            "partitions",
            "days without a segment that can hold a match",
            snapshot.segments.partitions() as u64,
            days(&mut segments.iter().filter(left)),
        ),
        step(
            "segments",
            "time, levels and services of the manifest entry",
            snapshot.segments.len() as u64,
            segments.iter().filter(left).count() as u64,
        ),
        step("blocks", "indexes, block directory and token filters", statistics.blocks, blocks),
    ];
    if plan.range.start > range.start {
        let (asked, gone) = (|| snapshot.segments.in_days_of(range), plan.range.start);
        let (all, left) = (asked().count(), asked().filter(|segment| segment.entry.range.end >= gone).count());
        let from = timberlog_types::time::format_rfc3339(plan.range.start);
        let reason = format!("records before {from} have expired");
        steps.insert(0, step("retention", &reason, all as u64, left as u64));
    }
    let rows = segments.iter().flat_map(|segment| block_rows(&plan, segment)).sum::<u64>() + buffered.1;
    Ok(Explain {
        filter: plan.filter.to_filter().to_json(),
        steps,
        segments,
        batches: buffered.0,
        blocks,
        rows,
        object_gets: statistics.object_gets + gets,
        object_bytes: statistics.object_bytes + bytes,
        hidden_by: hidden_by(&plan, plan.units.iter()),
        missing: plan.budget.missing(),
    })
}

/// What reading the blocks that are left takes: an explanation has asked for indexes and token filters itself.
fn estimate(plan: &Plan, segments: &[ExplainSegment]) -> (u64, u64) {
    let left: HashMap<&str, &[u32]> = segments.iter().map(|segment| (segment.id.as_str(), &*segment.blocks)).collect();
    let is_left = |unit: &&Unit| {
        plan.block(unit).is_some_and(|(open, block)| {
            left.get(open.segment.entry.id.as_str()).is_some_and(|blocks| blocks.contains(&block.number))
        })
    };
    plan.estimate(&plan.units.iter().filter(is_left).collect::<Vec<_>>(), &Need::Block)
}

fn block_rows<'a>(plan: &'a Plan, segment: &'a ExplainSegment) -> impl Iterator<Item = u64> + 'a {
    let open = plan.segments.iter().find(|open| open.segment.entry.id == segment.id);
    segment.blocks.iter().filter_map(move |&number| open?.block(number).map(|block| u64::from(block.rows)))
}

fn explain_segment(plan: &Plan, segment: &Segment) -> Result<ExplainSegment, QueryError> {
    let entry = &segment.entry;
    let mut explained = ExplainSegment {
        id: entry.id.clone(),
        partition: segment.day.to_string(),
        rows: entry.rows,
        pruned: plan.judge_segment(segment).map(Cow::into_owned),
        steps: Vec::new(),
        blocks: Vec::new(),
        hidden_by: Vec::new(),
    };
    if explained.pruned.is_some() {
        return Ok(explained);
    }
    let Some(open) = plan.segments.iter().find(|open| open.segment.entry.id == entry.id) else {
        explained.pruned = Some("it cannot be read".to_owned());
        return Ok(explained);
    };
    let mut left = open.directory().blocks.len() as u64;
    let looked_up = lookup::run(open, &plan.filter, plan.range, &mut |lookup| {
        let step = ExplainStep { step: lookup.index, reason: lookup.reason, before: left, after: lookup.left };
        left = step.after;
        explained.steps.push(step);
    });
    if let Err(error) = looked_up {
        let reason = format!("left out, the block directory answers: {error}");
        left = open.directory().blocks.len() as u64;
        explained.steps = vec![ExplainStep { step: "index".to_owned(), reason, before: left, after: left }];
    }
    let units: Vec<&Unit> =
        plan.units.iter().filter(|unit| plan.block(unit).is_some_and(|(of, _)| std::ptr::eq(of, open))).collect();
    let (hidden, after) = (open.blocks_hidden, units.len() as u64);
    explained.steps.push(ExplainStep {
        step: "block directory".to_owned(),
        reason: "time, streams, services, levels and fields of each block".to_owned(),
        before: left,
        after: after + hidden,
    });
    if hidden > 0 {
        let names: BTreeSet<&str> = open
            .hides()
            .numbers()
            .filter(|&number| plan.is_asked_hide(number))
            .filter_map(|number| plan.hide_name(number))
            .collect();
        explained.steps.push(ExplainStep {
            step: "deletes and retention".to_owned(),
            reason: format!("every record is hidden by {}", names.into_iter().collect::<Vec<_>>().join(", ")),
            before: after + hidden,
            after,
        });
    }
    explained.hidden_by = hidden_by(plan, units.iter().copied());
    for unit in plan.sift(&units)? {
        plan.budget.check()?;
        if may_match(plan, open, unit)? {
            explained.blocks.extend(plan.block(unit).map(|(_, block)| block.number));
        }
    }
    explained.steps.push(ExplainStep {
        step: "token filters".to_owned(),
        reason: "no such word in a message, no such value of a field".to_owned(),
        before: after,
        after: explained.blocks.len() as u64,
    });
    Ok(explained)
}

/// The names of what may hide rows of some units.
fn hidden_by<'a>(plan: &Plan, units: impl Iterator<Item = &'a Unit>) -> Vec<String> {
    let numbers: BTreeSet<u32> = units.flat_map(|unit| unit.hides.iter().copied()).collect();
    numbers.into_iter().filter_map(|number| plan.hide_name(number)).map(str::to_owned).collect()
}

fn may_match(plan: &Plan, open: &OpenSegment, unit: &Unit) -> Result<bool, QueryError> {
    let Some((_, block)) = plan.block(unit) else { return Ok(true) };
    if unit.verdict == Verdict::Always {
        return Ok(true);
    }
    Ok(plan.judge_tokens(unit, open, block)? != Verdict::Never)
}
