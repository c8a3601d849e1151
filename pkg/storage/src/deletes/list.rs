//! The deletes that a state of the manifest holds: live ones, and for a while those that ended.
//!
//! All of them are one immutable file that the root names. A change is a [`DeletesEdit`], part of a
//! commit. A processed delete stays in the list for seven days, so that it can be listed, and so that
//! a frame of the WAL that is read again brings nothing back; a cancelled one as long as there is room.

use super::{DeleteState, DeleteStatus, Tombstone};
use crate::manifest::FileRef;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use timberlog_types::{Seq, Tenant, TimeRange};

/// Deletes of one database that are not processed, at most.
pub const LIVE_MAX: usize = 1_000;
/// Ended deletes that are kept, at most.
const ENDED_MAX: usize = 10_000;
/// How long a processed delete is kept.
const PROCESSED_KEPT_NS: i64 = 7 * 24 * 3600 * 1_000_000_000;

/// How a delete ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// No file has its records any more.
    Processed,
    /// It was taken back before any record was removed.
    Cancelled,
}

/// A delete in the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The delete.
    pub tombstone: Tombstone,
    /// Records that were removed from files because of it.
    pub rows_removed: u64,
    /// How and when it ended, in ns since 1970 UTC; `None` while it hides records.
    pub ended: Option<(End, i64)>,
}

impl Entry {
    /// Whether it hides records.
    pub fn is_live(&self) -> bool {
        self.ended.is_none()
    }

    pub(crate) fn status(&self) -> DeleteStatus {
        DeleteStatus {
            tombstone: self.tombstone.clone(),
            state: if self.is_live() { DeleteState::Received } else { DeleteState::Processed },
            rows_removed: self.rows_removed,
            processed_ns: self.ended.map(|(_, at)| at),
        }
    }
}

/// The deletes of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletes {
    /// The file that holds them; `None` if there never was one.
    pub file: Option<FileRef>,
    /// In the order of their numbers.
    pub entries: Vec<Arc<Entry>>,
}

/// A change of the deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletesEdit {
    /// Deletes that came; those that are there already are left as they are.
    pub add: Vec<Tombstone>,
    /// Deletes that were cancelled, by id. One that has removed records, or has ended, stays as it is.
    pub cancel: Vec<String>,
    /// Records that the edit removes, by the id of the delete.
    pub removed: Vec<(String, u64)>,
    /// Deletes that are processed, by id.
    pub finish: Vec<String>,
    /// The time, in ns since 1970 UTC.
    pub now_ns: i64,
}

impl DeletesEdit {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.cancel.is_empty() && self.removed.is_empty() && self.finish.is_empty()
    }
}

impl Deletes {
    /// A delete by its id.
    pub fn get(&self, id: &str) -> Option<&Arc<Entry>> {
        self.entries.iter().find(|entry| entry.tombstone.id == id)
    }

    /// A delete by its number.
    pub fn of_seq(&self, seq: Seq) -> Option<&Arc<Entry>> {
        let place = self.entries.binary_search_by_key(&seq, |entry| entry.tombstone.seq).ok()?;
        self.entries.get(place)
    }

