//! Log queries: lines in order, each with its labels.

use super::feed::Residual;
use super::lower::{in_whole, lower, needed_to_decide};
use super::names::FieldNames;
use super::{Entries, Entry, LogQuery};
use crate::budget::Budget;
use crate::error::QueryError;
use crate::plan::{Plan, Unit};
use crate::request::Order;
use crate::scan::{Key, Selection};
use timberlog_logql::ast::Stage;
use timberlog_logql::{Label, Labels, Origin, Pipeline, Runner, Wanted};
use timberlog_storage::Snapshot;
use timberlog_types::RowSet;

/// Lines that are looked for at once.
const KEYS_AT_ONCE: usize = 4_096;

/// Runs a log query.
pub(crate) fn entries(snapshot: &Snapshot, query: &LogQuery) -> Result<Entries, QueryError> {
    found(snapshot, query).map_err(|error| in_whole(error, &query.expr))
}

fn found(snapshot: &Snapshot, query: &LogQuery) -> Result<Entries, QueryError> {
    let options = &query.options;
    let budget = Budget::new(options.limits).cancelled_by(&options.cancel);
    let names = FieldNames::when_asked(snapshot, query.range, options.derived, &budget);
    let lowered = lower(&query.expr, &names, options.derived)?;
    let mut plan = Plan::in_order(snapshot, &lowered.filter, query.range, budget, query.order)?;
    let pipeline = |stages: &[Stage], wanted| {
        Pipeline::new(stages, None, wanted).map_err(|error| QueryError::Stage(error.to_string()))
    };
    let shape = |pipeline: Pipeline| Residual {
        pipeline: pipeline.into(),
        line: true,
        derived: options.derived,
        now_ns: options.now_ns,
    };
    let whole = pipeline(&lowered.stages, Wanted::All)?;
    if lowered.drops() {
        let deciding = lowered.deciding();
        let pipeline = pipeline(deciding, needed_to_decide(deciding))?;
        plan.residual = Some(Residual { line: lowered.needs_line(), ..shape(pipeline) });
    }
    let shape = shape(whole);
    let mut selection = Selection::new(&plan, query.order, query.range, None);
    let mut entries: Vec<Entry> = Vec::new();
    let mut last: Option<i64> = None;
    while entries.len() < query.limit {
        let wanted = if query.interval_ns > 0 { KEYS_AT_ONCE } else { query.limit - entries.len() };
        let keys = selection.next_keys(&mut plan, wanted.min(KEYS_AT_ONCE))?;
        if keys.is_empty() {
            break;
        }
        for entry in materialise(&plan, query.order, &keys, &shape)? {
            let is_due = last.is_none_or(|last| entry.timestamp.abs_diff(last) >= query.interval_ns.unsigned_abs());
            if entries.len() < query.limit && (query.interval_ns <= 0 || is_due) {
                last = Some(entry.timestamp);
                entries.push(entry);
            }
        }
    }
    Ok(Entries { entries, statistics: plan.statistics(), missing: plan.budget.missing() })
}

/// The entries of keys, in their order. Those of a damaged unit are left out, and it is noted.
fn materialise(plan: &Plan, order: Order, keys: &[Key], shape: &Residual) -> Result<Vec<Entry>, QueryError> {
    let mut places: Vec<(u32, u32, usize)> = keys
        .iter()
        .enumerate()
        .map(|(slot, key)| {
            let (_, _, unit, row) = key.parts(order);
            (unit, row, slot)
        })
        .collect();
    places.sort_unstable();
    let units: Vec<&[(u32, u32, usize)]> = places.chunk_by(|a, b| a.0 == b.0).collect();
    let one = |wanted: &&[(u32, u32, usize)]| -> Result<Vec<(usize, Entry)>, QueryError> {
        let Some(unit) = wanted.first().and_then(|&(unit, ..)| plan.units.get(unit as usize)) else {
            return Ok(Vec::new());
        };
        plan.budget.check()?;
        let mut rows = RowSet::none(unit.rows);
        wanted.iter().for_each(|&(_, row, _)| rows.insert(row as usize));
        let mut slots = wanted.iter();
        let mut entries = Vec::with_capacity(wanted.len());
        let read = shape.run(plan, unit, &rows, &mut |row, runner| {
            if let Some(&(_, _, slot)) = slots.by_ref().find(|(_, wanted, _)| *wanted as usize == row.row) {
                let entry = entry(row.timestamp, runner);
                // Of each line, not of all at the end: templates make lines of any length.
                plan.budget.take_memory(entry.memory_bytes())?;
                entries.push((slot, entry));
            }
            Ok(())
        });
        match read {
            Ok(()) => Ok(entries),
            Err(QueryError::Storage(error)) => plan.miss(unit, &error).map(|()| Vec::new()),
            Err(error) => Err(error),
        }
    };
    let firsts = units.iter().filter_map(|wanted| wanted.first());
    let of_units: Vec<&Unit> = firsts.filter_map(|&(unit, ..)| plan.units.get(unit as usize)).collect();
    plan.bring(&of_units)?;
    let mut entries: Vec<(usize, Entry)> = plan.budget.each(&units, one)?.into_iter().flatten().collect();
    entries.sort_unstable_by_key(|&(slot, _)| slot);
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// The entry that a runner has just made.
pub(crate) fn entry(timestamp: i64, runner: &mut Runner) -> Entry {
    let mut of = [Vec::new(), Vec::new(), Vec::new()];
    runner.for_each_label(&mut |Label { name, value, origin }| {
        let place = match origin {
            Origin::Stream => 0,
            Origin::Metadata => 1,
            Origin::Parsed => 2,
        };
        if let Some(pairs) = of.get_mut(place) {
            pairs.push((name.to_owned(), value.to_owned()));
        }
    });
    let [stream, metadata, parsed] = of.map(Labels::with_empty);
    Entry { timestamp, line: String::from_utf8_lossy(runner.line()).into_owned(), stream, metadata, parsed }
}
