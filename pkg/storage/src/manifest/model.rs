//! The manifest in memory: what exists, as a tree of shared immutable nodes.
//!
//! A [`State`] never changes once it is made; a commit makes the next one and shares every month
//! that it did not touch. Holding an `Arc<State>` is how a snapshot pins its files.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use timberlog_types::{Day, Level, Seq, Tenant, TimeRange};

use super::month::Month;
use crate::deletes::{Deletes, DeletesEdit};

/// A segment counts its records by service in the manifest only up to this many services.
pub const SEGMENT_SERVICES_MAX: usize = 64;

/// A file as its parent names it: where it is, and what must be found there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Relative to the data directory, parts separated by `/`.
    pub path: String,
    /// The length in bytes.
    pub len: u64,
    /// The CRC32C of all bytes.
    pub crc32c: u32,
}

/// Where a segment's files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Location {
    /// In the data directory, and nowhere else.
    #[default]
    Local,
    /// In the data directory, and whole in the object store: the local files may go.
    Both,
    /// In the object store only: its files are objects, and no local file is named.
    Cold,
}

impl Location {
    /// Whether the files are in the data directory.
    pub fn is_local(self) -> bool {
        self != Location::Cold
    }

    /// Whether the segment is whole in the object store.
    pub fn is_stored(self) -> bool {
        self != Location::Local
    }
}

/// Records by normalised level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelCounts(pub [u64; Level::ALL.len()]);

impl LevelCounts {
    /// The number of records with a level.
    pub fn get(&self, level: Level) -> u64 {
        self.0.get(level as usize).copied().unwrap_or(0)
    }

    /// Counts `rows` more records with a level.
    pub fn add(&mut self, level: Level, rows: u64) {
        if let Some(count) = self.0.get_mut(level as usize) {
            *count = count.saturating_add(rows);
        }
    }

    /// Levels that have records, with their number.
    pub fn iter(&self) -> impl Iterator<Item = (Level, u64)> + '_ {
        Level::ALL.into_iter().map(|level| (level, self.get(level))).filter(|&(_, rows)| rows > 0)
    }
}

/// A segment as the manifest names it: enough to plan a query without opening a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// 26 characters, a ULID; its files are named by it.
    pub id: String,
    /// The lowest sequence number of its records.
    pub seq_min: Seq,
    /// The highest sequence number of its records.
    pub seq_max: Seq,
    /// The first and the last timestamp.
    #[serde(with = "super::format::time_range")]
    pub range: TimeRange,
    /// The number of records.
    pub rows: u64,
    /// Bytes of the records' text before encoding.
    pub raw_bytes: u64,
    /// The blocks: `segments/<tenant>/<day>/<id>.log`.
    pub log: FileRef,
    /// The indexes: `segments/<tenant>/<day>/<id>.redb`; small segments have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redb: Option<FileRef>,
    /// Records by normalised level.
    #[serde(default, with = "super::format::level_counts")]
    pub levels: LevelCounts,
    /// Records by service; `None` if there are more than [`SEGMENT_SERVICES_MAX`]: ask the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeMap<String, u64>>,
    /// Where the files are.
    #[serde(default)]
    pub location: Location,
    /// The deletes up to this number were applied when the segment was made: none of them hides a
    /// row of it. 0 if there were none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub purged_seq: Seq,
    /// The object that holds what planning needs, `segments/<tenant>/<day>/<id>.index`; there if the
    /// segment is in the object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_object: Option<FileRef>,
}

/// Whether a number is left out of a file.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl SegmentEntry {
    /// The files of the segment, wherever they are: `.log` and `.redb`.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        std::iter::once(&self.log).chain(&self.redb)
    }

    /// The files that must be in the data directory: none of a segment that is only in the object store.
    pub fn local_files(&self) -> impl Iterator<Item = &FileRef> {
        self.files().filter(|_| self.location.is_local())
    }

    /// The objects of a segment that is in the object store, their paths being keys: `.log` and index object.
    pub fn objects(&self) -> impl Iterator<Item = &FileRef> {
        let log = self.location.is_stored().then_some(&self.log);
        log.into_iter().chain(self.index_object.as_ref().filter(|_| self.location.is_stored()))
    }
}

