//! What must hold of every commit as to deletes and retention: nothing deleted comes back, and
//! nothing else goes.

use super::{Check, ensure, total};
use crate::deletes::Tombstone;
use crate::deletes::list::{End, Entry};
use crate::manifest::model::{Edit, EditKind, SegmentEntry, State};
use std::collections::BTreeSet;
use std::sync::Arc;
use timberlog_types::{Day, Tenant};

/// Whether a segment is left whose rows a delete may hide.
fn touches_any(state: &State, tombstone: &Tombstone) -> bool {
    let partitions = state.partitions(&tombstone.tenant, tombstone.range);
    partitions.flat_map(|(_, partition)| &partition.segments).any(|entry| tombstone.touches(entry))
}

/// Deletes come, and end as they may; each stays in the list for a while.
pub(super) fn deletes_end_well(old: &State, new: &State, edit: &Edit) -> Check {
    if Arc::ptr_eq(&old.deletes, &new.deletes) {
        return ensure(edit.deletes.removed.is_empty(), || "records are removed for no delete".to_owned());
    }
    new.deletes.check()?;
    for before in old.deletes.live() {
        let Tombstone { id, seq, .. } = &before.tombstone;
        let after = new.deletes.get(id).ok_or_else(|| format!("delete `{id}` is gone"))?;
        ensure(after.tombstone == before.tombstone, || format!("delete `{id}` changed"))?;
        match after.ended {
            None => {}
            Some((End::Cancelled, _)) => {
                ensure(before.rows_removed == 0, || format!("delete `{id}` has removed records and is cancelled"))?;
            }
            Some((End::Processed, _)) => {
                ensure(*seq <= old.flushed_seq, || format!("delete `{id}` ends, {} is flushed", old.flushed_seq))?;
                ensure(!old.is_damaged(), || format!("delete `{id}` ends while something is unreachable"))?;
                ensure(!touches_any(new, &after.tombstone), || {
                    format!("delete `{id}` ends, and there are segments that it may hide rows of")
                })?;
            }
        }
    }
    let is_new = |entry: &&Arc<Entry>| old.deletes.get(&entry.tombstone.id).is_none();
    let mut ended = new.deletes.entries.iter().filter(is_new).filter(|entry| entry.rows_removed > 0);
    ensure(ended.next().is_none(), || "a new delete has removed records".to_owned())
}

/// A merge keeps rows on the side of each delete on which they are.
pub(super) fn merges_cross_no_delete(old: &State, _: &State, edit: &Edit) -> Check {
    if edit.kind != EditKind::Merge {
        return Ok(());
    }
    let [(tenant, day, entry)] = edit.add.as_slice() else { return Ok(()) };
    let sources: Vec<_> = removed(old, edit, tenant, *day).collect();
    let purged_seq = sources.iter().map(|source| source.purged_seq).min().unwrap_or(0);
    ensure(entry.purged_seq == purged_seq, || format!("its purged_seq is {}, not {purged_seq}", entry.purged_seq))?;
    for delete in old.deletes.live_of(tenant) {
        let tombstone = &delete.tombstone;
        let is_hidden = sources.iter().any(|source| tombstone.touches(source));
        ensure(!is_hidden || entry.seq_max <= tombstone.seq, || {
            format!("delete `{}` hides rows of a part of it", tombstone.id)
        })?;
    }
    Ok(())
}

fn removed<'a>(
    old: &'a State,
    edit: &'a Edit,
    tenant: &'a Tenant,
    day: Day,
) -> impl Iterator<Item = &'a Arc<SegmentEntry>> {
    let ids: BTreeSet<&str> =
        edit.remove.iter().filter(|(of, on, _)| of == tenant && *on == day).map(|(_, _, id)| id.as_str()).collect();
    let segments = old.partition(tenant, day).into_iter().flat_map(|partition| &partition.segments);
    segments.filter(move |entry| ids.contains(entry.id.as_str()))
}

