//! What must hold of every commit: predicates over (old, new), and over each node by itself.
//!
//! They are checked before a commit writes anything, and the ones over nodes again when a node is
//! read. A violation before a write is a defect of this program; in a file it is damage.

mod deletes;

use super::PRODUCERS_DIR;
use super::model::{
    Edit, EditKind, FileRef, LevelCounts, Location, MonthNode, Partition, SEGMENT_SERVICES_MAX, SegmentEntry, State,
    index_object_path, log_path, redb_path,
};
use super::month::Month;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use timberlog_types::{Day, Tenant};

/// The length of a segment's id.
const ID_LEN: usize = 26;

type Check = Result<(), String>;

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Checks a node: every partition, and that no segment is above `flushed_seq`.
pub(super) fn check_node(tenant: &Tenant, node: &MonthNode, flushed_seq: u64) -> Check {
    for (&day, partition) in &node.partitions {
        check_partition(tenant, day, partition).map_err(|reason| format!("partition {day}: {reason}"))?;
        let last = partition.segments.last().map_or(0, |entry| entry.seq_max);
        ensure(last <= flushed_seq, || format!("partition {day}: sequence {last} is above flushed_seq {flushed_seq}"))?;
    }
    Ok(())
}

/// Segments stand in the order of their sequences, which are disjoint; each is right in itself.
fn check_partition(tenant: &Tenant, day: Day, partition: &Partition) -> Check {
    ensure(!partition.segments.is_empty(), || "has no segments".to_owned())?;
    let mut before = None;
    let mut ids = BTreeSet::new();
    for entry in &partition.segments {
        check_segment(tenant, day, entry).map_err(|reason| format!("segment `{}`: {reason}", entry.id))?;
        ensure(before.is_none_or(|max| max < entry.seq_min), || {
            format!("segment `{}`: its sequences from {} are not above those before it", entry.id, entry.seq_min)
        })?;
        ensure(ids.insert(entry.id.as_str()), || format!("segment `{}` stands twice", entry.id))?;
        before = Some(entry.seq_max);
    }
    Ok(())
}

fn check_segment(tenant: &Tenant, day: Day, entry: &SegmentEntry) -> Check {
    let ulid = |b: u8| b.is_ascii_digit() || (b.is_ascii_uppercase() && !b"ILOU".contains(&b));
    ensure(entry.id.len() == ID_LEN && entry.id.bytes().all(ulid), || "its id is no ULID".to_owned())?;
    ensure(entry.rows > 0, || "has no rows".to_owned())?;
    ensure(1 <= entry.seq_min && entry.seq_min <= entry.seq_max, || {
        format!("sequences {} to {} are no range", entry.seq_min, entry.seq_max)
    })?;
    ensure(!entry.range.is_empty() && Day::of(entry.range.start) == day && Day::of(entry.range.end) == day, || {
        format!("its times {} to {} are not within {day}", entry.range.start, entry.range.end)
    })?;
    check_file(&entry.log, &log_path(tenant, day, &entry.id))?;
    if let Some(redb) = &entry.redb {
        check_file(redb, &redb_path(tenant, day, &entry.id))?;
    }
    if let Some(index) = &entry.index_object {
        check_file(index, &index_object_path(tenant, day, &entry.id))?;
    }
    ensure(entry.index_object.is_some() == entry.location.is_stored(), || {
        "it must have an index object if it is in the object store, and only then".to_owned()
    })?;
    let levels = total(entry.levels.0);
    ensure(levels.is_some_and(|rows| rows == 0 || rows == entry.rows), || {
        "its counts by level are not its rows".to_owned()
    })?;
    if let Some(services) = &entry.services {
        ensure(services.len() <= SEGMENT_SERVICES_MAX, || format!("counts {} services", services.len()))?;
        let rows = total(services.values().copied());
        ensure(rows.is_some_and(|rows| rows == 0 || rows == entry.rows), || {
            "its counts by service are not its rows".to_owned()
        })?;
    }
    Ok(())
}

