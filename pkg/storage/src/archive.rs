//! The archive of the WAL: frames in an object store, a few seconds behind, for restores to any second.
//!
//!     WAL file → synced frames → object `archive/<database>/<line>/<first>-<last>-<time>-<crc>.wal`
//!
//! A thread of its own copies what is synced, at least every interval. The WAL's files stay until
//! their frames are archived; beyond a limit of bytes that wait, appends are refused: within a line
//! there is never a gap. The archive stands in a backup store, beside the backups that it continues:
//! a backup names the line it belongs to.
//!
//! This module owns everything below `archive/` in a store, and `archive.json` in a data directory.
//! It must never write to the WAL, and never say that a frame is archived that is not.

mod chain;
mod line;
mod object;
mod uploader;

pub use chain::{Chain, ChainPart, Followed, Gap, Lines};
pub(crate) use line::Local;
pub use line::{LineRecord, Parent, Reached};
pub(crate) use object::FRAMES_BYTES_MAX;
pub use object::{Part, VERSION, decode};
pub(crate) use uploader::{Uploader, Watch};

use crate::objects::ObjectStore;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use timberlog_disk::Env;
use timberlog_types::Result;

/// Where everything of the archive is in a store.
pub(crate) const PREFIX: &str = "archive/";
/// The file of a data directory that says which line it goes on with.
pub(crate) const LOCAL_FILE: &str = "archive.json";
/// Bytes of frames that become one object, unless a single frame is longer.
pub(crate) const OBJECT_BYTES: usize = 32 << 20;

/// The line that a data directory goes on with, whether it is archived now or not.
///
/// # Errors
/// `Invalid` if a newer program wrote it; I/O errors.
pub(crate) fn line_of(env: &Env, data_dir: &Path) -> Result<Option<String>> {
    Ok(Local::read(env, data_dir)?.map(|local| local.line))
}

/// Settings of an archive.
#[derive(Clone)]
pub struct ArchiveOptions {
    /// Where to: a backup store.
    pub store: Arc<dyn ObjectStore>,
    /// How long a frame waits at most before it is sealed and sent: what the loss of the machine costs.
    pub interval: Duration,
    /// Bytes of frames that may wait; beyond, appends are refused.
    pub backlog_bytes_max: u64,
}

impl ArchiveOptions {
    /// The defaults for a store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, interval: Duration::from_secs(10), backlog_bytes_max: 4 << 30 }
    }
}

impl std::fmt::Debug for ArchiveOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveOptions")
            .field("store", &self.store.describe())
            .field("interval", &self.interval)
            .field("backlog_bytes_max", &self.backlog_bytes_max)
            .finish()
    }
}

/// What an archive does. Counters count since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ArchiveStats {
    /// Where to.
    pub store: String,
    /// The line.
    pub line: String,
    /// Every batch up to this number is archived.
    pub archived_seq: u64,
    /// When the last archived batch was committed, in ns since 1970 UTC; `None` before the first one.
    pub timestamp_archived: Option<i64>,
    /// How long a batch has waited that is not archived yet, in seconds; 0 if none waits.
    pub lag_seconds: f64,
    /// Bytes of frames that wait.
    pub backlog_bytes: u64,
    /// The most that may wait.
    pub backlog_bytes_max: u64,
    /// Objects that were sent.
    pub objects: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Tries that failed.
    pub failures: u64,
    /// Why the last try failed, if none has succeeded since.
    pub last_error: Option<String>,
}
