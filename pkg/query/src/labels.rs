//! Which labels, values and streams there are.
//!
//! Answered from block directories and buffered batches wherever they know; a range is taken by
//! the block: what a block holds that overlaps it belongs to the answer. Of a block with records that
//! a delete or retention hides the rows of the range answer, and only those.

use crate::aggregate;
use crate::budget::Budget;
use crate::error::QueryError;
use crate::plan::{Place, Plan, Unit};
use crate::request::{Cancel, QueryLimits};
use crate::source::mixed_up;
use serde::Serialize;
use std::collections::BTreeSet;
use timberlog_filter::{ColumnSource, Filter, Target};
use timberlog_segment::{Column, ColumnKey};
use timberlog_storage::Snapshot;
use timberlog_types::{FieldColumn, Result, RowSet, StreamRef, TimeRange};

/// A stream: a service and stream labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Stream {
    /// The derived service.
    pub service: String,
    /// The stream labels, sorted by name.
    pub labels: Vec<(String, String)>,
}

/// What a listing looks at, and what it may use.
#[derive(Clone, Debug)]
pub struct Scope {
    /// From when to when.
    pub range: TimeRange,
    /// What it may use.
    pub limits: QueryLimits,
    /// Ends it from outside.
    pub cancel: Cancel,
}

impl From<TimeRange> for Scope {
    /// With the default limits.
    fn from(range: TimeRange) -> Self {
        Self { range, limits: QueryLimits::default(), cancel: Cancel::default() }
    }
}

/// The most values of one name that are listed; more is an error.
const VALUES_MAX: usize = 100_000;

