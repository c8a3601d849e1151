//! Which segments go: the expired ones, and the oldest where there are too many bytes.

use crate::manifest::{Edit, EditKind, SegmentEntry, State};
use std::collections::BTreeMap;
use std::sync::Arc;
use timberlog_types::{Day, Tenant};

/// Segments that one commit removes, at most: the rest goes with the next.
const SEGMENTS_MAX: usize = 10_000;

/// Removes segments whose records are all before the cutoff of their tenant; `None` if there are none.
pub(crate) fn expired(state: &State, cutoff: &dyn Fn(&Tenant) -> Option<i64>) -> Option<Edit> {
    let mut edit = Edit { kind: EditKind::Expire, ..Edit::default() };
    for (tenant, months) in &state.tenants {
        let Some(cutoff) = cutoff(tenant) else { continue };
        let last = Day::of(cutoff);
        let days = months.values().flat_map(|node| node.partitions.range(..=last));
        for (day, partition) in days {
            let gone = partition.segments.iter().filter(|entry| entry.range.end < cutoff);
            edit.remove.extend(gone.map(|entry| (tenant.clone(), *day, entry.id.clone())));
        }
        edit.expired_before.insert(tenant.clone(), cutoff);
    }
    edit.remove.truncate(SEGMENTS_MAX);
    (!edit.remove.is_empty()).then_some(edit)
}

/// Removes the oldest segments until the files of the others have at most `bytes_max` bytes: days of
/// all tenants, oldest first, and within the last of them what arrived first. The newest segment
/// stays. `None` if nothing is to go.
pub(crate) fn evicted(state: &State, bytes_max: u64) -> Option<Edit> {
    let mut days: BTreeMap<Day, Vec<(&Tenant, &Arc<SegmentEntry>)>> = BTreeMap::new();
    let mut bytes = 0_u64;
    for (tenant, day, entry) in state.segments() {
        bytes = bytes.saturating_add(size(entry));
        days.entry(day).or_default().push((tenant, entry));
    }
    let mut left = days.values().map(Vec::len).sum::<usize>();
    let mut edit = Edit { kind: EditKind::Evict, ..Edit::default() };
    for (day, mut segments) in days {
        segments.sort_by_key(|(_, entry)| entry.seq_min);
        for (tenant, entry) in segments {
            if bytes <= bytes_max || left == 1 || edit.remove.len() == SEGMENTS_MAX {
                return (!edit.remove.is_empty()).then_some(edit);
            }
            bytes -= size(entry);
            left -= 1;
            edit.remove.push((tenant.clone(), day, entry.id.clone()));
        }
    }
    (!edit.remove.is_empty()).then_some(edit)
}

fn size(entry: &SegmentEntry) -> u64 {
    entry.files().map(|file| file.len).sum()
}
