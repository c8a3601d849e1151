//! Which labels and streams there are, and how much they hold, as Loki's index answers it.
//!
//! Answered from block directories and buffered batches. A range is taken by the block: what a
//! block holds that overlaps it belongs to the answer. Bytes are those of lines and fields, as
//! Loki's index counts chunks, taken of a block in proportion to its records: the directory knows
//! them, while the exact bytes of lines alone (`bytes_over_time`) take every message column.

use super::lower::{lower, selector_test};
use super::names::FieldNames;
use super::{Options, Stats, view};
use crate::aggregate::{Buckets, Dimension, Grid, Question, RowSide, Scratch, StreamSide, Tally, Weight};
use crate::budget::Budget;
use crate::error::QueryError;
use crate::labels::each_stream;
use crate::plan::{Place, Plan, Unit};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use timberlog_logql::Labels;
use timberlog_logql::ast::{LabelMatcher, LogExpr};
use timberlog_logql::evaluate::Windows;
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
    });
    plan.budget.check()
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
    });
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

/// What volumes are summed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VolumeBy {
    /// The labels of the streams.
    #[default]
    Series,
    /// Each label name alone.
    Labels,
}

/// Bytes of some streams, by window.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// What they have in common; for [`VolumeBy::Labels`] one label with an empty value is one name.
    pub name: String,
    /// The labels.
    pub labels: Labels,
    /// By window: when it ends, in ns, and bytes; without those that have none.
    pub bytes: Vec<(i64, u64)>,
}

/// Bytes by the labels of streams, the largest first; an estimate, as that of [`stats`].
///
/// `targets` are the labels that count; none means those that the matchers name. `windows` are
/// separate: their step is their range, or there is one.
pub fn volume(
    snapshot: &Snapshot,
    matchers: &[LabelMatcher],
    targets: &[String],
    by: VolumeBy,
    windows: Windows,
    options: &Options,
) -> Result<Vec<Volume>> {
    let steps = i64::try_from(windows.count.saturating_sub(1)).unwrap_or(i64::MAX);
    let range = TimeRange {
        start: windows.first_end_ns.saturating_sub(windows.range_ns).saturating_add(1),
        end: windows.first_end_ns.saturating_add(steps.saturating_mul(windows.step_ns)),
    };
    let expr = LogExpr { selector: matchers.to_vec(), stages: Vec::new() };
    let names = FieldNames::of(snapshot, range, options.derived);
    let lowered = lower(&expr, &names, options.derived)?;
    let plan = Plan::new(snapshot, &lowered.filter, range, Budget::new(options.limits).cancelled_by(&options.cancel))?;
    let mut counted: Vec<String> = match (targets.is_empty(), by) {
        (false, _) => targets.to_vec(),
        (true, VolumeBy::Series) => matchers.iter().map(|matcher| matcher.name.clone()).collect(),
        (true, VolumeBy::Labels) => label_names(snapshot, matchers, range, options)?,
    };
    counted.sort_unstable();
    counted.dedup();
    let grid = Grid::new(windows.first_end_ns, windows.step_ns, windows.range_ns, windows.count);
    let dimension = |name: &String| Dimension {
        stream: StreamSide::View { name: name.clone(), derived: options.derived },
        row: RowSide::None,
    };
    let sets: Vec<Vec<String>> = match by {
        VolumeBy::Series => vec![counted],
        VolumeBy::Labels => counted.into_iter().map(|name| vec![name]).collect(),
    };
    let mut volumes: BTreeMap<(String, Labels), BTreeMap<i64, u64>> = BTreeMap::new();
    for names in sets {
        let question = Question {
            dimensions: names.iter().map(dimension).collect(),
            step: Some(Buckets::Windows(grid)),
            weight: Weight::Rows,
            groups_max: options.series_max,
        };
        each_tally(&plan, &question, &mut |unit_bytes, unit_rows, tally| {
            for group in tally.groups(true) {
                let pairs = names.iter().zip(group.key).filter_map(|(name, value)| Some((name.clone(), value?)));
                let labels = Labels::new(pairs);
                if by == VolumeBy::Labels && labels.is_empty() {
                    continue;
                }
                let key = match by {
                    VolumeBy::Series => (String::new(), labels),
                    VolumeBy::Labels => (names.concat(), Labels::default()),
                };
                let window = windows
                    .first_end_ns
                    .saturating_add(grid.window_of(group.bucket.unwrap_or_default()).saturating_mul(windows.step_ns));
                *volumes.entry(key).or_default().entry(window).or_default() +=
                    share(unit_bytes, group.count, unit_rows);
            }
        })?;
    }
    let mut volumes: Vec<Volume> = volumes
        .into_iter()
        .map(|((name, labels), bytes)| Volume { name, labels, bytes: bytes.into_iter().collect() })
        .collect();
    let total = |volume: &Volume| volume.bytes.iter().map(|&(_, bytes)| bytes).sum::<u64>();
    volumes.sort_by_key(|volume| std::cmp::Reverse(total(volume)));
    Ok(volumes)
}

/// Counts unit by unit; tells the bytes and rows of each unit with its counts.
fn each_tally(plan: &Plan, question: &Question, each: &mut dyn FnMut(u64, u64, &Tally)) -> Result<(), QueryError> {
    let mut scratch = Scratch::default();
    for unit in &plan.units {
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

fn share(bytes: u64, rows: u64, of: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(rows) / u128::from(of.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}