/// The names of stream labels and fields, sorted, with `level` and `service` if there is a record:
/// of the blocks and batches that overlap the range.
pub fn label_names(snapshot: &Snapshot, scope: impl Into<Scope>) -> Result<Vec<String>> {
    let plan = plan(snapshot, scope.into())?;
    let mut names: BTreeSet<String> = BTreeSet::new();
    each_stream(&plan, &mut |stream| {
        for (name, _) in stream.labels() {
            if !names.contains(name) {
                names.insert(name.to_owned());
            }
        }
    })?;
    for unit in &plan.units {
        plan.budget.check()?;
        if !plan.is_listed(unit)? {
            if let Some(rows) = plan.rows(unit, plan.range)? {
                names.extend(["level".to_owned(), "service".to_owned()]);
                match field_names(&plan, unit, &rows) {
                    Ok(found) => names.extend(found),
                    Err(error) => plan.miss(unit, &error)?,
                }
            }
            continue;
        }
        names.extend(["level".to_owned(), "service".to_owned()]);
        match (&unit.place, plan.block(unit)) {
            (Place::Batch(batch), _) => names.extend(batch.batch.fields().map(|field| field.name().to_owned())),
            (_, Some((open, block))) => {
                for column in &block.columns {
                    if let ColumnKey::Field(id) = column.key
                        && let Some(name) = open.directory().field_names.get(id as usize)
                        && !names.contains(name)
                    {
                        names.insert(name.clone());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(names.into_iter().collect())
}

/// The values of a stream label, a field, `service` or `level`, sorted: of the blocks and batches
/// that overlap the range, or where columns have to be read of the records in it.
///
/// # Errors
/// `Invalid` for `timestamp`, and if there are more than 100,000 values.
pub fn label_values(snapshot: &Snapshot, name: &str, scope: impl Into<Scope>) -> Result<Vec<String>> {
    let plan = plan(snapshot, scope.into())?;
    if let Target::Service = Target::named(name) {
        let mut services = BTreeSet::new();
        each_stream(&plan, &mut |stream| {
            if !services.contains(stream.service()) {
                services.insert(stream.service().to_owned());
            }
        })?;
        return Ok(services.into_iter().filter(|service| !service.is_empty()).collect());
    }
    let groups = aggregate::distinct(&plan, name, VALUES_MAX)?;
    let values: BTreeSet<String> = groups.into_iter().filter_map(|mut group| group.key.pop().flatten()).collect();
    Ok(values.into_iter().collect())
}

/// The streams of the blocks and batches that overlap the range, sorted.
pub fn streams(snapshot: &Snapshot, scope: impl Into<Scope>) -> Result<Vec<Stream>> {
    let plan = plan(snapshot, scope.into())?;
    let mut encodings: BTreeSet<Vec<u8>> = BTreeSet::new();
    each_stream(&plan, &mut |stream| {
        if !encodings.contains(stream.as_bytes()) {
            encodings.insert(stream.as_bytes().to_vec());
        }
    })?;
    let mut streams: Vec<Stream> = encodings
        .iter()
        .map(|encoding| {
            let stream = StreamRef::parse_unchecked(encoding);
            let labels = stream.labels().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Stream { service: stream.service().to_owned(), labels }
        })
        .collect();
    streams.sort_unstable();
    Ok(streams)
}

fn plan(snapshot: &Snapshot, scope: Scope) -> Result<Plan> {
    let budget = Budget::new(scope.limits).cancelled_by(&scope.cancel);
    Ok(Plan::new(snapshot, &Filter::All, scope.range, budget)?)
}

/// The names of the fields that some rows of a unit have.
fn field_names(plan: &Plan, unit: &Unit, rows: &RowSet) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if let Place::Batch(batch) = &unit.place {
        let has = |field: &FieldColumn<'_>| rows.iter().any(|row| field.get(row).is_some());
        names.extend(batch.batch.fields().filter(has).map(|field| field.name().to_owned()));
        return Ok(names);
    }
    let Some((open, block)) = plan.block(unit) else { return Ok(names) };
    let source = open.source_of_part(&plan.budget, rows.count(), rows.rows());
    for column in &block.columns {
        let ColumnKey::Field(id) = column.key else { continue };
        let Some(name) = open.directory().field_names.get(id as usize) else { continue };
        let values = source.column(block.number, column.key)?;
        let Column::Field(values) = &*values else { return Err(mixed_up(block.number, column.key)) };
        if rows.iter().any(|row| values.get(row).is_some()) {
            names.push(name.clone());
        }
    }
    Ok(names)
}

/// Calls `each` with the streams of the rows of a unit that are not hidden.
fn each_stream_of_rows(plan: &Plan, unit: &Unit, each: &mut dyn FnMut(StreamRef<'_>)) -> Result<(), QueryError> {
    let Some(rows) = plan.rows(unit, plan.range)? else { return Ok(()) };
    if let Place::Batch(batch) = &unit.place {
        let ids: BTreeSet<usize> = rows.iter().map(|row| batch.batch.stream_id(row)).collect();
        ids.into_iter().for_each(|id| each(batch.batch.stream(id)));
        return Ok(());
    }
    let Some((open, block)) = plan.block(unit) else { return Ok(()) };
    let source = open.source_of_part(&plan.budget, rows.count(), rows.rows());
    let column = match source.column(block.number, ColumnKey::Stream) {
        Ok(column) => column,
        Err(error) => return plan.miss(unit, &error),
    };
    let Column::Streams(runs) = &*column else {
        return plan.miss(unit, &mixed_up(block.number, ColumnKey::Stream));
    };
    for (id, mut range) in runs.runs() {
        if range.any(|row| rows.contains(row))
            && let Some(stream) = open.directory().streams.get(id)
        {
            each(stream);
        }
    }
    Ok(())
}

/// Calls `each` with the streams of the plan's units; of a segment mostly each once.
pub(crate) fn each_stream(plan: &Plan, each: &mut dyn FnMut(StreamRef<'_>)) -> Result<(), QueryError> {
    let mut seen: Vec<Vec<bool>> = vec![Vec::new(); plan.segments.len()];
    for unit in &plan.units {
        plan.budget.check()?;
        if !plan.is_listed(unit)? {
            each_stream_of_rows(plan, unit, each)?;
            continue;
        }
        if let Place::Batch(batch) = &unit.place {
            (0..batch.batch.stream_count()).for_each(|id| each(batch.batch.stream(id)));
        }
        let Place::Block { segment, .. } = unit.place else { continue };
        let (Some((open, block)), Some(seen)) = (plan.block(unit), seen.get_mut(segment)) else { continue };
        let streams = &open.directory().streams;
        if seen.is_empty() {
            seen.resize(streams.len(), false);
        }
        for id in block.streams.iter().flat_map(|&(first, last)| first..=last) {
            if let Some(seen @ false) = seen.get_mut(id as usize)
                && let Some(stream) = streams.get(id)
            {
                *seen = true;
                each(stream);
            }
        }
    }
    Ok(())
}
