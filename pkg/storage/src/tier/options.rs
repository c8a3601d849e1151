//! Settings of tiering: where segments go, when, and how fast.

use super::read::ReadOptions;
use crate::objects::ObjectStore;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Settings of tiering. The store's prefix belongs to this database and one writer of it alone.
#[derive(Clone)]
pub struct TierOptions {
    /// Where segments go.
    pub store: Arc<dyn ObjectStore>,
    /// Segments whose newest record is older than this are uploaded.
    pub after: Duration,
    /// Bytes of segments in the data directory beyond which the oldest ones are uploaded whatever their
    /// age; `None`: age alone decides.
    pub local_bytes_max: Option<u64>,
    /// How long an object stays after a bucket root dropped it, and a root after the next one came.
    pub gc_grace: Duration,
    /// Bytes a second that are uploaded; 0: no limit.
    pub bytes_per_second: u64,
    /// How often the thread looks for something to do.
    pub look_every: Duration,
    /// Claim a prefix that another writer of the same database used, and that writes no more.
    pub take_over: bool,
    /// If the data directory holds no database: start from what the bucket holds, and become its writer.
    pub adopt: bool,
    /// The version of the bucket to start from, if its newest root is damaged: see [`super::Adopting`].
    pub adopt_version: Option<u64>,
    /// Follow the bucket of another writer and write nothing: no record is taken.
    pub follow: bool,
    /// What is kept of segments that are read from the store.
    pub read: ReadOptions,
}

impl TierOptions {
    /// The defaults for a store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            after: Duration::from_secs(7 * 86_400),
            local_bytes_max: None,
            gc_grace: Duration::from_secs(3_600),
            bytes_per_second: 64 << 20,
            look_every: Duration::from_secs(10),
            take_over: false,
            adopt: false,
            adopt_version: None,
            follow: false,
            read: ReadOptions::default(),
        }
    }
}

impl fmt::Debug for TierOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The store knows how to show itself without secrets.
        f.debug_struct("TierOptions")
            .field("store", &self.store.describe())
            .field("after", &self.after)
            .field("local_bytes_max", &self.local_bytes_max)
            .field("gc_grace", &self.gc_grace)
            .field("bytes_per_second", &self.bytes_per_second)
            .field("look_every", &self.look_every)
            .field("take_over", &self.take_over)
            .field("adopt", &self.adopt)
            .field("adopt_version", &self.adopt_version)
            .field("follow", &self.follow)
            .field("read", &self.read)
            .finish()
    }
}
