//! Work that can wait stands back while flushes fall behind.

use super::super::compactor::Pace;
use super::*;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

const REST: Duration = Duration::from_millis(100);

#[test]
fn merges_rest_while_most_of_the_room_beyond_a_flush_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options { flush_bytes: 1_000, buffer_bytes_max: 5_000, ..options(&folder) };
    options.compaction.bytes_per_second = 0;
    let storage = open(&options).unwrap();
    let (memory, tenant, due) = (&storage.core.memory, Tenant::default(), AtomicU64::new(0));
    let step = |pace| {
        let started = Instant::now();
        storage.core.pace(pace, 1, &due).unwrap();
        started.elapsed()
    };
    // A machine that is busy may hold one up for as long as a rest is, but not all of them.
    let rests = |pace| (0..50).all(|_| step(pace) >= REST);
    memory.take(&tenant, 3_000);
    assert!(!storage.is_tight() && !rests(Pace::Limited));
    memory.take(&tenant, 1);
    assert!(storage.is_tight());
    assert!(step(Pace::Limited) >= REST);
    assert!(!rests(Pace::Free), "whoever asks for a merge has it at once");
    memory.release(&tenant, 1);
    assert!(!storage.is_tight());
    memory.release(&tenant, 3_000);
}

#[test]
fn a_buffer_that_is_flushed_when_it_is_full_is_never_tight() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { flush_bytes: 5_000, buffer_bytes_max: 5_000, ..options(&folder) };
    let storage = open(&options).unwrap();
    storage.core.memory.take(&Tenant::default(), 5_000);
    assert!(!storage.is_tight());
    storage.core.memory.release(&Tenant::default(), 5_000);
}
