//! Indexes: a block's token filter and a segment's B+trees, built and asked.

use crate::sample;
use criterion::{BatchSize, Criterion, Throughput};
use std::hint::black_box;
use timberlog_index::{SegmentIndex, TokenFilter, UserIndexInput, build};
use timberlog_segment::ColumnKey;
use timberlog_types::{Level, TimeRange};

const BLOCKS: usize = 40;

/// The filter of the messages of one block.
pub fn filter(criterion: &mut Criterion) {
    let (_, written) = sample::segment(1);
    let of_messages = written[0].tokens.iter().find(|(key, _)| *key == ColumnKey::Message);
    let hashes = of_messages.map(|(_, hashes)| hashes.clone()).expect("messages want a filter");
    let mut group = criterion.benchmark_group("token_filter");
    group.throughput(Throughput::Elements(hashes.len() as u64));
    group.bench_function("build", |bencher| {
        bencher.iter_batched_ref(|| hashes.clone(), TokenFilter::build, BatchSize::SmallInput);
    });
    let bytes = TokenFilter::build(&mut hashes.clone());
    group.throughput(Throughput::Elements(1));
    group.bench_function("probe", |bencher| {
        let filter = TokenFilter::open(&bytes).expect("a filter");
        let mut hash = 1_u64;
        bencher.iter(|| {
            hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
            filter.contains(black_box(hash))
        });
    });
    group.finish();
}

/// The B+trees of a segment of 40 blocks, with a user-defined index of every field that wants a filter.
pub fn tree(criterion: &mut Criterion) {
    let (reader, written) = sample::segment(BLOCKS);
    let directory = reader.directory();
    let mut entries = Vec::new();
    for block in &written {
        let fields = block.tokens.iter().filter(|(key, _)| matches!(key, ColumnKey::Field(_)));
        entries.extend(fields.flat_map(|(_, hashes)| hashes).map(|&hash| (hash, block.meta.number)));
    }
    let asked = entries.first().map_or(0, |&(hash, _)| hash);
    let user = || vec![UserIndexInput { name: "id".to_owned(), entries: entries.clone() }];
    let mut group = criterion.benchmark_group("index");
    group.sample_size(20);
    group.bench_function("build_40_blocks", |bencher| {
        bencher.iter_batched_ref(user, |user| build(directory, user).expect("an index"), BatchSize::PerIteration);
    });
    let built = build(directory, &mut user()).expect("an index");
    let open = || SegmentIndex::open(sample::Memory::of(built.bytes.clone()), built.pages.clone()).expect("an index");
    group.bench_function("open", |bencher| bencher.iter(open));
    let index = open();
    let (start, end) = (directory.blocks[0].range.start, directory.blocks[1].range.end);
    group.bench_function("blocks_of_a_time_range", |bencher| {
        bencher.iter(|| index.blocks_in(black_box(TimeRange { start, end })).expect("blocks"));
    });
    group.bench_function("blocks_of_a_level", |bencher| {
        bencher.iter(|| index.blocks_with_level(black_box(Level::Error)).expect("blocks"));
    });
    group.bench_function("blocks_of_an_id", |bencher| {
        bencher.iter(|| index.user("id", black_box(asked)).expect("blocks"));
    });
    group.finish();
}
