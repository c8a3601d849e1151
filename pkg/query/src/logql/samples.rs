//! Range aggregations: the leaves of metric queries.
//!
//! Lines that are only counted, or their bytes summed, by labels that are stored, are counted by
//! the columns and the index ([`crate::aggregate`]), without being looked at. Other lines run
//! through the pipeline.

use super::Options;
use super::feed::Residual;
use super::lower::{Lowered, in_whole, lower, refuse_malformed, without_idle_formats};
use super::names::{FieldNames, Meaning};
use crate::aggregate::{self, Buckets, Dimension, Grid, Question, Weight};
use crate::budget::Budget;
use crate::error::QueryError;
use crate::plan::fetch::Need as Fetched;
use crate::plan::{Plan, Unit};
use crate::request::QueryLimits;
use crate::statistics::Statistics;
use std::collections::HashMap;
use std::time::Instant;
use timberlog_logql::ast::{Grouping, LogExpr, RangeAggregation, RangeOp, Stage};
use timberlog_logql::evaluate::{LeafSeries, Leaves, Samples, Windows};
use timberlog_logql::{Empties, Labels, Pipeline, Runner, Wanted, keeps_empty};
use timberlog_storage::Snapshot;
use timberlog_types::TimeRange;

/// Most labels that the columns count by.
const DIMENSIONS_MAX: usize = 16;
/// Bytes that a series takes in memory beside its labels and samples.
const SERIES_BYTES: usize = 96;

/// The leaves of metric queries over a snapshot.
pub(crate) struct SnapshotLeaves<'a> {
    snapshot: &'a Snapshot,
    options: &'a Options,
    started: Instant,
    /// What all leaves so far have looked at.
    pub statistics: Statistics,
    /// What could not be read.
    pub missing: Vec<String>,
}

impl<'a> SnapshotLeaves<'a> {
    pub fn new(snapshot: &'a Snapshot, options: &'a Options) -> Self {
        Self { snapshot, options, started: Instant::now(), statistics: Statistics::default(), missing: Vec::new() }
    }

    /// The limits that are left after earlier leaves.
    fn limits_left(&self) -> QueryLimits {
        let limits = self.options.limits;
        QueryLimits {
            time: limits.time.saturating_sub(self.started.elapsed()),
            bytes: limits.bytes.saturating_sub(self.statistics.bytes_read),
            ..limits
        }
    }

    fn finish(&mut self, plan: &Plan) {
        self.statistics.add(&plan.statistics());
        self.missing.extend(plan.budget.missing());
        self.missing.sort_unstable();
        self.missing.dedup();
    }
}

impl Leaves for SnapshotLeaves<'_> {
    type Error = QueryError;

    fn series(
        &mut self,
        leaf: &RangeAggregation,
        grouping: Option<&Grouping>,
        windows: &Windows,
    ) -> Result<Vec<LeafSeries>, QueryError> {
        let range = range_of(windows);
        let derived = self.options.derived;
        let budget = Budget::new(self.limits_left()).cancelled_by(&self.options.cancel);
        let names = FieldNames::of(self.snapshot, range, derived, &budget);
        let log = LogExpr {
            selector: leaf.log.selector.clone(),
            stages: if is_bytes(leaf) { leaf.log.stages.clone() } else { without_idle_formats(&leaf.log.stages) },
        };
        let lowered = lower(&log, &names, derived).map_err(|error| in_whole(error, &log))?;
        let plan = Plan::new(self.snapshot, &lowered.filter, range, budget)?;
        let series = match counted_by(leaf, grouping, &lowered, &names) {
            Some(dimensions) => {
                // They are not run, and malformed all the same.
                lowered.stages.iter().try_for_each(refuse_malformed).map_err(|error| in_whole(error, &log))?;
                let weight = if is_bytes(leaf) { Weight::LineBytes } else { Weight::Rows };
                count(&plan, dimensions, weight, windows, self.options.series_max)?
            }
            None => {
                scan(&plan, leaf, grouping, &lowered, windows, self.options).map_err(|error| in_whole(error, &log))?
            }
        };
        self.finish(&plan);
        Ok(series)
    }

    fn check(&mut self) -> Result<(), QueryError> {
        Budget::new(self.limits_left()).cancelled_by(&self.options.cancel).check()
    }
}

