//! Purges: hidden rows leave the files. Each segment by itself, whatever else compaction does.
//!
//! A segment that a due delete may touch is looked through. If no row of it matches, only that is
//! noted; if all do it goes; otherwise it is written anew without them, in the same order. So merges
//! never have to remove anything.

use super::Compacted;
use super::execute;
use super::inputs::{Failed, Inputs};
use super::plan::{Job, Tier, full_bytes};
use crate::hidden::Hide;
use crate::manifest::{Edit, EditKind, SegmentEntry, State};
use crate::options::Options;
use std::collections::HashMap;
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_filter::{BlockColumns, ColumnSource, SegmentFacts, Verdict, evaluate};
use timberlog_segment::{BlockMeta, Column, ColumnKey, SegmentReader};
use timberlog_types::{Day, Error, Result, RowSet, Seq, Tenant, TimeRange};

/// Segments of one purge, at most.
const SEGMENTS_MAX: usize = 64;
/// Rules with a place of at least this are not known apart: [`crate::retention`] has fewer.
pub(crate) const RULES_MAX: usize = 64;

/// What may have to leave files.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) hide: Arc<Hide>,
    pub(crate) why: Why,
}

/// Why rows leave files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The delete of this id.
    Delete(String),
    /// The rule of retention at this place.
    Rule(usize),
}

/// What is due of one tenant.
#[derive(Clone, Debug)]
pub(crate) struct DueOf {
    pub(crate) tenant: Tenant,
    pub(crate) due: Vec<Due>,
    /// Every delete of the tenant up to this number is among them.
    pub(crate) upto: Seq,
}

/// Segments of a partition that are looked through.
#[derive(Clone, Debug)]
pub(crate) struct Purge {
    pub(crate) tenant: Tenant,
    pub(crate) day: Day,
    pub(crate) inputs: Vec<Arc<SegmentEntry>>,
    pub(crate) due: Vec<Due>,
    pub(crate) upto: Seq,
}

/// Which rules of retention were applied to a segment: a bit for each place.
pub(crate) type Applied = HashMap<String, u64>;

impl Due {
    /// Whether a segment is to be looked through for this.
    fn concerns(&self, entry: &SegmentEntry, applied: &Applied) -> bool {
        match self.why {
            Why::Delete(_) => self.hide.touches(entry),
            // Once, when all its rows are old enough.
            Why::Rule(place) => {
                let is_applied = applied.get(&entry.id).is_some_and(|bits| bits >> place.min(RULES_MAX - 1) & 1 != 0);
                entry.range.end <= self.hide.range.end && !is_applied
            }
        }
    }
}

impl Purge {
    /// The rules of retention that a segment is looked through for, a bit for each place.
    pub(crate) fn rules_of(&self, entry: &SegmentEntry) -> u64 {
        let due = self.due.iter().filter(|due| entry.range.end <= due.hide.range.end);
        due.fold(0, |bits, due| match due.why {
            Why::Rule(place) => bits | 1 << place.min(RULES_MAX - 1),
            Why::Delete(_) => bits,
        })
    }
}

/// The next segments to look through; `may_touch` says which may be.
pub(crate) fn plan(
    state: &State,
    due: &[DueOf],
    applied: &Applied,
    options: &Options,
    may_touch: &dyn Fn(&Tenant, Day, &SegmentEntry) -> bool,
) -> Option<Purge> {
    for DueOf { tenant, due, upto } in due {
        let start = due.iter().map(|due| due.hide.range.start).min()?;
        let end = due.iter().map(|due| due.hide.range.end).max()?;
        for (day, partition) in state.partitions(tenant, TimeRange { start, end }) {
            let mut raw_bytes = 0;
            let mut inputs = Vec::new();
            for entry in &partition.segments {
                let is_concerned = due.iter().any(|due| due.concerns(entry, applied));
                if !is_concerned || !may_touch(tenant, day, entry) {
                    continue;
                }
                raw_bytes += entry.raw_bytes;
                let is_full = raw_bytes > options.compaction.segment_raw_bytes_max || inputs.len() == SEGMENTS_MAX;
                if is_full && !inputs.is_empty() {
                    break;
                }
                inputs.push(Arc::clone(entry));
            }
            if !inputs.is_empty() {
                return Some(Purge { tenant: tenant.clone(), day, inputs, due: due.clone(), upto: *upto });
            }
        }
    }
    None
}

