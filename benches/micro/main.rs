//! Micro-benchmarks: the steps of a record's way by themselves, each on the same made-up records.
//!
//!     cargo bench --bench micro                       # all of them
//!     cargo bench --bench micro -- columns/encode     # those whose name holds this
//!
//! Criterion keeps the figures of the last run under `target/criterion`, and says what has changed since.

mod columns;
mod index;
mod ingest;
mod merge;
mod sample;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    ingest::decode,
    ingest::wal,
    columns::encode,
    columns::decode,
    columns::messages,
    index::filter,
    index::tree,
    merge::merge
);
criterion_main!(benches);
