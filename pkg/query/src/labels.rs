//! Which labels, values and streams there are.
//!
//! Answered from block directories and buffered batches wherever they know; a range is taken by
//! the block: what a block holds that overlaps it belongs to the answer.

use crate::aggregate;
use crate::budget::Budget;
use crate::error::QueryError;
use crate::plan::{Place, Plan};
use crate::request::{Cancel, QueryLimits};
use serde::Serialize;
use std::collections::BTreeSet;
use timberlog_filter::{Filter, Target};
use timberlog_segment::ColumnKey;
use timberlog_storage::Snapshot;
use timberlog_types::{Result, StreamRef, TimeRange};

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

/// Calls `each` with the streams of the plan's units; of a segment each once.
pub(crate) fn each_stream(plan: &Plan, each: &mut dyn FnMut(StreamRef<'_>)) -> Result<(), QueryError> {
    let mut seen: Vec<Vec<bool>> = vec![Vec::new(); plan.segments.len()];
    for unit in &plan.units {
        plan.budget.check()?;
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