/// A purge takes rows away that a delete hides or that are expired: as many as it says, from
/// segments that a delete may touch, each of which is replaced by itself or goes.
pub(super) fn purges_remove_what_is_hidden(old: &State, _: &State, edit: &Edit) -> Check {
    if edit.kind != EditKind::Purge {
        let is_none = edit.rows_removed == 0 && edit.raise.is_empty() && edit.deletes.removed.is_empty();
        return ensure(is_none, || "another edit than a purge removes records".to_owned());
    }
    ensure(edit.flushed_seq.is_none() && edit.producers.is_none(), || "it changes more than segments".to_owned())?;
    let partitions: BTreeSet<(&Tenant, Day)> = edit.remove.iter().map(|(tenant, day, _)| (tenant, *day)).collect();
    let mut rows = 0_u64;
    let mut added = 0;
    for &(tenant, day) in &partitions {
        for source in removed(old, edit, tenant, day) {
            let of_source = |(of, on, entry): &&(Tenant, Day, SegmentEntry)| {
                of == tenant && *on == day && (entry.seq_min, entry.seq_max) == (source.seq_min, source.seq_max)
            };
            let left = edit.add.iter().find(of_source).map(|(_, _, entry)| entry);
            added += usize::from(left.is_some());
            rows = rows.saturating_add(check_purged(source, left)?);
        }
    }
    ensure(added == edit.add.len(), || "it adds a segment that replaces none".to_owned())?;
    ensure(rows == edit.rows_removed, || format!("{rows} records go, it says {}", edit.rows_removed))?;
    let mut of_deletes = edit.rows_expired;
    for (id, removed) in &edit.deletes.removed {
        let delete = old.deletes.get(id).filter(|delete| delete.is_live());
        let delete = delete.ok_or_else(|| format!("it removes records for `{id}`, which is no live delete"))?;
        ensure(partitions.iter().all(|(tenant, _)| **tenant == delete.tombstone.tenant), || {
            format!("delete `{id}` is of another tenant")
        })?;
        of_deletes = of_deletes.saturating_add(*removed);
    }
    ensure(rows <= of_deletes, || format!("{rows} records go, deletes and retention name {of_deletes}"))
}

/// Rows that a segment loses to its replacement.
fn check_purged(source: &SegmentEntry, left: Option<&SegmentEntry>) -> Result<u64, String> {
    let Some(left) = left else { return Ok(source.rows) };
    let id = &source.id;
    let mut levels = left.levels.iter().map(|(level, rows)| (rows, source.levels.get(level)));
    let are_counted = source.levels.0.iter().any(|&rows| rows > 0);
    ensure(!are_counted || levels.all(|(now, before)| now <= before), || format!("`{id}` gains records of a level"))?;
    let is_within = source.range.covers(left.range) && left.raw_bytes <= source.raw_bytes;
    ensure(is_within, || format!("`{id}` gains times or bytes"))?;
    ensure(left.purged_seq >= source.purged_seq, || format!("`{id}` forgets a purge"))?;
    source.rows.checked_sub(left.rows).filter(|&rows| rows > 0).ok_or_else(|| format!("`{id}` loses no records"))
}

/// What expires is expired, whole segments of it; what goes for its room is the oldest.
pub(super) fn expiry_takes_the_oldest(old: &State, new: &State, edit: &Edit) -> Check {
    if !matches!(edit.kind, EditKind::Expire | EditKind::Evict) {
        return Ok(());
    }
    ensure(edit.add.is_empty() && edit.flushed_seq.is_none() && edit.producers.is_none(), || {
        "it changes more than it removes".to_owned()
    })?;
    let days: BTreeSet<(&Tenant, Day)> = edit.remove.iter().map(|(tenant, day, _)| (tenant, *day)).collect();
    if edit.kind == EditKind::Expire {
        for &(tenant, day) in &days {
            let before = edit.expired_before.get(tenant).copied().unwrap_or(i64::MIN);
            let mut kept = removed(old, edit, tenant, day).filter(|entry| entry.range.end >= before);
            ensure(kept.next().is_none(), || format!("{day} of tenant `{tenant}` has segments that are not expired"))?;
        }
        return Ok(());
    }
    let Some(newest) = days.iter().map(|(_, day)| *day).max() else { return Ok(()) };
    for (tenant, day, partition) in new.all_partitions() {
        ensure(day >= newest, || format!("{day} of tenant `{tenant}` is older than {newest} and stays"))?;
        let gone = removed(old, edit, tenant, day).map(|entry| entry.seq_max).max();
        let stays = partition.segments.first().map(|entry| entry.seq_min);
        let is_older = gone.zip(stays).is_none_or(|(gone, stays)| gone < stays);
        ensure(is_older, || format!("{day} of tenant `{tenant}` loses newer segments than it keeps"))?;
    }
    ensure(total(new.segments().map(|_| 1)).is_some_and(|left| left > 0), || "nothing would be left".to_owned())
}
