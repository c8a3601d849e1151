//! Backups: a root of the manifest and all that it needs, copied into an object store.
//!
//!     create:  pin → plan → copy what is not there → record (put if absent)
//!     restore: record → files, each checked → manifest → done
//!     prune:   records go → what no record and no plan names goes
//!
//! A store holds immutable files that all backups share (`files/`), sealed ends of the WAL
//! (`wal/`) and one record a backup (`backups/<id>.json`), written last: without it a backup does
//! not exist. `plans/` and `prunes/` say what runs, so that neither takes a file from the other;
//! `void/` says of which ones nothing comes any more.
//!
//! What is in a backup: everything that was acknowledged before it began. The buffer is flushed
//! and the root of that flush is pinned; where the flush cannot run (a full disk, a manifest that
//! takes no commits, a directory at rest) the frames of the WAL behind the root come along
//! instead. A flush is preferred because segments are small, and shared with later backups.
//!
//! This module owns the layout of a backup store and the restore into an empty directory. It must
//! never change a data directory that it backs up, and never name a file in a record that it has
//! not seen whole in the store.

mod at;
mod catalog;
mod copy;
mod create;
mod prune;
mod prune_archive;
mod record;
mod restore;
mod restore_tail;
mod source;
#[cfg(test)]
mod tests;
mod verify;
mod void;

pub use at::{Reachable, Tail, find_at, find_latest, reachable};
pub use catalog::{Catalog, Listed, find, list, read};
pub use create::{Created, create};
pub use prune::{PLAN_KEPT, Pruned, prune};
pub use record::{BackupRecord, FORMAT, Formats, RECORD_BYTES_MAX, WalTail, key_of};
pub use restore::{MARKER_FILE, Restored, Selection, restore, restore_at};
pub use source::{ColdFiles, Pinned, Referenced, RestSource, Source, StorageSource, is_served};
pub use verify::{Depth, Verified, missing_cold, verify};

/// What a long operation tells while it runs. Called from several threads.
pub type Watch<'a> = dyn Fn(Event<'_>) + Sync + 'a;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// What comes now, and how much of it there is.
    Phase {
        /// `copy`, `check`, `restore`, `delete`.
        name: &'static str,
        /// Files, or objects.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// So many bytes more are done.
    Bytes(u64),
    /// A file is done.
    File(&'a str),
}

pub(crate) use catalog::is_of_store;
pub(crate) use record::{
    PlanRecord, PruneRecord, VoidRecord, decode as decode_record, encode as encode_record, is_id, new_id,
};
pub(crate) use restore::{Marker, check_restored};
pub(crate) use source::{check_whole, open};
