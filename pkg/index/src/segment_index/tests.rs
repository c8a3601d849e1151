mod golden;

use super::*;
use crate::{BuiltIndex, UserIndexInput, build};
use proptest::prelude::*;
use std::io;
use std::sync::Mutex;
use timberlog_segment::{BlockMeta, ColumnKey, ColumnMeta, Directory, FilterPlace};

/// A file in memory that a test can damage while it is open.
pub(crate) struct Bytes(pub(crate) Mutex<Vec<u8>>);

impl File for Bytes {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.lock().unwrap();
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, _buf: &[u8], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn open(bytes: Vec<u8>, pages: &RedbPages) -> Result<SegmentIndex, IndexError> {
    SegmentIndex::open(Arc::new(Bytes(Mutex::new(bytes))), pages.clone())
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    xxhash_rust::xxh3::xxh3_64(&state.to_le_bytes())
}

/// A directory of made-up blocks: one-hour slices of a day, services over them.
fn directory(blocks: u32, services: u32, seed: u64) -> Directory {
    let mut state = seed;
    let mut next = |below: u64| random(&mut state) % below;
    let spelling = |level: Level, text: &str| LevelSpelling { level, spelling: Some(text.to_owned()) };
    let levels = vec![
        spelling(Level::Info, "INFO"),
        spelling(Level::Error, "error"),
        spelling(Level::Error, "ERR"),
        LevelSpelling { level: Level::Unknown, spelling: None },
        spelling(Level::Fatal, "panic"),
    ];
    let blocks: Vec<BlockMeta> = (0..blocks)
        .map(|number| {
            let slice = i64::from(number / 12) * 3_600_000_000_000;
            let start = slice + next(3_000_000_000_000) as i64;
            let columns = [ColumnKey::Timestamp, ColumnKey::Stream, ColumnKey::Level, ColumnKey::Message]
                .into_iter()
                .chain((0..12).map(ColumnKey::Field));
            let mut offset = 64;
            let columns = columns
                .map(|key| {
                    let len = 100 + next(10_000) as u32;
                    let filter = (key == ColumnKey::Message)
                        .then(|| FilterPlace { offset: 300_000_000 + u64::from(number) * 24_000, len: 23_000 });
                    offset += len;
                    ColumnMeta { key, offset: offset - len, len, filter }
                })
                .collect();
            let mut present: Vec<u32> = (0..1 + next(12)).map(|_| next(u64::from(services)) as u32).collect();
            present.sort_unstable();
            present.dedup();
            BlockMeta {
                number,
                offset: 128 + u64::from(number) * 220_000,
                len: offset,
                rows: 5000,
                raw_bytes: 1 << 20,
                range: TimeRange { start, end: start + next(600_000_000_000) as i64 },
                columns,
                services: present.into_iter().map(|id| (id, 1 + next(5000) as u32)).collect(),
                levels: (0..5).filter(|&id| id < 2 || next(8) == 0).map(|id| (id, 100 + id + number)).collect(),
                streams: (0..30).map(|n| (n * 40 + next(10) as u32, n * 40 + 20)).collect(),
                streams_exact: number % 3 == 0,
            }
        })
        .collect();
    Directory {
        field_names: (0..12).map(|n| format!("field{n}")).collect(),
        services: (0..services).map(|n| format!("service-{n}")).collect(),
        levels,
        blocks,
        ..Directory::default()
    }
}

fn trace_ids(count: u64, blocks: u32, seed: u64) -> UserIndexInput {
    let mut state = seed;
    let mut entries = Vec::new();
    for _ in 0..count {
        let hash = random(&mut state);
        let first = random(&mut state) as u32 % blocks;
        entries.push((hash, first));
        if random(&mut state).is_multiple_of(4) {
            entries.push((hash, random(&mut state) as u32 % blocks));
        }
    }
    // A value that stands almost everywhere, and neighbouring hashes.
    entries.extend((0..blocks).filter(|block| block % 7 > 0).map(|block| (77, block)));
    entries.extend((0..5).map(|n| (1 << 40 | n, 0)));
    UserIndexInput { name: "trace_id".to_owned(), entries }
}

fn sample() -> (Directory, Vec<UserIndexInput>, BuiltIndex) {
    let directory = directory(60, 9, 3);
    let hosts = UserIndexInput { name: "host".to_owned(), entries: vec![(5, 9), (5, 9), (5, 1), (u64::MAX, 59)] };
    let mut user =
        vec![trace_ids(3_000, 60, 1), hosts, UserIndexInput { name: "empty".to_owned(), entries: Vec::new() }];
    let built = build(&directory, &mut user).unwrap();
    (directory, user, built)
}

fn truth_in(directory: &Directory, range: TimeRange) -> RoaringBitmap {
    let blocks = directory.blocks.iter().filter(|block| !range.is_empty() && block.range.overlaps(range));
    blocks.map(|block| block.number).collect()
}

fn truth_user(input: &UserIndexInput, hash: u64) -> RoaringBitmap {
    input.entries.iter().filter(|entry| entry.0 == hash).map(|entry| entry.1).collect()
}

/// Asks everything; every answer must be right or `Corrupt`. How many were right.
fn interrogate(index: &SegmentIndex, directory: &Directory, user: &[UserIndexInput], seed: u64) -> usize {
    let mut right = 0;
    fn check<T: PartialEq + fmt::Debug>(right: &mut usize, answer: Result<T, IndexError>, truth: T) {
        match answer {
            Ok(answer) => {
                assert_eq!(answer, truth);
                *right += 1;
            }
            Err(IndexError::Corrupt(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let has = |block: &BlockMeta, id: u32| block.services.iter().any(|&(service, _)| service == id);
    let of = |wanted: &dyn Fn(&BlockMeta) -> bool| -> RoaringBitmap {
        directory.blocks.iter().filter(|block| wanted(block)).map(|block| block.number).collect()
    };
    for level in Level::ALL {
        let wanted =
            |block: &BlockMeta| block.levels.iter().any(|&(id, _)| directory.levels[id as usize].level == level);
        check(&mut right, index.blocks_with_level(level), of(&wanted));
    }
    for (id, name) in (0..).zip(&directory.services) {
        check(&mut right, index.blocks_with_service(name), of(&|block| has(block, id)));
    }
    check(&mut right, index.blocks_with_service("nobody"), RoaringBitmap::new());
    check(
        &mut right,
        index.blocks_matching_service("service-", &|name| name.ends_with('2')),
        of(&|block| (0..).zip(&directory.services).any(|(id, name)| name.ends_with('2') && has(block, id))),
    );
    let mut state = seed;
    for _ in 0..20 {
        let start = random(&mut state) as i64 % 20_000_000_000_000;
        let range = TimeRange { start, end: start + random(&mut state) as i64 % 2_000_000_000_000 };
        check(&mut right, index.blocks_in(range), truth_in(directory, range));
    }
    for input in user {
        for _ in 0..20 {
            let hash = match input.entries.get(random(&mut state) as usize % input.entries.len().max(1)) {
                Some(&(hash, _)) if !random(&mut state).is_multiple_of(3) => hash,
                _ => random(&mut state),
            };
            check(&mut right, index.user(&input.name, hash), Some(truth_user(input, hash)));
        }
    }
    check(&mut right, index.user("nothing", 1), None);
    for number in 0..directory.blocks.len() as u32 {
        let block = &directory.blocks[number as usize];
        let answer = index.block(number).map(|block| block.map(|block| block.meta));
        check(&mut right, answer, Some(block.clone()));
    }
    right
}

#[test]
fn every_lookup_is_answered_from_the_file() {
    let (directory, user, built) = sample();
    let index = open(built.bytes.clone(), &built.pages).unwrap();
    assert_eq!(interrogate(&index, &directory, &user, 5), 7 + 9 + 2 + 20 + 60 + 1 + 60);
    index.check(&directory).unwrap();
    assert_eq!(index.user_indexes().collect::<Vec<_>>(), ["empty", "host", "trace_id"]);
    assert_eq!((index.rows(), index.block_count()), (300_000, 60));
    assert_eq!(index.block(60), Ok(None));
    assert_eq!(index.user("trace_id", 77).unwrap().unwrap().len(), 51);
    let bytes = Arc::new(Bytes(Mutex::new(built.bytes.clone())));
    assert_eq!(damaged_pages(bytes, built.pages.clone()), Ok(Vec::new()));
}

#[test]
fn the_same_input_gives_the_same_file() {
    let (directory, mut user, built) = sample();
    user.reverse();
    user.iter_mut().for_each(|index| index.entries.reverse());
    assert!(build(&directory, &mut user).unwrap() == built);
}

#[test]
fn an_empty_segment_has_an_index() {
    let built = build(&Directory::default(), &mut []).unwrap();
    let index = open(built.bytes, &built.pages).unwrap();
    assert!(index.blocks_in(TimeRange::ALL).unwrap().is_empty());
    assert!(index.blocks_with_level(Level::Info).unwrap().is_empty());
    index.check(&Directory::default()).unwrap();
}

#[test]
fn what_contradicts_itself_is_not_built() {
    let (directory, user, _) = sample();
    let refused = |change: &dyn Fn(&mut Directory, &mut Vec<UserIndexInput>)| {
        let (mut directory, mut user) = (directory.clone(), user.clone());
        change(&mut directory, &mut user);
        matches!(build(&directory, &mut user), Err(IndexError::Build(_)))
    };
    assert!(!refused(&|_, _| {}));
    assert!(refused(&|directory, _| directory.blocks[4].number = 5));
    assert!(refused(&|directory, _| directory.blocks[4].levels[0].0 = 99));
    assert!(refused(&|directory, _| directory.blocks[4].services[0].0 = 99));
    assert!(refused(&|directory, _| directory.services[1] = directory.services[0].clone()));
    assert!(refused(&|_, user| user[0].name = user[1].name.clone()));
    assert!(refused(&|_, user| user[0].entries.push((1, 60))));
}

#[test]
fn check_finds_every_difference() {
    let (directory, _, built) = sample();
    let index = open(built.bytes, &built.pages).unwrap();
    let changes: [&dyn Fn(&mut Directory); 9] = [
        &|directory| directory.blocks[3].rows += 1,
        &|directory| directory.blocks[3].range.end += 1,
        &|directory| directory.blocks[3].columns[2].offset += 1,
        &|directory| directory.blocks[3].services[0].1 += 1,
        &|directory| directory.services.swap(0, 1),
        &|directory| directory.levels[2].level = Level::Warn,
        &|directory| directory.field_names[2].push('x'),
        &|directory| directory.blocks[3].streams_exact ^= true,
        &|directory| drop(directory.blocks.pop()),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = directory.clone();
        change(&mut changed);
        assert!(matches!(index.check(&changed), Err(IndexError::Corrupt(_))), "change {number}");
    }
}

#[test]
fn a_damaged_file_answers_right_or_not_at_all() {
    let (directory, user, built) = sample();
    let mut right = 0;
    for round in 0..150 {
        let mut state = round;
        let mut bytes = built.bytes.clone();
        let flips = if round % 2 == 0 { 1 + random(&mut state) % 4 } else { 1 + random(&mut state) % 300 };
        for _ in 0..flips {
            let at = random(&mut state) as usize % bytes.len();
            bytes[at] ^= 1 + (random(&mut state) % 255) as u8;
        }
        let file = Arc::new(Bytes(Mutex::new(bytes)));
        assert!(!damaged_pages(file.clone(), built.pages.clone()).unwrap().is_empty());
        match SegmentIndex::open(file, built.pages.clone()) {
            Ok(index) => right += interrogate(&index, &directory, &user, round),
            Err(error) => assert!(matches!(error, IndexError::Corrupt(_)), "{error}"),
        }
    }
    assert!(right > 100, "only {right} lookups were answered: the test tests nothing");
}

#[test]
fn damage_to_an_open_file_is_noticed() {
    let (directory, user, built) = sample();
    let mut right = 0;
    for round in 0..60 {
        let file = Arc::new(Bytes(Mutex::new(built.bytes.clone())));
        let index = SegmentIndex::open(file.clone(), built.pages.clone()).unwrap();
        let mut state = round;
        for _ in 0..1 + random(&mut state) % 40 {
            let mut bytes = file.0.lock().unwrap();
            let at = random(&mut state) as usize % bytes.len();
            bytes[at] ^= 0x41;
        }
        right += interrogate(&index, &directory, &user, round);
    }
    assert!(right > 100);
}

#[test]
fn a_file_of_another_length_is_not_opened() {
    let (_, _, built) = sample();
    for len in [0, 1, 4095, 4096, 8192, built.bytes.len() - 1, built.bytes.len() + 1] {
        let mut bytes = built.bytes.clone();
        bytes.resize(len, 0);
        let message = open(bytes, &built.pages).unwrap_err().to_string();
        assert!(message.contains("expected"), "{message}");
    }
    let RedbPages { page_size, len, crcs } = built.pages.clone();
    for pages in [
        RedbPages { page_size: 0, len, crcs: crcs.clone() },
        RedbPages { page_size: 512, len, crcs: crcs.clone() },
        RedbPages { page_size, len, crcs: crcs[1..].to_vec() },
        RedbPages { page_size, len: 0, crcs: Vec::new() },
        RedbPages { page_size, len: u64::MAX, crcs },
    ] {
        assert!(matches!(open(built.bytes.clone(), &pages), Err(IndexError::Corrupt(_))));
    }
}

#[test]
fn a_panic_inside_a_question_is_caught_and_ends_the_index() {
    let (_, _, built) = sample();
    let index = open(built.bytes, &built.pages).unwrap();
    let answer: Result<(), IndexError> = index.ask(|_| std::panic::resume_unwind(Box::new("redb gave up")));
    assert!(matches!(answer, Err(IndexError::Corrupt(_))));
    assert!(matches!(index.blocks_with_level(Level::Info), Err(IndexError::Corrupt(_))));
}

#[test]
fn an_index_stays_within_its_share() {
    // 100 MiB of text: half a percent and 64 KB.
    let directory = directory(100, 50, 1);
    let built = build(&directory, &mut []).unwrap();
    let budget = (100 << 20) / 200 + (64 << 10);
    assert!(built.bytes.len() <= budget, "{} of {budget} bytes", built.bytes.len());
    let small = build(&Directory::default(), &mut []).unwrap();
    assert!(small.bytes.len() <= 64 << 10, "{} bytes", small.bytes.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_time_ranges_are_answered(
        blocks in prop::collection::vec((any_time(), any_time()), 0..40),
        asked in prop::collection::vec((any_time(), any_time()), 1..40),
    ) {
        let mut directory = directory(blocks.len() as u32, 1, 0);
        for (block, (a, b)) in directory.blocks.iter_mut().zip(blocks) {
            block.range = TimeRange { start: a.min(b), end: a.max(b) };
        }
        let built = build(&directory, &mut []).unwrap();
        let index = open(built.bytes, &built.pages).unwrap();
        index.check(&directory).unwrap();
        for (start, end) in asked.into_iter().chain([(i64::MIN, i64::MAX), (i64::MAX, i64::MIN)]) {
            let range = TimeRange { start, end };
            prop_assert_eq!(index.blocks_in(range).unwrap(), truth_in(&directory, range));
        }
    }
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -20..20_i64, Just(i64::MIN), Just(i64::MAX), Just(i64::MIN + 1), Just(i64::MAX - 1)]
}
