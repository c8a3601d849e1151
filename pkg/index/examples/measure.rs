//! Measures what the index costs: `cargo run --release -p timberlog-index --example measure`.

use std::hint::black_box;
use std::time::Instant;
use timberlog_disk::{Env, Open};
use timberlog_index::{SegmentIndex, TokenFilter, UserIndexInput, build};
use timberlog_segment::{BlockMeta, ColumnKey, ColumnMeta, Directory, LevelSpelling};
use timberlog_types::{Level, TimeRange};

const BLOCKS: u32 = 280;
const SERVICES: u32 = 50;
const VALUES: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    token_filters()?;
    let directory = directory();
    let started = Instant::now();
    let built = build(&directory, &mut [])?;
    println!(
        "{BLOCKS} blocks without user-defined indexes: {} bytes ({} a block), {:.2} ms",
        built.bytes.len(),
        built.bytes.len() as u32 / BLOCKS,
        started.elapsed().as_secs_f64() * 1e3
    );
    let base = built.bytes.len();
    let empty = build(&Directory::default(), &mut [])?.bytes.len();
    println!("an empty segment: {empty} bytes");

    for blocks_each in [1, 2, 3, 5] {
        let mut state = 1;
        let entries = (0..VALUES)
            .flat_map(|_| {
                let hash = random(&mut state);
                let first = random(&mut state) as u32 % BLOCKS;
                (0..blocks_each).map(move |n| (hash, (first + n * 61) % BLOCKS))
            })
            .collect();
        let mut user = [UserIndexInput { name: "trace_id".to_owned(), entries }];
        user[0].entries.sort_unstable();
        let started = Instant::now();
        let built = build(&directory, &mut user)?;
        println!(
            "{VALUES} values in {blocks_each} blocks each: {:.2} bytes a value, built in {:.0} ms",
            (built.bytes.len() - base) as f64 / VALUES as f64,
            started.elapsed().as_secs_f64() * 1e3
        );
        let env = Env::real();
        let path = std::env::temp_dir().join(format!("timberlog-index-{}.redb", std::process::id()));
        std::fs::write(&path, &built.bytes)?;
        let open = || -> Result<SegmentIndex, Box<dyn std::error::Error>> {
            Ok(SegmentIndex::open(env.disk.open(&path, Open::Read)?, built.pages.clone())?)
        };
        time("  open", 200, |_| drop(open()));
        let index = open()?;
        let hashes: Vec<u64> = user[0].entries.iter().map(|entry| entry.0).collect();
        let at = |n: usize| hashes[n.wrapping_mul(7_919_777) % hashes.len()];
        time("  user lookup, pages not in redb's cache", 20_000, |n| drop(black_box(index.user("trace_id", at(n)))));
        time("  user lookup, the same page again", 20_000, |_| drop(black_box(index.user("trace_id", at(5)))));
        time("  level", 20_000, |_| drop(black_box(index.blocks_with_level(Level::Error))));
        time("  service", 20_000, |n| drop(black_box(index.blocks_with_service(&directory.services[n % 50]))));
        let hour = |n: usize| n as i64 % 24 * 3_600_000_000_000;
        time("  an hour", 20_000, |n| drop(black_box(index.blocks_in(TimeRange { start: hour(n), end: hour(n + 1) }))));
        time("  all of time", 2_000, |_| drop(black_box(index.blocks_in(TimeRange::ALL))));
        time("  block", 20_000, |n| drop(black_box(index.block(n as u32 % BLOCKS))));
        std::fs::remove_file(&path)?;
    }
    Ok(())
}

fn token_filters() -> Result<(), Box<dyn std::error::Error>> {
    // A block of 1 MiB: 60,000 tokens, 19,000 distinct ones.
    let mut state = 7;
    let distinct: Vec<u64> = (0..19_000).map(|_| random(&mut state)).collect();
    let tokens: Vec<u64> = (0..60_000).map(|_| distinct[random(&mut state) as usize % distinct.len()]).collect();
    let mut sorting = tokens.clone();
    let bytes = TokenFilter::build(&mut sorting);
    println!("token filter of {} tokens: {} bytes", sorting.len(), bytes.len());
    let copies: Vec<Vec<u64>> = vec![tokens; 100];
    let mut copies = copies.into_iter();
    time("  build, of 60,000 hashes", 100, |_| {
        black_box(copies.next().map(|mut tokens| TokenFilter::build(&mut tokens)));
    });
    let filter = TokenFilter::open(&bytes)?;
    time("  contains", 1_000_000, |n| {
        black_box(filter.contains(n as u64 * 0x9e37_79b9));
    });
    Ok(())
}

fn time(what: &str, times: usize, mut each: impl FnMut(usize)) {
    let started = Instant::now();
    for n in 0..times {
        each(n);
    }
    println!("{what}: {:.3} µs", started.elapsed().as_secs_f64() * 1e6 / times as f64);
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    xxhash_rust::xxh3::xxh3_64(&state.to_le_bytes())
}

fn directory() -> Directory {
    let mut state = 3;
    let mut next = |below: u64| random(&mut state) % below;
    let keys = || {
        let fixed = [ColumnKey::Timestamp, ColumnKey::Stream, ColumnKey::Level, ColumnKey::Message];
        fixed.into_iter().chain((0..12).map(ColumnKey::Field))
    };
    let blocks = (0..BLOCKS).map(|number| {
        let start = i64::from(number / 12) * 3_600_000_000_000;
        let mut offset = 64;
        let columns = keys()
            .map(|key| {
                let len = 100 + next(10_000) as u32;
                offset += len;
                ColumnMeta { key, offset: offset - len, len, filter: None }
            })
            .collect();
        let first = next(u64::from(SERVICES) - 6) as u32;
        BlockMeta {
            number,
            offset: u64::from(number) * 220_000,
            len: offset,
            rows: 3571,
            raw_bytes: 1 << 20,
            range: TimeRange { start: start + next(60_000_000_000) as i64, end: start + 3_540_000_000_000 },
            columns,
            services: (first..first + 5).map(|id| (id, 700)).collect(),
            levels: (0..5).map(|id| (id, 700)).collect(),
            streams: (0..120).map(|n| (n * 10, n * 10 + next(9) as u32)).collect(),
            streams_exact: true,
        }
    });
    let levels = [Level::Info, Level::Error, Level::Warn, Level::Debug, Level::Fatal];
    Directory {
        blocks: blocks.collect(),
        field_names: (0..12).map(|n| format!("field{n}")).collect(),
        services: (0..SERVICES).map(|n| format!("service-{n}")).collect(),
        levels: levels.map(|level| LevelSpelling { level, spelling: Some(level.to_string()) }).to_vec(),
        ..Directory::default()
    }
}