fn total(counts: impl IntoIterator<Item = u64>) -> Option<u64> {
    counts.into_iter().try_fold(0, u64::checked_add)
}

fn check_file(file: &FileRef, expected: &str) -> Check {
    ensure(file.path == expected, || format!("its file is `{}`, expected `{expected}`", file.path))?;
    ensure(file.len > 0, || format!("`{expected}` is empty"))
}

/// A predicate over any change.
type Always = fn(&State, &State) -> Check;
/// A predicate over a commit.
type OfEdit = fn(&State, &State, &Edit) -> Check;

/// What holds of every change, each with its name for the message.
const ALWAYS: &[(&str, Always)] = &[
    ("the version goes up by one", |old, new| {
        ensure(Some(new.version) == old.version.checked_add(1), || format!("{} to {}", old.version, new.version))
    }),
    ("the database stays the same", |old, new| {
        ensure(old.database_id == new.database_id, || format!("{} to {}", old.database_id, new.database_id))
    }),
    ("flushed_seq never goes down", |old, new| {
        ensure(old.flushed_seq <= new.flushed_seq, || format!("{} to {}", old.flushed_seq, new.flushed_seq))
    }),
    ("the chain only gets shorter at its old end", |old, new| {
        ensure(old.chain_start <= new.chain_start && new.chain_start <= new.version, || {
            format!("{} to {}", old.chain_start, new.chain_start)
        })
    }),
    ("nodes that changed are right", nodes_are_right),
];

/// What holds of every commit of an edit.
const COMMIT: &[(&str, OfEdit)] = &[
    ("the root before stays", |_, new, _| {
        ensure(new.chain_start < new.version, || format!("chain starts at {}", new.chain_start))
    }),
    ("damage is only forgotten by a repair", |old, new, _| {
        ensure(old.unreachable == new.unreachable && old.lost_roots == new.lost_roots, || "it is".to_owned())
    }),
    ("nothing else changes than what the edit says", changes_are_the_edit),
    ("the producers file is in its folder, and new or the same", producers_are_new),
    ("sequences that were flushed come only from segments that go", flushed_sequences_move),
    ("a merge changes no record", merge_keeps_records),
    ("a move changes locations only", move_changes_locations),
    ("a segment that is added is in the data directory", added_are_local),
    ("a delete ends only when nothing is left of it", deletes::deletes_end_well),
    ("a merge crosses no delete", deletes::merges_cross_no_delete),
    ("a purge removes what is hidden, and nothing else", deletes::purges_remove_what_is_hidden),
    ("what expires is the oldest", deletes::expiry_takes_the_oldest),
];

/// Checks a commit; the error names the predicate.
pub(super) fn check_commit(old: &State, new: &State, edit: &Edit) -> Check {
    for (name, holds) in ALWAYS {
        holds(old, new).map_err(|reason| format!("invariant `{name}`: {reason}"))?;
    }
    for (name, holds) in COMMIT {
        holds(old, new, edit).map_err(|reason| format!("invariant `{name}`: {reason}"))?;
    }
    Ok(())
}

/// Checks a repair, which may forget damage and bring back months; the error names the predicate.
pub(super) fn check_repair(old: &State, new: &State) -> Check {
    for (name, holds) in ALWAYS {
        holds(old, new).map_err(|reason| format!("invariant `{name}`: {reason}"))?;
    }
    Ok(())
}

/// Nodes that are not shared between the two states.
fn changed<'a>(old: &'a State, new: &'a State) -> impl Iterator<Item = (&'a Tenant, Month, &'a Arc<MonthNode>)> {
    new.tenants.iter().flat_map(move |(tenant, months)| {
        let before = old.tenants.get(tenant);
        let shared = before.is_some_and(|before| Arc::ptr_eq(before, months));
        months
            .iter()
            .filter(move |(month, node)| {
                !shared && !before.and_then(|before| before.get(month)).is_some_and(|before| Arc::ptr_eq(before, node))
            })
            .map(move |(month, node)| (tenant, *month, node))
    })
}