    /// The deletes that hide records, in the order of their numbers.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().filter(|entry| entry.is_live())
    }

    /// The live deletes of a tenant.
    pub fn live_of<'a>(&'a self, tenant: &'a Tenant) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.live().filter(move |entry| entry.tombstone.tenant == *tenant)
    }

    /// The highest number of a delete.
    pub fn seq_max(&self) -> Seq {
        self.entries.last().map_or(0, |entry| entry.tombstone.seq)
    }

    /// The deletes after an edit; `None` if nothing changes. `flushed_seq` is that of the state
    /// before: the frames up to it are not read again.
    pub(crate) fn apply(&self, edit: &DeletesEdit, flushed_seq: Seq) -> Option<Self> {
        if edit.is_empty() {
            return None;
        }
        let mut entries = self.entries.clone();
        for tombstone in &edit.add {
            if self.get(&tombstone.id).is_none() {
                let place = entries.partition_point(|entry| entry.tombstone.seq < tombstone.seq);
                let entry = Entry { tombstone: tombstone.clone(), rows_removed: 0, ended: None };
                entries.insert(place, Arc::new(entry));
            }
        }
        for entry in entries.iter_mut().filter(|entry| entry.is_live()) {
            let id = &entry.tombstone.id;
            let is_named = |ids: &[String]| ids.iter().any(|named| named == id);
            let removed: u64 = edit.removed.iter().filter(|(of, _)| of == id).map(|(_, rows)| rows).sum();
            let ended = if is_named(&edit.finish) {
                Some(End::Processed)
            } else if is_named(&edit.cancel) && entry.rows_removed == 0 {
                Some(End::Cancelled)
            } else {
                None
            };
            if ended.is_some() || removed > 0 {
                let entry = Arc::make_mut(entry);
                entry.rows_removed = entry.rows_removed.saturating_add(removed);
                entry.ended = ended.map(|end| (end, edit.now_ns));
            }
        }
        if entries == self.entries {
            return None;
        }
        forget(&mut entries, edit.now_ns, flushed_seq);
        Some(Self { file: None, entries })
    }

    /// What must hold of the list by itself.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut ids = BTreeSet::new();
        let mut before = 0;
        for Entry { tombstone, .. } in self.entries.iter().map(|entry| &**entry) {
            let id = &tombstone.id;
            if !ids.insert(id) {
                return Err(format!("delete `{id}` stands twice"));
            }
            if tombstone.seq <= before {
                return Err(format!("delete `{id}` has the number {}, behind {before}", tombstone.seq));
            }
            if tombstone.range.is_empty() {
                return Err(format!("delete `{id}` has an empty range"));
            }
            before = tombstone.seq;
        }
        Ok(())
    }
}

/// Drops what was processed long ago, and the oldest of too many. A bucket that was not reached since may still hold what
/// was cancelled.
fn forget(entries: &mut Vec<Arc<Entry>>, now_ns: i64, flushed_seq: Seq) {
    let mut too_many = entries.iter().filter(|entry| !entry.is_live()).count().saturating_sub(ENDED_MAX);
    entries.retain(|entry| {
        let Some((end, at)) = entry.ended.filter(|_| entry.tombstone.seq <= flushed_seq) else { return true };
        let is_surplus = too_many > 0;
        too_many = too_many.saturating_sub(1);
        !is_surplus && (end == End::Cancelled || at.saturating_add(PROCESSED_KEPT_NS) >= now_ns)
    });
}

/// A delete as its file has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Written {
    id: String,
    tenant: String,
    selector: String,
    start: i64,
    end: i64,
    seq: Seq,
    created_ns: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    rows_removed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<End>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_ns: Option<i64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Written {
    pub(crate) fn of(entry: &Entry) -> Self {
        let Entry { tombstone, rows_removed, ended } = entry;
        Self {
            id: tombstone.id.clone(),
            tenant: tombstone.tenant.as_str().to_owned(),
            selector: tombstone.selector.clone(),
            start: tombstone.range.start,
            end: tombstone.range.end,
            seq: tombstone.seq,
            created_ns: tombstone.created_ns,
            rows_removed: *rows_removed,
            ended: ended.map(|(end, _)| end),
            ended_ns: ended.map(|(_, at)| at),
        }
    }

    pub(crate) fn entry(self) -> Result<Entry, String> {
        let tenant = Tenant::new(&self.tenant).map_err(|error| error.message)?;
        let range = TimeRange { start: self.start, end: self.end };
        let Self { id, selector, seq, created_ns, rows_removed, .. } = self;
        let tombstone = Tombstone { id, tenant, selector, range, seq, created_ns };
        Ok(Entry { tombstone, rows_removed, ended: self.ended.map(|end| (end, self.ended_ns.unwrap_or(0))) })
    }
}
