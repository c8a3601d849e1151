//! The storage engine: WAL, memory buffer, flush, compaction, manifest, snapshots.
//!
//! A record goes one way: `append → WAL (fsync) → buffer → flush → segment → manifest commit →
//! WAL trimmed`. Only the manifest decides what exists. This crate is synchronous, owns its named
//! threads, and reaches files, clock and randomness through [`timberlog_disk::Env`] alone.

pub mod archive;
pub mod backup;
mod buffer;
mod build;
pub mod cache;
pub mod compaction;
mod damage;
pub mod deletes;
mod engine;
mod flush;
#[doc(hidden)]
pub mod formats;
pub mod hidden;
pub mod manifest;
mod memory;
mod notes;
pub mod objects;
pub mod options;
mod order;
pub mod producers;
mod repair;
pub mod retention;
pub mod segment;
mod segments;
pub mod snapshot;
pub mod stats;
mod streams;
pub mod tier;
pub mod verify;
mod view;
pub mod wal;

pub use archive::{ArchiveOptions, ArchiveStats};
pub use compaction::{Compacted, CompactionOptions, CompactionStats};
pub use deletes::{DeleteState, DeleteStatus, Selectors, Tombstone};
pub use engine::{Appended, Done, Storage, Subscriber};
pub use hidden::{Hidden, Hide, Upto};
pub use options::{Durability, Options};
pub use repair::Repaired;
pub use retention::{RetentionRule, RetentionStatus};
pub use segment::{Opened, Piece, Segment, SignedUrls, Wants};
pub use segments::Segments;
pub use snapshot::{BufferedBatch, Snapshot};
pub use stats::{Progress, Stats};
pub use tier::{TierOptions, TierStats};