fn nodes_are_right(old: &State, new: &State) -> Check {
    for (tenant, month, node) in changed(old, new) {
        ensure(!node.partitions.is_empty(), || format!("month {month} of tenant `{tenant}` is empty"))?;
        ensure(node.partitions.keys().all(|&day| Month::of(day) == month), || format!("month {month} has other days"))?;
        check_node(tenant, node, new.flushed_seq).map_err(|reason| format!("tenant `{tenant}`: {reason}"))?;
    }
    Ok(())
}

/// Every partition that differs, differs by exactly the edit's segments, and those that stay are
/// untouched.
fn changes_are_the_edit(old: &State, new: &State, edit: &Edit) -> Check {
    let mut added: BTreeSet<(&Tenant, Day, &str)> = BTreeSet::new();
    let mut removed: BTreeSet<(&Tenant, Day, &str)> = BTreeSet::new();
    for (tenant, day, entry) in &edit.add {
        ensure(added.insert((tenant, *day, &entry.id)), || format!("segment `{}` is added twice", entry.id))?;
    }
    for (tenant, day, id) in &edit.remove {
        ensure(removed.insert((tenant, *day, id)), || format!("segment `{id}` is removed twice"))?;
    }
    let raised: BTreeSet<(&Tenant, Day, &str)> =
        edit.raise.iter().map(|(tenant, day, id, _)| (tenant, *day, id.as_str())).collect();
    let mut touched: BTreeMap<(&Tenant, Day), (usize, usize)> = BTreeMap::new();
    for &(tenant, day, _) in &raised {
        touched.entry((tenant, day)).or_default();
    }
    for &(tenant, day, _) in &added {
        touched.entry((tenant, day)).or_default().0 += 1;
    }
    for &(tenant, day, _) in &removed {
        touched.entry((tenant, day)).or_default().1 += 1;
    }
    for (&(tenant, day), &(came, went)) in &touched {
        let before = by_id(old.partition(tenant, day));
        let after = by_id(new.partition(tenant, day));
        for (id, entry) in &before {
            let is_raised = raised.contains(&(tenant, day, id));
            let stays = after.get(id).is_some_and(|now| Arc::ptr_eq(now, entry) || (is_raised && is_raise(entry, now)));
            ensure(stays != removed.contains(&(tenant, day, id)), || format!("segment `{id}` neither stays nor goes"))?;
        }
        for id in after.keys() {
            let is_added = added.contains(&(tenant, day, id));
            let known = match edit.kind {
                EditKind::Move => before.contains_key(id),
                _ => before.contains_key(id) != is_added,
            };
            ensure(known, || format!("segment `{id}` is not new, or comes from nowhere"))?;
        }
        ensure(after.len() + went == before.len() + came, || {
            format!("partition {day} of tenant `{tenant}` has {} segments", after.len())
        })?;
    }
    untouched_stay(old, new, &|tenant, day| touched.contains_key(&(tenant, day)))
}

/// Whether a segment is the same but for what is known of deletes.
fn is_raise(before: &SegmentEntry, now: &SegmentEntry) -> bool {
    let same = SegmentEntry { purged_seq: now.purged_seq, ..before.clone() };
    same == *now && before.purged_seq <= now.purged_seq
}