/// The relative path of the folder of a partition's segments.
pub(crate) fn segment_folder(tenant: &Tenant, day: Day) -> String {
    format!("segments/{tenant}/{day}")
}

/// The relative path of a segment's `.log`.
pub fn log_path(tenant: &Tenant, day: Day, id: &str) -> String {
    format!("segments/{tenant}/{day}/{id}.log")
}

/// The relative path of a segment's `.redb`.
pub fn redb_path(tenant: &Tenant, day: Day, id: &str) -> String {
    format!("segments/{tenant}/{day}/{id}.redb")
}

/// The relative path of a segment's index object.
pub fn index_object_path(tenant: &Tenant, day: Day, id: &str) -> String {
    format!("segments/{tenant}/{day}/{id}.index")
}

/// One UTC day of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// In the order of their sequence ranges, which are disjoint.
    pub segments: Vec<Arc<SegmentEntry>>,
}

/// The days of one tenant in one month: what one file of the manifest holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthNode {
    /// The file that holds this node.
    pub file: FileRef,
    /// The days that have segments.
    pub partitions: BTreeMap<Day, Arc<Partition>>,
}

/// The months of one tenant.
pub type Months = BTreeMap<Month, Arc<MonthNode>>;

/// A month of a tenant whose node cannot be read: its days are missing from every answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// Whose month it is.
    pub tenant: Tenant,
    /// Which month.
    pub month: Month,
    /// The damaged or missing file.
    pub file: FileRef,
    /// What is wrong with it.
    pub reason: String,
}

/// A root that a pointer or a root names and that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRoot {
    /// The damaged or missing file, as far as it is known.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
    /// Its `flushed_seq`, if the pointer could still be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flushed_seq: Option<Seq>,
}

/// Everything that exists at one version of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// 1 for a new database, one more with every commit.
    pub version: u64,
    /// 32 hexadecimal digits, random, the same for the life of the database.
    pub database_id: String,
    /// Every batch up to this sequence number is in a segment (or was removed from one); replay
    /// of the WAL starts behind it.
    pub flushed_seq: Seq,
    /// Each tenant's months and days.
    pub tenants: BTreeMap<Tenant, Arc<Months>>,
    /// The file with each producer's latest numbers and results.
    pub producers: Option<FileRef>,
    /// The deletes: they hide records of the segments.
    pub deletes: Arc<Deletes>,
    /// The clock of retention when this was committed, in ns since 1970 UTC.
    pub clock_ns: i64,
    /// Months that cannot be read. While there are any, nothing is cleaned.
    pub unreachable: Vec<Unreachable>,
    /// Roots that were lost and whose segments may still be on disk. While there are any, nothing
    /// is cleaned.
    pub lost_roots: Vec<LostRoot>,
    /// The file that holds the root of this state.
    pub root: FileRef,
    /// The version of the oldest root that the chain still reaches.
    pub chain_start: u64,
}

impl State {
    /// One day of one tenant.
    pub fn partition(&self, tenant: &Tenant, day: Day) -> Option<&Arc<Partition>> {
        self.tenants.get(tenant)?.get(&Month::of(day))?.partitions.get(&day)
    }

    /// The days of a tenant that share a time with `range`, oldest first.
    pub fn partitions(&self, tenant: &Tenant, range: TimeRange) -> impl Iterator<Item = (Day, &Arc<Partition>)> {
        let (first, last) = (Day::of(range.start), Day::of(range.end));
        self.tenants
            .get(tenant)
            .into_iter()
            .filter(move |_| !range.is_empty())
            .flat_map(move |months| months.range(Month::of(first)..=Month::of(last)))
            .flat_map(move |(_, node)| node.partitions.range(first..=last))
            .map(|(day, partition)| (*day, partition))
    }