/// Looks through the inputs and writes anew what loses rows. `files` and `pace` are as in
/// [`execute::run`]; `open` opens a `.log`, wherever it is; `now_ns` is wall-clock time.
pub(crate) fn run(
    env: &Env,
    options: &Options,
    open: &dyn Fn(&Arc<SegmentEntry>) -> Result<SegmentReader>,
    (purge, applied): (&Purge, &Applied),
    now_ns: i64,
    pace: &dyn Fn(u64) -> Result<()>,
    files: &mut Vec<String>,
) -> Result<(Edit, Compacted), Failed> {
    let mut edit = Edit { kind: EditKind::Purge, ..Edit::default() };
    let mut compacted = Compacted { segments: purge.inputs.len() as u64, ..Compacted::default() };
    let mut removed: HashMap<&str, u64> = HashMap::new();
    let key = || (purge.tenant.clone(), purge.day);
    for entry in &purge.inputs {
        let due: Vec<&Due> = purge.due.iter().filter(|due| due.concerns(entry, applied)).collect();
        let reader = open(entry).map_err(|error| Failed::of(entry, error))?;
        let found = find(&reader, entry, &due, pace)?;
        let is_deleted = due.iter().any(|due| matches!(due.why, Why::Delete(_)));
        let purged_seq = if is_deleted { entry.purged_seq.max(purge.upto) } else { entry.purged_seq };
        for (due, rows) in due.iter().zip(&found.of_each) {
            match &due.why {
                Why::Delete(id) => *removed.entry(id).or_default() += rows,
                Why::Rule(_) => edit.rows_expired += rows,
            }
        }
        let (tenant, day) = key();
        if found.rows == 0 {
            if purged_seq > entry.purged_seq {
                edit.raise.push((tenant, day, entry.id.clone(), purged_seq));
            }
            continue;
        }
        compacted.records += entry.rows;
        compacted.rows_removed += found.rows;
        compacted.bytes_read += entry.files().map(|file| file.len).sum::<u64>();
        edit.rows_removed += found.rows;
        edit.remove.push((tenant.clone(), day, entry.id.clone()));
        if found.rows < entry.rows {
            let is_last = day.range().end < now_ns || entry.raw_bytes >= full_bytes(&options.compaction);
            let tier = if is_last { Tier::Last } else { Tier::Middle };
            let job = Job { tenant: tenant.clone(), day, inputs: vec![Arc::clone(entry)], tier };
            let inputs = Inputs::of_one(day, entry, reader, found.blocks)?;
            let (left, _) = execute::merge(env, options, &job, &inputs, pace, files)?;
            if left.rows != entry.rows - found.rows {
                let (rows, expected) = (left.rows, entry.rows - found.rows);
                let message = format!("a purge left {rows} records, expected {expected}; nothing has changed");
                return Err(Error::internal(message).into());
            }
            compacted.bytes_written += left.files().map(|file| file.len).sum::<u64>();
            edit.add.push((tenant, day, SegmentEntry { purged_seq, ..left }));
        }
    }
    edit.deletes.removed =
        removed.into_iter().filter(|(_, rows)| *rows > 0).map(|(id, rows)| (id.to_owned(), rows)).collect();
    edit.deletes.removed.sort_unstable();
    Ok((edit, compacted))
}

/// Hidden rows of a segment.
struct Found {
    /// Of each block that has any.
    blocks: HashMap<u32, RowSet>,
    rows: u64,
    /// For each thing due, the rows that it hides.
    of_each: Vec<u64>,
}

fn find(
    reader: &SegmentReader,
    entry: &SegmentEntry,
    due: &[&Due],
    pace: &dyn Fn(u64) -> Result<()>,
) -> Result<Found, Failed> {
    let failed = |error: Error| Failed::of(entry, error);
    let facts: Vec<SegmentFacts> =
        due.iter().map(|due| SegmentFacts::new(&due.hide.filter, reader.directory())).collect();
    let mut found = Found { blocks: HashMap::new(), rows: 0, of_each: vec![0; due.len()] };
    for block in &reader.directory().blocks {
        let mut hidden = RowSet::none(block.rows as usize);
        for ((due, facts), of_this) in due.iter().zip(&facts).zip(&mut found.of_each) {
            let rows = hidden_rows(reader, block, &due.hide, facts, pace).map_err(failed)?;
            *of_this += rows.count() as u64;
            hidden.union(&rows);
        }
        if !hidden.is_empty() {
            found.rows += hidden.count() as u64;
            found.blocks.insert(block.number, hidden);
        }
    }
    Ok(found)
}

/// The columns of a segment, each read once for a block and something due.
struct Columns<'a> {
    reader: &'a SegmentReader,
    block: &'a BlockMeta,
    pace: &'a dyn Fn(u64) -> Result<()>,
}

impl ColumnSource for Columns<'_> {
    fn column(&self, block: u32, key: ColumnKey) -> Result<Arc<Column>> {
        let bytes = self.block.column(key).map_or(0, |column| u64::from(column.len));
        (self.pace)(bytes)?;
        Ok(Arc::new(self.reader.column(block, key)?))
    }
}

/// The rows of a block that are hidden.
fn hidden_rows(
    reader: &SegmentReader,
    block: &BlockMeta,
    hide: &Hide,
    facts: &SegmentFacts,
    pace: &dyn Fn(u64) -> Result<()>,
) -> Result<RowSet> {
    let rows = block.rows as usize;
    let verdict = hide.filter.judge(&mut |test| facts.judge(test, block, &mut |_, _| Verdict::Maybe));
    if !hide.range.overlaps(block.range) || verdict == Verdict::Never {
        return Ok(RowSet::none(rows));
    }
    let source = Columns { reader, block, pace };
    let within = if hide.range.covers(block.range) {
        RowSet::all(rows)
    } else {
        match &*source.column(block.number, ColumnKey::Timestamp)? {
            Column::Timestamps(times) => {
                RowSet::from_fn(rows, |row| times.get(row).is_some_and(|&time| hide.range.contains(time)))
            }
            _ => return Err(Error::corrupt(format!("block {}: the timestamps are of another kind", block.number))),
        }
    };
    let columns = BlockColumns::new(facts, reader.directory(), block, &source);
    evaluate(&hide.filter, &columns, within)
}