/// Days that the edit does not touch are the very same in both states.
fn untouched_stay(old: &State, new: &State, touched: &dyn Fn(&Tenant, Day) -> bool) -> Check {
    let tenants: BTreeSet<&Tenant> = old.tenants.keys().chain(new.tenants.keys()).collect();
    let shared = |tenant: &Tenant| match (old.tenants.get(tenant), new.tenants.get(tenant)) {
        (Some(before), Some(after)) => Arc::ptr_eq(before, after),
        _ => false,
    };
    for tenant in tenants.into_iter().filter(|tenant| !shared(tenant)) {
        let months = |state: &'_ State| state.tenants.get(tenant).map(|months| (**months).clone()).unwrap_or_default();
        let (before, after) = (months(old), months(new));
        let keys: BTreeSet<Month> = before.keys().chain(after.keys()).copied().collect();
        for month in keys {
            let (before, after) = (before.get(&month), after.get(&month));
            if before.zip(after).is_some_and(|(before, after)| Arc::ptr_eq(before, after)) {
                continue;
            }
            let days = before.into_iter().chain(after).flat_map(|node| node.partitions.keys().copied());
            for day in days.filter(|&day| !touched(tenant, day)) {
                let of =
                    |node: Option<&Arc<MonthNode>>| node.and_then(|node| node.partitions.get(&day)).map(Arc::as_ptr);
                ensure(of(before) == of(after), || format!("partition {day} of tenant `{tenant}` changed"))?;
            }
        }
    }
    Ok(())
}

fn by_id(partition: Option<&Arc<Partition>>) -> BTreeMap<&str, &Arc<SegmentEntry>> {
    partition.into_iter().flat_map(|partition| &partition.segments).map(|entry| (entry.id.as_str(), entry)).collect()
}

fn producers_are_new(old: &State, _: &State, edit: &Edit) -> Check {
    let Some(file) = &edit.producers else { return Ok(()) };
    let name = file.path.strip_prefix(PRODUCERS_DIR).and_then(|rest| rest.strip_prefix('/'));
    let placed = name.is_some_and(|name| !name.contains('/') && timberlog_disk::join(Path::new(""), name).is_some());
    ensure(placed, || format!("`{}`", file.path))?;
    let changed = old.producers.as_ref().is_some_and(|before| before.path == file.path && before != file);
    ensure(!changed, || format!("`{}` was written anew", file.path))
}

/// A flush adds what is above the old `flushed_seq`; anything at or below it can only have been
/// in segments of the same partition that this commit removes (a compaction).
fn flushed_sequences_move(old: &State, _: &State, edit: &Edit) -> Check {
    for (tenant, day, entry) in edit.add.iter().filter(|(_, _, entry)| entry.seq_min <= old.flushed_seq) {
        let removed: BTreeSet<&str> =
            edit.remove.iter().filter(|(of, on, _)| (of, on) == (tenant, day)).map(|(_, _, id)| id.as_str()).collect();
        let sources = old.partition(tenant, *day).into_iter().flat_map(|partition| &partition.segments);
        let sources: Vec<_> = sources.filter(|source| removed.contains(source.id.as_str())).collect();
        let covered = sources.iter().any(|source| source.seq_min <= entry.seq_min)
            && sources.iter().any(|source| source.seq_max >= entry.seq_max);
        ensure(covered, || {
            format!(
                "segment `{}` has sequences {} to {}, and {} was flushed before",
                entry.id, entry.seq_min, entry.seq_max, old.flushed_seq
            )
        })?;
    }
    Ok(())
}