    /// Every partition, by tenant and day.
    pub fn all_partitions(&self) -> impl Iterator<Item = (&Tenant, Day, &Arc<Partition>)> {
        self.tenants.iter().flat_map(|(tenant, months)| {
            months
                .values()
                .flat_map(move |node| node.partitions.iter().map(move |(day, partition)| (tenant, *day, partition)))
        })
    }

    /// Every segment, by tenant, day and sequence.
    pub fn segments(&self) -> impl Iterator<Item = (&Tenant, Day, &Arc<SegmentEntry>)> {
        self.all_partitions()
            .flat_map(|(tenant, day, partition)| partition.segments.iter().map(move |entry| (tenant, day, entry)))
    }

    /// The unreachable months of a tenant that may hold days of `range`.
    pub fn unreachable_in(&self, tenant: &Tenant, range: TimeRange) -> impl Iterator<Item = &Unreachable> {
        let months = Month::of(Day::of(range.start))..=Month::of(Day::of(range.end));
        self.unreachable
            .iter()
            .filter(move |lost| &lost.tenant == tenant && !range.is_empty() && months.contains(&lost.month))
    }

    /// Whether something that this state should name is damaged.
    pub fn is_damaged(&self) -> bool {
        !self.unreachable.is_empty() || !self.lost_roots.is_empty()
    }
}

/// A change of the manifest: all of it happens, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// Segments to add. Their files are complete and durable (file and folder) by now.
    pub add: Vec<(Tenant, Day, SegmentEntry)>,
    /// Segments to remove, by id. Their files go when no root that is kept and no pinned state
    /// names them any more.
    pub remove: Vec<(Tenant, Day, String)>,
    /// The new `flushed_seq`; `None` leaves it.
    pub flushed_seq: Option<Seq>,
    /// The new producers file, durable by now; `None` leaves the present one.
    pub producers: Option<FileRef>,
    /// Segments of which it is known now that no delete up to this number hides a row: the new
    /// `purged_seq`, by id.
    pub raise: Vec<(Tenant, Day, String, Seq)>,
    /// What becomes of deletes.
    pub deletes: DeletesEdit,
    /// Records that a purge removes.
    pub rows_removed: u64,
    /// Those of them that retention removes.
    pub rows_expired: u64,
    /// For each tenant, the time before which records are expired.
    pub expired_before: BTreeMap<Tenant, i64>,
    /// The clock of retention; `None` leaves the present one.
    pub clock_ns: Option<i64>,
    /// Whether only the root before this one is kept: files that it does not name go at once.
    pub cut_history: bool,
    /// What the edit claims to be, and is checked to be.
    pub kind: EditKind,
}

/// What must hold of an edit beyond what holds of every edit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EditKind {
    /// Nothing more.
    #[default]
    Change,
    /// Neighbours of one partition become one segment with the same records; nothing else changes.
    Merge,
    /// Segments change where they are: each that is added replaces the one of its id, which differs in
    /// location and index object only; nothing else changes.
    Move,
    /// Segments of one partition lose records, each by itself, or are gone if none are left.
    Purge,
    /// Segments go whose records are all expired.
    Expire,
    /// The oldest days go, whole.
    Evict,
}

impl Edit {
    /// Replaces neighbours of one partition by a segment with the same records.
    pub fn merge(remove: Vec<(Tenant, Day, String)>, add: (Tenant, Day, SegmentEntry)) -> Self {
        Self { add: vec![add], remove, kind: EditKind::Merge, ..Self::default() }
    }

    /// Gives segments other locations: each entry replaces the one of its id.
    pub fn move_to(entries: Vec<(Tenant, Day, SegmentEntry)>) -> Self {
        let remove = entries.iter().map(|(tenant, day, entry)| (tenant.clone(), *day, entry.id.clone())).collect();
        Self { add: entries, remove, kind: EditKind::Move, ..Self::default() }
    }
}