/// The times of all windows.
fn range_of(windows: &Windows) -> TimeRange {
    let steps = i64::try_from(windows.count.saturating_sub(1)).unwrap_or(i64::MAX);
    TimeRange {
        start: windows.first_end_ns.saturating_sub(windows.range_ns).saturating_add(1),
        end: windows.first_end_ns.saturating_add(steps.saturating_mul(windows.step_ns)),
    }
}

/// Whether a leaf counts lines or bytes, rather than looking at values.
fn is_total(leaf: &RangeAggregation) -> bool {
    let counts = matches!(
        leaf.op,
        RangeOp::CountOverTime | RangeOp::Rate | RangeOp::BytesOverTime | RangeOp::BytesRate | RangeOp::AbsentOverTime
    );
    counts && leaf.unwrap.is_none()
}

fn is_bytes(leaf: &RangeAggregation) -> bool {
    matches!(leaf.op, RangeOp::BytesOverTime | RangeOp::BytesRate)
}

/// By what columns a leaf can be counted; `None` if lines have to be looked at.
fn counted_by(
    leaf: &RangeAggregation,
    grouping: Option<&Grouping>,
    lowered: &Lowered,
    names: &FieldNames<'_>,
) -> Option<Vec<Dimension>> {
    let grouping = grouping.filter(|grouping| !grouping.without && grouping.names.len() <= DIMENSIONS_MAX)?;
    if !is_total(leaf) {
        return None;
    }
    // A parser whose labels nobody looks at is not run, as in Loki. Bytes are those of the line as
    // it is stored only if no stage can change it.
    let changes_nothing = |stage: &Stage| {
        grouping.names.is_empty()
            && (matches!(
                stage,
                Stage::Json(_)
                    | Stage::Logfmt { .. }
                    | Stage::Regexp(_)
                    | Stage::Pattern(_)
                    | Stage::Drop(_)
                    | Stage::Keep(_)
            ) || matches!(stage, Stage::Unpack | Stage::Decolorize) && !is_bytes(leaf))
    };
    if !lowered.stages.iter().all(changes_nothing) {
        return None;
    }
    let meaning = |name: &String| match names.meaning(name) {
        Meaning::Column(dimension) => Some(dimension),
        Meaning::Unclear => None,
    };
    let mut unique: Vec<&String> = grouping.names.iter().collect();
    unique.sort_unstable();
    unique.dedup();
    unique.into_iter().map(meaning).collect()
}

/// Counts lines or their bytes by columns.
fn count(
    plan: &Plan,
    dimensions: Vec<Dimension>,
    weight: Weight,
    windows: &Windows,
    series_max: usize,
) -> Result<Vec<LeafSeries>, QueryError> {
    let grid = Grid::new(windows.first_end_ns, windows.step_ns, windows.range_ns, windows.count);
    let names: Vec<String> = dimensions.iter().map(|dimension| dimension.view_name().to_owned()).collect();
    let question = Question { dimensions, step: Some(Buckets::Windows(grid)), weight, groups_max: usize::MAX };
    let tally = aggregate::count(plan, &question)?;
    let mut series: HashMap<Vec<Option<String>>, Vec<(i64, u64)>> = HashMap::new();
    for mut group in tally.groups(true) {
        // No value and an empty one are the same label.
        group.key.iter_mut().for_each(|value| drop(value.take_if(|text| text.is_empty())));
        series.entry(group.key).or_default().push((group.bucket.unwrap_or_default(), group.count));
        if series.len() > series_max {
            return Err(QueryError::Series { limit: series_max });
        }
    }
    let leaf = |(key, mut counts): (Vec<Option<String>>, Vec<(i64, u64)>)| {
        counts.sort_unstable();
        let pairs = names.iter().zip(key).filter_map(|(name, value)| Some((name.clone(), value?)));
        LeafSeries { labels: Labels::new(pairs), samples: totals(&counts, grid, windows.count) }
    };
    Ok(series.into_iter().map(leaf).collect())
}

