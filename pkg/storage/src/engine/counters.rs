//! What the engine counts, and the statistics made of it.

use super::{Core, lock};
use crate::manifest::State;
use crate::stats::Stats;
use crate::view::View;
use crate::wal::Wal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub(super) struct Counters {
    pub(super) records_appended: AtomicU64,
    pub(super) batches_appended: AtomicU64,
    pub(super) bytes_appended: AtomicU64,
    pub(super) records_refused: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) flushes_failed: AtomicU64,
    pub(super) flush_ns: AtomicU64,
    pub(super) bytes_flushed: AtomicU64,
    pub(super) flush_error: Mutex<Option<String>>,
}

impl Core {
    pub(super) fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (hits, misses) = self.opener.cache.hits_and_misses();
        let counters = &self.counters;
        let view = self.read_view();
        let mut stats = Stats {
            records_appended: get(&counters.records_appended),
            batches_appended: get(&counters.batches_appended),
            bytes_appended: get(&counters.bytes_appended),
            records_refused: get(&counters.records_refused),
            duplicates: get(&counters.duplicates),
            buffer_records: view.generations().map(|generation| generation.rows).sum(),
            buffer_bytes: self.memory.used() as u64,
            appends_waiting: self.memory.waiting() as u64,
            flushes: get(&counters.flushes),
            flushes_failed: get(&counters.flushes_failed),
            flush_error: lock(&counters.flush_error).clone(),
            flush_ns: get(&counters.flush_ns),
            manifest_version: view.state().version,
            flushed_seq: view.state().flushed_seq,
            visible_seq: view.visible_seq(),
            // Without a WAL there is only what is in segments.
            synced_seq: self.wal.get().map_or(view.state().flushed_seq, Wal::synced_seq),
            cache_bytes: self.opener.cache.bytes(),
            cache_hits: hits,
            cache_misses: misses,
            archive: self.archive_stats(),
            compaction: self.compaction_stats(),
            tier: self.tier_stats(view.state()),
            damage: self.damage.messages(),
            ..Stats::default()
        };
        add_state(&mut stats, view.state());
        add_buffer(&mut stats, &view);
        stats
    }
}

fn add_state(stats: &mut Stats, state: &State) {
    stats.tenants = state.tenants.len() as u64;
    stats.partitions = state.all_partitions().count() as u64;
    for (_, _, entry) in state.segments() {
        stats.segments += 1;
        stats.segments_local += u64::from(entry.location.is_local());
        stats.segment_records += entry.rows;
        stats.segment_raw_bytes += entry.raw_bytes;
        stats.segment_bytes += entry.local_files().map(|file| file.len).sum::<u64>();
        extend(stats, entry.range);
    }
}

fn add_buffer(stats: &mut Stats, view: &View) {
    for batch in view.generations().flat_map(|generation| generation.tenants.values()).flatten() {
        extend(stats, batch.range);
    }
}

fn extend(stats: &mut Stats, range: timberlog_types::TimeRange) {
    stats.timestamp_min = Some(stats.timestamp_min.map_or(range.start, |min| min.min(range.start)));
    stats.timestamp_max = Some(stats.timestamp_max.map_or(range.end, |max| max.max(range.end)));
}
