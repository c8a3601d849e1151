//! What goes into the WAL and what comes out of it.

use super::format::{KIND_BATCH, KIND_DELETE};
use crate::deletes::Logged;
use crate::options::Durability;
use crate::producers::ProducerBatch;
use std::path::PathBuf;
use std::sync::Arc;
use timberlog_types::{Batch, Result, Seq, Tenant};

/// Who drives the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threading {
    /// A thread of its own.
    Own,
    /// Nobody: [`crate::wal::Wal::step`] commits what is queued, on the calling thread. For
    /// simulations.
    Stepped,
}

/// Settings of a WAL.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// The folder; created if missing.
    pub dir: PathBuf,
    /// The id of the database, 32 hexadecimal digits. Files of another one are refused.
    pub database_id: String,
    /// When `done` is called.
    pub durability: Durability,
    /// Bytes of a preallocated file. A longer frame gets a file of its own.
    pub file_bytes: u64,
    /// Bytes that may wait for the writer before appends are refused. A single longer batch gets
    /// in when nothing else waits.
    pub queue_bytes_max: usize,
    /// Batches that may wait for the writer before appends are refused.
    pub queue_len_max: usize,
    /// Bytes that share one fsync at most; a single longer batch has one to itself.
    pub group_bytes_max: usize,
    /// Who drives the writer.
    pub threading: Threading,
}

impl WalOptions {
    /// The defaults for a folder and a database.
    pub fn new(dir: impl Into<PathBuf>, database_id: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            database_id: database_id.into(),
            durability: Durability::Fsync,
            file_bytes: 64 << 20,
            queue_bytes_max: 32 << 20,
            queue_len_max: 4096,
            group_bytes_max: 8 << 20,
            threading: Threading::Own,
        }
    }
}

/// Told what became of an append: its number, or why it is not stored. After an error the batch
/// was not acknowledged; it may still turn up, whole, after a restart.
pub type Done = Box<dyn FnOnce(Result<Seq>) + Send>;

/// What a frame holds.
#[derive(Clone, Debug)]
pub enum Body {
    /// Records.
    Batch(Arc<Batch>),
    /// A delete, or its cancellation.
    Delete(Arc<Logged>),
}

impl Body {
    /// The records, if it holds any.
    pub fn batch(&self) -> Option<&Arc<Batch>> {
        match self {
            Self::Batch(batch) => Some(batch),
            Self::Delete(_) => None,
        }
    }

    /// How many records it holds.
    pub fn rows(&self) -> usize {
        self.batch().map_or(0, |batch| batch.rows())
    }

    /// The payload of its frame.
    pub(super) fn payload(&self) -> &[u8] {
        match self {
            Self::Batch(batch) => batch.as_bytes(),
            Self::Delete(logged) => logged.as_bytes(),
        }
    }

    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Batch(_) => KIND_BATCH,
            Self::Delete(_) => KIND_DELETE,
        }
    }
}

impl From<Arc<Batch>> for Body {
    fn from(batch: Arc<Batch>) -> Self {
        Self::Batch(batch)
    }
}

/// A batch, or a delete, on its way into the WAL.
pub struct Append {
    /// Whose it is.
    pub tenant: Tenant,
    /// What it is.
    pub body: Body,
    /// The producer's number, for batches that are stored exactly once.
    pub producer: Option<ProducerBatch>,
    /// Called once, from the writer: it must not block.
    pub done: Done,
}

/// A batch, or a delete, in the WAL.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its number.
    pub seq: Seq,
    /// When it was committed, in ns; never less than that of the frame before.
    pub commit_time: i64,
    /// Whose it is.
    pub tenant: Tenant,
    /// The producer's number.
    pub producer: Option<ProducerBatch>,
    /// What it holds.
    pub body: Body,
}

/// Told by the writer, in order of sequence.
pub trait Publish: Send + Sync {
    /// These frames, without a gap to the ones before, are visible from now on: in `fsync` mode
    /// they are on disk, in `async` mode they are written. Called before their `done`. It may
    /// block, which holds up the WAL; it must not call the WAL.
    fn publish(&self, frames: Vec<Frame>);

    /// Every frame up to `seq` is on disk. In `fsync` mode this comes before their `publish`.
    fn synced(&self, seq: Seq);
}

/// Frames that were lost, or a file that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file's name within the folder.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The frames that are lost, first and last, if any are.
    pub lost: Option<(Seq, Seq)>,
    /// What is wrong, for people.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WAL file `{}` at byte {}: {}", self.file, self.offset, self.what)?;
        match self.lost {
            Some((first, last)) if first == last => write!(f, ": batch {first} is lost"),
            Some((first, last)) => write!(f, ": batches {first} to {last} are lost"),
            None => Ok(()),
        }
    }
}

/// The end of the log after a crash: bytes of frames that were never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file's name within the folder.
    pub file: String,
    /// Where the first bad frame begins.
    pub offset: u64,
    /// The number that frame would have had; it is given again.
    pub seq: Seq,
}

/// What [`crate::wal::Wal::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Files read.
    pub files: usize,
    /// Frames replayed.
    pub frames: u64,
    /// Records in them.
    pub rows: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// The last number in use; the next append gets the one after.
    pub last_seq: Seq,
    /// Damage: reported, never quietly passed over.
    pub damages: Vec<Damage>,
    /// A torn tail, which is what a crash leaves and no damage.
    pub torn_tail: Option<TornTail>,
}