/// Sums buckets, sorted by number, to windows.
fn totals(buckets: &[(i64, u64)], grid: Grid, count: usize) -> Samples {
    let (mut from, mut to, mut sum) = (0, 0, 0_u64);
    let total = |index| {
        let (low, high) = grid.of_window(index);
        while let Some(&(_, count)) = buckets.get(to).filter(|(number, _)| *number <= high) {
            sum += count;
            to += 1;
        }
        while let Some(&(_, count)) = buckets.get(from).filter(|(number, _)| from < to && *number < low) {
            sum -= count;
            from += 1;
        }
        // Lines without bytes are lines too.
        (from < to).then_some(sum as f64)
    };
    Samples::Totals((0..count).map(total).collect())
}

/// The samples of one series in one unit.
#[derive(Default)]
struct Found {
    /// Bucket and total; a bucket may stand here several times.
    totals: Vec<(i64, u64)>,
    points: Vec<(i64, f64)>,
}

impl Found {
    /// Beside the series itself.
    fn memory_bytes(&self) -> usize {
        (self.totals.len() + self.points.len()) * 16
    }
}

/// Runs lines through the pipeline.
fn scan(
    plan: &Plan,
    leaf: &RangeAggregation,
    grouping: Option<&Grouping>,
    lowered: &Lowered,
    windows: &Windows,
    options: &Options,
) -> Result<Vec<LeafSeries>, QueryError> {
    let wanted = match grouping {
        Some(grouping) if !grouping.without => Wanted::Names(grouping.names.clone()),
        _ => Wanted::All,
    };
    let pipeline = || {
        Pipeline::new(&lowered.stages, leaf.unwrap.as_ref(), wanted.clone())
            .map_err(|error| QueryError::Stage(error.to_string()))
    };
    let first = pipeline()?;
    // An error names all labels of its line.
    let with_error = match first.metadata_needed() {
        Wanted::All => None,
        Wanted::Names(_) => Some(pipeline()?.with_all_metadata()),
    };
    let residual = |pipeline: Pipeline| Residual {
        pipeline: pipeline.into(),
        line: is_bytes(leaf) || lowered.needs_line(),
        derived: options.derived,
        now_ns: options.now_ns,
    };
    let grid = Grid::new(windows.first_end_ns, windows.step_ns, windows.range_ns, windows.count);
    let how = How {
        residual: residual(first),
        with_error: with_error.map(residual),
        grouping,
        empties: if keeps_empty(leaf, grouping) { Empties::Keep } else { Empties::Drop },
        grid,
        is_total: is_total(leaf),
        is_bytes: is_bytes(leaf),
        options,
    };
    let mut units: Vec<HashMap<Box<[u8]>, Found>> = Vec::new();
    plan.fetched(&plan.units.iter().collect::<Vec<_>>(), &Fetched::Block, &mut |some| {
        units.extend(plan.budget.each(some, |unit| how.unit(plan, unit))?);
        Ok(())
    })?;
    // In the order of the units, so that samples of equal time stand in their order of arrival.
    let mut all: HashMap<Box<[u8]>, Found> = HashMap::new();
    for (key, found) in units.into_iter().flatten() {
        let series = all.entry(key).or_default();
        series.totals.extend(found.totals);
        series.points.extend(found.points);
        if all.len() > options.series_max {
            return Err(QueryError::Series { limit: options.series_max });
        }
    }
    let leaf = |(key, mut found): (Box<[u8]>, Found)| {
        found.totals.sort_unstable();
        found.points.sort_by_key(|&(time, _)| time);
        let samples =
            if how.is_total { totals(&found.totals, grid, windows.count) } else { Samples::Points(found.points) };
        LeafSeries { labels: Runner::key_labels(&key), samples }
    };
    Ok(all.into_iter().map(leaf).collect())
}

/// How lines become samples.
struct How<'a> {
    residual: Residual,
    /// The same with all metadata, for units where a line has an error; none if it has all.
    with_error: Option<Residual>,
    grouping: Option<&'a Grouping>,
    empties: Empties,
    grid: Grid,
    is_total: bool,
    is_bytes: bool,
    options: &'a Options,
}

