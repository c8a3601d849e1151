//! Cold segments without a database: a snapshot of what somebody else's manifest names.

use super::read::{ReadOptions, Reader};
use crate::cache::Cache;
use crate::damage::DamageLog;
use crate::hidden::Hidden;
use crate::manifest::{Location, SegmentEntry};
use crate::objects::ObjectStore;
use crate::segments::Segments;
use crate::snapshot::Snapshot;
use crate::view::Opener;
use std::path::PathBuf;
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_types::{Day, Result};

/// Bytes of data that are kept in memory.
const MEMORY_BYTES: u64 = 64 << 20;
/// Bytes of decoded columns that are kept.
const CACHE_BYTES: u64 = 64 << 20;

/// A snapshot of segments in a store, and of what of them is hidden. Everything is kept in memory, within bounds.
pub fn snapshot_of(
    env: &Env,
    store: Arc<dyn ObjectStore>,
    segments: Vec<(Day, SegmentEntry)>,
    hidden: Hidden,
) -> Result<Snapshot> {
    let options = ReadOptions { memory_bytes: MEMORY_BYTES, ..ReadOptions::default() };
    let reader = Reader::open(env, None, store, &options)?;
    let opener = Opener {
        env: env.clone(),
        cache: Arc::new(Cache::new(CACHE_BYTES)),
        // Nothing is read there: no segment is local.
        data_dir: PathBuf::new(),
        damage: Arc::new(DamageLog::default()),
        cold: Some(Arc::new(reader)),
    };
    let cold = |(day, entry)| (day, SegmentEntry { location: Location::Cold, ..entry });
    let segments = Segments::of(segments.into_iter().map(cold).collect(), &opener)?;
    Ok(Snapshot { segments: Arc::new(segments), hidden: Arc::new(hidden), ..Snapshot::default() })
}
