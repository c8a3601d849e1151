//! A segment is the same however many threads encode its blocks.

use super::*;
use timberlog_disk::sim::Sim;
use timberlog_types::{BatchBuilder, ValueKind};

const DAY: Day = Day(20_454);

/// Batches of which no two have the same streams, levels and fields.
fn batches() -> Vec<Arc<Batch>> {
    let batch = |number: usize| {
        let mut builder = BatchBuilder::new();
        for row in 0..100 {
            let service = format!("service-{}", row * (number + 1) % 7);
            let stream = builder.stream(&service, &[("service", &service)]).unwrap();
            let level = builder.level([None, Some("info"), Some("ERROR")][(row + number) % 3]).unwrap();
            builder.field("trace_id", ValueKind::String, format!("{:08x}", row * 7919 + number).as_bytes()).unwrap();
            if row % (number + 2) == 0 {
                builder.field(&format!("f{}", number % 5), ValueKind::Number, row.to_string().as_bytes()).unwrap();
            }
            let message = format!("request {row} of batch {number} took {} ms", row * number);
            builder.finish_row(DAY.range().start + row as i64, stream, level, message.as_bytes()).unwrap();
        }
        Arc::new(builder.finish().unwrap())
    };
    (0..40).map(batch).collect()
}

/// The bytes of both files.
fn build(threads: usize) -> Vec<Vec<u8>> {
    let env = Sim::new(1).env();
    let options = Options { user_indexes: vec!["trace_id".to_owned()], ..Options::new("/data") };
    let batches = batches();
    let place = |place: usize| RowRef { batch: (place / 100) as u32, row: (place % 100) as u32 };
    let rows: Vec<RowRef> = (0..4_000).map(place).collect();
    // More blocks than are encoded at a time.
    let blocks: Vec<Range<usize>> = (0..100).map(|block| block * 40..block * 40 + 40).collect();
    assert!(blocks.len() > 3 * 3 * BLOCKS_PER_THREAD);
    let mut build = SegmentBuild::new(&env, &options, &Tenant::default(), DAY, 1, &mut Vec::new()).unwrap();
    let fields = IndexedFields::new(&options.user_indexes, &batches);
    build.blocks(&batches, &rows, &blocks, &fields, threads).unwrap();
    let entry = build.finish((1, 40)).unwrap();
    assert_eq!((entry.rows, entry.range.start), (4_000, DAY.range().start));
    let read = |file: &FileRef| {
        let opened = env.disk.open(&options.data_dir.join(&file.path), Open::Read).unwrap();
        let bytes = opened.read_all(file.len).unwrap();
        assert_eq!(crc32c::crc32c(&bytes), file.crc32c);
        bytes
    };
    entry.files().map(read).collect()
}

#[test]
fn threads_do_not_show() {
    let alone = build(1);
    assert_eq!(alone.len(), 2);
    for threads in [0, 2, 3, 200] {
        assert!(build(threads) == alone, "{threads} threads");
    }
}