impl How<'_> {
    fn unit(&self, plan: &Plan, unit: &Unit) -> Result<HashMap<Box<[u8]>, Found>, QueryError> {
        let mut failed = false;
        let series = self.unit_by(&self.residual, plan, unit, &mut failed)?;
        match &self.with_error {
            Some(residual) if failed => self.unit_by(residual, plan, unit, &mut failed),
            _ => Ok(series),
        }
    }

    /// Notes whether a line had an error.
    fn unit_by(
        &self,
        residual: &Residual,
        plan: &Plan,
        unit: &Unit,
        failed: &mut bool,
    ) -> Result<HashMap<Box<[u8]>, Found>, QueryError> {
        let mut series: HashMap<Box<[u8]>, Found> = HashMap::new();
        let Some(rows) = plan.rows(unit, plan.range)? else { return Ok(series) };
        let buckets = Buckets::Windows(self.grid);
        let mut key = Vec::new();
        let mut unchecked = 0_u32;
        let read = residual.run(plan, unit, &rows, &mut |row, runner| {
            *failed |= runner.error().is_some();
            unchecked += 1;
            if unchecked.is_multiple_of(1024) {
                plan.budget.check()?;
            }
            key.clear();
            runner.group_key(self.grouping, self.empties, &mut key);
            if !series.contains_key(key.as_slice()) {
                if series.len() >= self.options.series_max {
                    return Err(QueryError::Series { limit: self.options.series_max });
                }
                plan.budget.take_memory(key.len() + SERIES_BYTES)?;
                series.insert(key.as_slice().into(), Found::default());
            }
            let Some(found) = series.get_mut(key.as_slice()) else { return Ok(()) };
            if !self.is_total {
                found.points.push((row.timestamp, runner.value()));
                return Ok(());
            }
            let amount = if self.is_bytes { runner.line().len() as u64 } else { 1 };
            let number = buckets.number(row.timestamp);
            match found.totals.last_mut() {
                Some((last, total)) if *last == number => *total += amount,
                _ => found.totals.push((number, amount)),
            }
            Ok(())
        });
        match read {
            Ok(()) => {}
            Err(QueryError::Storage(error)) => {
                plan.miss(unit, &error)?;
                return Ok(HashMap::new());
            }
            Err(error) => return Err(error),
        }
        plan.budget.take_memory(series.values().map(Found::memory_bytes).sum())?;
        Ok(series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::QueryLimits;
    use crate::tests::World;
    use timberlog_logql::ast::{Expr, MetricExpr};

    #[test]
    fn bytes_of_stored_lines_are_left_to_the_columns() {
        let budget = Budget::new(QueryLimits::default());
        let names = FieldNames::of(&World::new().snapshot(), TimeRange::ALL, true, &budget);
        let by_columns = |op: &str, stages: &str, by: &[&str]| {
            let text = format!(r#"{op}({{a="b"}} {stages} [1m])"#);
            let Ok(Expr::Metric(MetricExpr::Range(leaf))) = timberlog_logql::parse(&text) else { panic!("{text}") };
            let grouping = Grouping { without: false, names: by.iter().map(|&name| name.to_owned()).collect() };
            let lowered = lower(&leaf.log, &names, true).unwrap();
            counted_by(&leaf, Some(&grouping), &lowered, &names).is_some()
        };
        for op in ["bytes_over_time", "bytes_rate"] {
            assert!(by_columns(op, r#"|= "c" | level="error""#, &["level", "a"]));
            assert!(by_columns(op, "| logfmt | drop a", &[]));
            assert!(!by_columns(op, "| logfmt", &["level"]));
            assert!(!by_columns(op, r#"| line_format "d""#, &[]));
            assert!(!by_columns(op, "| decolorize", &[]));
            assert!(!by_columns(op, "| unpack", &[]));
        }
        assert!(by_columns("count_over_time", "| decolorize", &[]));
    }

    #[test]
    fn windows_sum_the_buckets_between_their_ends() {
        // Windows of 5 that end at 10, 13, 16: (5, 10], (8, 13], (11, 16].
        let grid = Grid::new(10, 3, 5, 3);
        let times = [5_i64, 6, 9, 10, 11, 12, 13, 16, 17];
        let mut buckets: Vec<(i64, u64)> = times.iter().map(|&time| (Buckets::Windows(grid).number(time), 1)).collect();
        buckets.sort_unstable();
        assert_eq!(totals(&buckets, grid, 3), Samples::Totals(vec![Some(3.0), Some(5.0), Some(3.0)]));
    }
}
