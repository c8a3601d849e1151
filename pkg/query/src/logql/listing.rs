//! Which labels and streams there are, and how much they hold, as Loki's index answers it.
//!
//! Answered from block directories and buffered batches. A range is taken by the block: what a
//! block holds that overlaps it belongs to the answer. Bytes are those of lines and fields, as
//! Loki's index counts chunks, taken of a block in proportion to its records: the directory knows
//! them, while the exact bytes of lines alone (`bytes_over_time`) take every message column.

use super::lower::selector_test;
use super::{Options, Stats, view};
use crate::aggregate::{Question, Scratch, Tally, Weight};
use crate::budget::Budget;
use crate::error::QueryError;
use crate::labels::each_stream;
use crate::plan::{Place, Plan, Unit};
use std::borrow::Cow;
use std::collections::BTreeSet;
use timberlog_logql::Labels;
use timberlog_logql::ast::LabelMatcher;
use timberlog_storage::Snapshot;
use timberlog_types::{Result, StreamRef, TimeRange};

/// The names of stream labels, sorted: of the streams that a selector lets through.
pub fn label_names(
    snapshot: &Snapshot,
    matchers: &[LabelMatcher],
    range: TimeRange,
    options: &Options,
) -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    each_matching(snapshot, matchers, range, options, &mut |labels| {
        for (name, _) in labels {
            if !names.contains(&**name) {
                names.insert(name.clone().into_owned());
            }
        }
    })?;
    Ok(names.into_iter().collect())
}

/// The values of a stream label, sorted: of the streams that a selector lets through.
pub fn label_values(
    snapshot: &Snapshot,
    name: &str,
    matchers: &[LabelMatcher],
    range: TimeRange,
    options: &Options,
) -> Result<Vec<String>> {
    let mut values = BTreeSet::new();
    each_matching(snapshot, matchers, range, options, &mut |labels| {
        for (_, value) in labels.iter().filter(|(label, _)| label == name) {
            if !values.contains(*value) {
                values.insert((*value).to_owned());
            }
        }
    })?;
    Ok(values.into_iter().collect())
}

/// The streams that any of the selectors lets through, sorted; all if there is no selector.
pub fn series(
    snapshot: &Snapshot,
    selectors: &[Vec<LabelMatcher>],
    range: TimeRange,
    options: &Options,
) -> Result<Vec<Labels>> {
    let mut found = BTreeSet::new();
    let all = [Vec::new()];
    for matchers in if selectors.is_empty() { &all } else { selectors } {
        each_matching(snapshot, matchers, range, options, &mut |labels| {
            found.insert(Labels::new(labels.iter().map(|(name, value)| (name.to_string(), (*value).to_owned()))));
        })?;
    }
    Ok(found.into_iter().collect())
}

/// The labels of a stream as LogQL sees them, sorted by name.
type ViewLabels<'a> = [(Cow<'a, str>, &'a str)];

fn each_matching(
    snapshot: &Snapshot,
    matchers: &[LabelMatcher],
    range: TimeRange,
    options: &Options,
    each: &mut dyn FnMut(&ViewLabels<'_>),
) -> Result<(), QueryError> {
    let filter = super::lower::selector(matchers, options.derived)?;
    let test = selector_test(matchers, options.derived)?;
    let plan = Plan::new(snapshot, &filter, range, Budget::new(options.limits).cancelled_by(&options.cancel))?;
    each_stream(&plan, &mut |stream: StreamRef<'_>| {
        if test(stream) {
            let mut labels = Vec::new();
            view::labels(stream, options.derived, &mut labels);
            each(&labels);
        }
    })
}

/// How much a selector finds; the line filters of the query are of no account. Bytes are an
/// estimate: the share of each block's bytes that its matching records have.
pub fn stats(snapshot: &Snapshot, matchers: &[LabelMatcher], range: TimeRange, options: &Options) -> Result<Stats> {
    let filter = super::lower::selector(matchers, options.derived)?;
    let plan = Plan::new(snapshot, &filter, range, Budget::new(options.limits).cancelled_by(&options.cancel))?;
    let test = selector_test(matchers, options.derived)?;
    let mut streams = BTreeSet::new();
    each_stream(&plan, &mut |stream| {
        if test(stream) {
            streams.insert(stream.hash());
        }
    })?;
    let mut stats = Stats { streams: streams.len() as u64, ..Stats::default() };
    let question = Question { dimensions: Vec::new(), step: None, weight: Weight::Rows, groups_max: 1 };
    each_tally(&plan, &question, &mut |unit_bytes, unit_rows, tally| {
        let rows: u64 = tally.groups(false).iter().map(|group| group.count).sum();
        if rows > 0 {
            stats.chunks += 1;
            stats.entries += rows;
            stats.bytes += share(unit_bytes, rows, unit_rows);
        }
    })?;
    Ok(stats)
}

/// Counts unit by unit; tells the bytes and rows of each unit with its counts.
pub(super) fn each_tally(
    plan: &Plan,
    question: &Question,
    each: &mut dyn FnMut(u64, u64, &Tally),
) -> Result<(), QueryError> {
    let mut scratch = Scratch::default();
    for unit in &plan.units {
        plan.budget.check()?;
        let mut tally = Tally::new(question.groups_max);
        question.count_one(plan, unit, &mut tally, &mut scratch)?;
        tally.check(&plan.budget)?;
        each(bytes_of(plan, unit), unit.rows as u64, &tally);
    }
    Ok(())
}

/// Bytes of the lines and fields of a unit.
fn bytes_of(plan: &Plan, unit: &Unit) -> u64 {
    match (&unit.place, plan.block(unit)) {
        (_, Some((_, block))) => block.raw_bytes,
        (Place::Batch(batch), _) => {
            let fields: usize = batch.batch.fields().map(|field| field.text_bytes()).sum();
            (batch.batch.messages().len() + fields) as u64
        }
        _ => 0,
    }
}

/// The share of a unit's bytes that some of its rows have.
pub(super) fn share(bytes: u64, rows: u64, of: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(rows) / u128::from(of.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}
