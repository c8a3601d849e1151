//! Indexes that were declared after a segment was written: which segments lack one and will not be merged any more.
//! Such a one is written anew by itself, in the same order, with all indexes; whatever is due to be merged comes first,
//! and gets its indexes by that. Decides nothing else, and changes nothing.

use super::CompactionOptions;
use super::plan::{Job, Tier, full_bytes};
use crate::manifest::{SegmentEntry, State};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::{Env, Open};
use timberlog_index::SegmentIndex;
use timberlog_segment::SegmentReader;
use timberlog_types::{Day, Error, ErrorKind, Result, Tenant};

/// When so many times more segments are known than stay, those that are gone are forgotten.
const FORGET_FACTOR: usize = 2;
const FORGET_MIN: usize = 1024;

/// Whether segments lack an index, by id. What an index holds never changes, nor what is declared while a storage is
/// open.
pub(crate) type Known = HashMap<String, bool>;

/// What there is to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// The newest of them.
    pub(crate) next: Option<Job>,
    /// Segments that lack an index.
    pub(crate) segments_waiting: u64,
}

/// Plans the next segment to write anew. `may_touch` says which may be; `lacks` is asked once for each segment that will
/// stay as it is: it is full, or its day has been over for a while.
///
/// # Errors
/// Those of `lacks`.
pub(crate) fn plan(
    state: &State,
    now_ns: i64,
    options: &CompactionOptions,
    may_touch: &dyn Fn(&Tenant, Day, &SegmentEntry) -> bool,
    known: &mut Known,
    lacks: &dyn Fn(&SegmentEntry) -> Result<bool>,
) -> Result<Plan> {
    let quiet_ns = i64::try_from(options.sealed_quiet.as_nanos()).unwrap_or(i64::MAX);
    let before = now_ns.saturating_sub(quiet_ns);
    let mut plan = Plan::default();
    let (mut newest, mut staying) = (i64::MIN, 0_usize);
    for (tenant, day, partition) in state.all_partitions() {
        let is_over = day.range().end < before;
        let stays = |entry: &SegmentEntry| is_over || entry.raw_bytes >= full_bytes(options);
        for entry in partition.segments.iter().filter(|entry| stays(entry) && may_touch(tenant, day, entry)) {
            staying += 1;
            let is_lacking = match known.get(&entry.id) {
                Some(&is_lacking) => is_lacking,
                None => *known.entry(entry.id.clone()).or_insert(lacks(entry)?),
            };
            if !is_lacking {
                continue;
            }
            plan.segments_waiting += 1;
            if plan.next.is_none() || entry.range.end > newest {
                newest = entry.range.end;
                let inputs = vec![Arc::clone(entry)];
                plan.next = Some(Job { tenant: tenant.clone(), day, inputs, tier: Tier::Last });
            }
        }
    }
    if known.len() > FORGET_FACTOR * staying.max(FORGET_MIN) {
        let segments = state.all_partitions().flat_map(|(.., partition)| &partition.segments);
        let there: HashSet<&str> = segments.map(|entry| entry.id.as_str()).collect();
        known.retain(|id, _| there.contains(id.as_str()));
    }
    Ok(plan)
}

/// Whether a segment whose files are local lacks an index of these. One whose index is damaged lacks none that a merge
/// could rightly give it: it is for `repair`.
///
/// # Errors
/// What the disk answers.
pub(crate) fn lacks(env: &Env, data_dir: &Path, names: &[String], entry: &SegmentEntry) -> Result<bool> {
    let Some(redb) = &entry.redb else { return Ok(!names.is_empty()) };
    let open = |path: &str| {
        let full = timberlog_disk::join(data_dir, path)
            .ok_or_else(|| Error::corrupt(format!("the path `{path}` leaves the data directory")))?;
        env.disk.open(&full, Open::Read).map_err(|error| Error::io(format!("open `{path}`"), &error))
    };
    let (log, redb) = match (open(&entry.log.path), open(&redb.path)) {
        (Ok(log), Ok(redb)) => (log, redb),
        // Damage, which others report.
        (Err(error), _) | (_, Err(error)) if error.kind == ErrorKind::NotFound => return Ok(false),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let Ok(reader) = SegmentReader::open(log) else { return Ok(false) };
    let Some(pages) = reader.redb_pages() else { return Ok(false) };
    let Ok(index) = SegmentIndex::open(redb, pages.clone()) else { return Ok(false) };
    Ok(names.iter().any(|name| !index.user_indexes().any(|present| present == name)))
}
