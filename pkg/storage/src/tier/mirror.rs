//! What a bucket should hold, from the writer's own manifest, which is the truth. Pure functions, no I/O.
//!
//! The bucket holds the segments that the manifest says are in the store. What a compaction or a purge replaced stays
//! in the bucket until its replacement is there, and so do tombstones that hide rows of what stays, unless they were
//! cancelled: whoever reads the bucket alone sees every record of it, and none that is deleted.

use super::bucket::{BucketState, Change};
use super::options::TierOptions;
use crate::deletes::Tombstone;
use crate::deletes::list::End;
use crate::manifest::{Location, Partition, SegmentEntry, State};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use timberlog_types::{Day, Tenant};

/// Segments that were uploaded and that no manifest says so of: their entries as the bucket holds them.
pub(crate) type Uploaded = BTreeMap<(Tenant, Day, String), Arc<SegmentEntry>>;

/// A segment and its partition.
pub(crate) type Placed = (Tenant, Day, Arc<SegmentEntry>);

/// What the commit of a bucket must change so that it holds what it should.
pub(crate) fn change(state: &State, tombstones: &[Tombstone], bucket: &BucketState, uploaded: &Uploaded) -> Change {
    let mut change = Change { manifest_version: state.version, flushed_seq: state.flushed_seq, ..Change::default() };
    let mut days: BTreeSet<(&Tenant, Day)> = BTreeSet::new();
    days.extend(bucket.partitions().map(|(tenant, day, _)| (tenant, day)));
    days.extend(uploaded.keys().map(|(tenant, day, _)| (tenant, *day)));
    let is_stored = |partition: &Partition| partition.segments.iter().any(|entry| entry.location.is_stored());
    days.extend(
        state.all_partitions().filter(|(.., partition)| is_stored(partition)).map(|(tenant, day, _)| (tenant, day)),
    );
    let mut wanted_tombstones: Vec<Tombstone> = tombstones.to_vec();
    for (tenant, day) in days {
        let present = bucket.partition(tenant, day).map(|partition| partition.segments.as_slice()).unwrap_or_default();
        let local = state.partition(tenant, day).map(|partition| partition.segments.as_slice()).unwrap_or_default();
        let uploaded_of = |entry: &SegmentEntry| uploaded.get(&(tenant.clone(), day, entry.id.clone()));
        let wanted = wanted(local, present, &uploaded_of);
        for tombstone in bucket.tombstones.iter().filter(|tombstone| tombstone.tenant == *tenant) {
            let is_unknown =
                wanted_tombstones.iter().all(|known| known.id != tombstone.id) && !is_cancelled(state, tombstone);
            if is_unknown && wanted.iter().any(|entry| tombstone.touches(entry)) {
                wanted_tombstones.push(tombstone.clone());
            }
        }
        if wanted.as_slice() != present {
            change.partitions.insert((tenant.clone(), day), wanted);
        }
    }
    wanted_tombstones.sort_by(|a, b| (a.seq, &a.id).cmp(&(b.seq, &b.id)));
    if wanted_tombstones.as_slice() != bucket.tombstones.as_slice() {
        change.tombstones = Some(wanted_tombstones);
    }
    change
}

/// Whether what a delete named is back, for good.
fn is_cancelled(state: &State, tombstone: &Tombstone) -> bool {
    let entry = state.deletes.get(&tombstone.id);
    entry.is_some_and(|entry| matches!(entry.ended, Some((End::Cancelled, _))))
}

/// An entry as a bucket holds it.
pub(crate) fn cold(entry: &SegmentEntry) -> SegmentEntry {
    SegmentEntry { location: Location::Cold, ..entry.clone() }
}

fn overlap(a: &SegmentEntry, b: &SegmentEntry) -> bool {
    a.seq_min <= b.seq_max && b.seq_min <= a.seq_max
}

/// The segments of a day that the bucket should hold.
fn wanted<'a>(
    local: &[Arc<SegmentEntry>],
    present: &[Arc<SegmentEntry>],
    uploaded: &dyn Fn(&SegmentEntry) -> Option<&'a Arc<SegmentEntry>>,
) -> Vec<Arc<SegmentEntry>> {
    let known: HashMap<&str, &Arc<SegmentEntry>> = present.iter().map(|entry| (entry.id.as_str(), entry)).collect();
    let mut wanted = Vec::with_capacity(present.len());
    for entry in local {
        if let Some(new) = uploaded(entry) {
            wanted.push(Arc::clone(new));
        } else if entry.location.is_stored() {
            let entry = cold(entry);
            match known.get(entry.id.as_str()) {
                Some(&same) if **same == entry => wanted.push(Arc::clone(same)),
                _ => wanted.push(Arc::new(entry)),
            }
        } else {
            // It is not in the bucket: what it replaces stays there.
            wanted.extend(present.iter().filter(|present| overlap(present, entry)).map(Arc::clone));
        }
    }
    wanted.dedup_by(|a, b| a.id == b.id);
    wanted
}

/// Segments to upload now, the most urgent first: replacements of what the bucket holds, then what is old enough, then
/// the oldest of what is beyond the local budget.
pub(crate) fn due(state: &State, bucket: &BucketState, options: &TierOptions, now_ns: i64) -> Vec<Placed> {
    let after_ns = i64::try_from(options.after.as_nanos()).unwrap_or(i64::MAX);
    let old = now_ns.saturating_sub(after_ns);
    let local = || state.segments().filter(|(_, _, entry)| entry.location == Location::Local);
    let replaces = |tenant: &Tenant, day: Day, entry: &SegmentEntry| {
        let present = bucket.partition(tenant, day).map(|partition| partition.segments.as_slice()).unwrap_or_default();
        present.iter().any(|present| present.id != entry.id && overlap(present, entry))
    };
    let mut due: Vec<(bool, i64, Placed)> = Vec::new();
    let mut rest: Vec<(i64, Placed)> = Vec::new();
    for (tenant, day, entry) in local() {
        let segment = (tenant.clone(), day, Arc::clone(entry));
        match replaces(tenant, day, entry) {
            true => due.push((false, entry.range.end, segment)),
            false if entry.range.end < old => due.push((true, entry.range.end, segment)),
            false => rest.push((entry.range.end, segment)),
        }
    }
    due.sort_by_key(|(is_aged, end, _)| (*is_aged, *end));
    let mut due: Vec<_> = due.into_iter().map(|(_, _, segment)| segment).collect();
    if let Some(bytes_max) = options.local_bytes_max {
        let bytes = |entry: &SegmentEntry| entry.files().map(|file| file.len).sum::<u64>();
        let mut left: u64 = rest.iter().map(|(_, (_, _, entry))| bytes(entry)).sum();
        rest.sort_by_key(|(end, _)| *end);
        for (_, segment) in rest {
            if left <= bytes_max {
                break;
            }
            left = left.saturating_sub(bytes(&segment.2));
            due.push(segment);
        }
    }
    due
}
