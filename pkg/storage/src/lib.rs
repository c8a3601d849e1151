//! The storage engine: WAL, memory buffer, flush, manifest, snapshots.
//!
//! A record goes one way: `append → WAL (fsync) → buffer → flush → segment → manifest commit →
//! WAL trimmed`. Only the manifest decides what exists. This crate is synchronous, owns its named
//! threads, and reaches files, clock and randomness through [`timberlog_disk::Env`] alone.

mod buffer;
mod build;
pub mod cache;
mod engine;
mod flush;
mod memory;
mod order;
mod streams;
mod view;
pub mod stats;
pub mod manifest;
pub mod options;
pub mod producers;
mod repair;
pub mod segment;
pub mod snapshot;
pub mod verify;
pub mod wal;

pub use engine::{Appended, Done, Storage, Subscriber};
pub use repair::Repaired;
pub use options::{Durability, Options};
pub use segment::{Opened, Segment};
pub use stats::{Progress, Stats};
pub use snapshot::{BufferedBatch, Snapshot};