/// A merge replaces neighbours by one segment with their sequences, times and records.
fn merge_keeps_records(old: &State, _: &State, edit: &Edit) -> Check {
    if edit.kind != EditKind::Merge {
        return Ok(());
    }
    ensure(edit.flushed_seq.is_none() && edit.producers.is_none(), || "it changes more than segments".to_owned())?;
    let [(tenant, day, entry)] = edit.add.as_slice() else { return Err(format!("it adds {}", edit.add.len())) };
    ensure(edit.remove.iter().all(|(of, on, _)| (of, on) == (tenant, day)), || {
        "it removes segments of other partitions".to_owned()
    })?;
    let removed: BTreeSet<&str> = edit.remove.iter().map(|(_, _, id)| id.as_str()).collect();
    let before = old.partition(tenant, *day).map(|partition| partition.segments.as_slice()).unwrap_or_default();
    let from = before.iter().position(|source| removed.contains(source.id.as_str())).unwrap_or(0);
    let sources = before.get(from..from + removed.len()).unwrap_or_default();
    let (Some(first), Some(last)) = (sources.first(), sources.last()) else {
        return Err("it removes nothing".to_owned());
    };
    ensure(sources.iter().all(|source| removed.contains(source.id.as_str())), || {
        "the segments are not neighbours".to_owned()
    })?;
    ensure((entry.seq_min, entry.seq_max) == (first.seq_min, last.seq_max), || {
        format!("sequences {} to {} become {} to {}", first.seq_min, last.seq_max, entry.seq_min, entry.seq_max)
    })?;
    let sum = |of: &dyn Fn(&SegmentEntry) -> u64| total(sources.iter().map(|source| of(source)));
    ensure(sum(&|source| source.rows) == Some(entry.rows), || format!("it has {} records", entry.rows))?;
    ensure(sum(&|source| source.raw_bytes) == Some(entry.raw_bytes), || format!("it has {} bytes", entry.raw_bytes))?;
    let start = sources.iter().map(|source| source.range.start).min();
    let end = sources.iter().map(|source| source.range.end).max();
    ensure((start, end) == (Some(entry.range.start), Some(entry.range.end)), || "its times are others".to_owned())?;
    let mut levels = LevelCounts::default();
    sources.iter().flat_map(|source| source.levels.iter()).for_each(|(level, rows)| levels.add(level, rows));
    // A segment may have no counts.
    let are_counted = sources.iter().all(|source| source.levels != LevelCounts::default());
    ensure(!are_counted || levels == entry.levels, || "its counts by level are others".to_owned())
}

/// A move replaces segments by themselves, elsewhere: to the object store as well, then there only, or
/// back to the data directory while the files are still there.
fn move_changes_locations(old: &State, _: &State, edit: &Edit) -> Check {
    if edit.kind != EditKind::Move {
        return Ok(());
    }
    ensure(edit.flushed_seq.is_none() && edit.producers.is_none(), || "it changes more than segments".to_owned())?;
    ensure(edit.add.len() == edit.remove.len(), || "segments come or go".to_owned())?;
    for (tenant, day, entry) in &edit.add {
        let removed = edit.remove.iter().any(|(of, on, id)| (of, on, id) == (tenant, day, &entry.id));
        let before = old.partition(tenant, *day).into_iter().flat_map(|partition| &partition.segments);
        let before = before.filter(|_| removed).find(|before| before.id == entry.id);
        let before = before.ok_or_else(|| format!("segment `{}` comes from nowhere", entry.id))?;
        ensure(
            matches!(
                (before.location, entry.location),
                (Location::Local, Location::Both) | (Location::Both, Location::Cold | Location::Local)
            ),
            || format!("segment `{}` goes from {:?} to {:?}", entry.id, before.location, entry.location),
        )?;
        ensure(entry.location != Location::Cold || entry.index_object == before.index_object, || {
            format!("segment `{}` has another index object", entry.id)
        })?;
        let moved =
            SegmentEntry { location: entry.location, index_object: entry.index_object.clone(), ..(**before).clone() };
        ensure(moved == *entry, || format!("segment `{}` is another one", entry.id))?;
    }
    Ok(())
}

/// What a flush or a compaction makes is local; only a segment that was there before may be elsewhere.
fn added_are_local(_: &State, _: &State, edit: &Edit) -> Check {
    let was_there = |of: &Tenant, on: Day, id: &str| {
        edit.remove.iter().any(|(tenant, day, removed)| (tenant, *day, removed.as_str()) == (of, on, id))
    };
    let mut stored = edit.add.iter().filter(|(_, _, entry)| entry.location.is_stored());
    match stored.find(|(tenant, day, entry)| !was_there(tenant, *day, &entry.id)) {
        Some((_, _, entry)) => Err(format!("segment `{}` is {:?}", entry.id, entry.location)),
        None => Ok(()),
    }
}
