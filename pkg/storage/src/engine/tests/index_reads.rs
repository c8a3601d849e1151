//! A `.redb` that the disk fails to read once: the next query has it again. Damage stays damage.

use super::*;
use std::path::Path;
use timberlog_disk::Disk;
use timberlog_disk::sim::{Fault, Op, Sim};
use timberlog_index::IndexError;
use timberlog_types::TimeRange;

/// A machine with one segment that has an index.
fn with_index() -> Sim {
    let sim = Sim::new(7);
    let storage = opened(&sim);
    let mut builder = BatchBuilder::new();
    let level = builder.level(Some("info")).unwrap();
    for row in 0..3_000_u64 {
        let stream = builder.stream(&format!("s{}", row % 700), &[]).unwrap();
        let text = format!("{row} {}", "text that is long enough ".repeat(40));
        builder.finish_row(row as i64, stream, level, text.as_bytes()).unwrap();
    }
    storage.append(&Tenant::default(), builder.finish().unwrap(), None).unwrap();
    storage.flush().unwrap();
    storage.close().unwrap();
    drop(storage);
    sim
}

fn opened(sim: &Sim) -> Storage {
    let options = Options { background: false, wal_file_bytes: 1 << 20, ..Options::new("/data") };
    Storage::open(options, sim.env(), Arc::new(Nobody), &Progress::default()).unwrap()
}

fn segment(storage: &Storage) -> Arc<crate::Segment> {
    let snapshot = storage.snapshot(&Tenant::default());
    assert_eq!(snapshot.segments.len(), 1);
    Arc::clone(snapshot.segments.iter().next().unwrap())
}

/// What every table answers; the first error ends it.
fn look_up(segment: &crate::Segment) -> Result<u64, IndexError> {
    let files = segment.open().unwrap();
    let index = files.index.as_ref().unwrap().as_ref().unwrap();
    let mut found = index.blocks_in(TimeRange { start: 5, end: 6 })?.len();
    index.services("", &mut |_, _, blocks| {
        found += blocks.len();
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(found)
}

#[test]
fn what_does_not_fit_into_the_cache_is_open_once_for_all_who_hold_it() {
    let sim = with_index();
    let options = Options { background: false, cache_bytes: 0, ..Options::new("/data") };
    let storage = Storage::open(options, sim.env(), Arc::new(Nobody), &Progress::default()).unwrap();
    let segment = segment(&storage);
    let first = segment.open().unwrap();
    assert_eq!(storage.stats().cache_bytes, 0);
    assert!(Arc::ptr_eq(&first, &segment.open().unwrap()));
    let opened = Arc::downgrade(&first);
    drop(first);
    assert!(opened.upgrade().is_none(), "nobody holds it any more");
    assert_eq!(look_up(&segment), look_up(&segment));
}

#[test]
fn an_index_whose_opening_failed_once_is_opened_again() {
    let sim = with_index();
    let truth = look_up(&segment(&opened(&sim))).unwrap();
    for op in [Op::Open, Op::Read] {
        for skip in 0..3 {
            let storage = opened(&sim);
            let segment = segment(&storage);
            sim.disk.inject(op, ".redb", if op == Op::Open { 0 } else { skip }, Fault::Io);
            let error = segment.open().unwrap().index.as_ref().unwrap().as_ref().err().map(|error| error.kind);
            assert_eq!(error, Some(ErrorKind::Internal), "{op:?} {skip}");
            assert_eq!(look_up(&segment), Ok(truth), "{op:?} {skip}");
            assert!(storage.stats().damage.is_empty());
        }
    }
}

#[test]
fn an_index_of_which_a_lookup_failed_once_answers_again() {
    let sim = with_index();
    let truth = look_up(&segment(&opened(&sim))).unwrap();
    let storage = opened(&sim);
    let segment = segment(&storage);
    segment.open().unwrap();
    sim.disk.inject(Op::Read, ".redb", 0, Fault::Io);
    assert!(matches!(look_up(&segment), Err(IndexError::Io(_))));
    assert_eq!(look_up(&segment), Ok(truth));
}

#[test]
fn an_index_with_wrong_bytes_is_damage_and_is_not_opened_again() {
    let sim = with_index();
    let storage = opened(&sim);
    let segment = segment(&storage);
    let dir = segment.log_path().parent().unwrap().to_path_buf();
    let redb = sim.disk.list(&dir).unwrap().into_iter().find(|entry| entry.name.ends_with(".redb")).unwrap();
    let path = Path::new(&dir).join(redb.name);
    for page in 0..redb.len / 4096 {
        assert!(sim.disk.flip_bit(&path, page * 4096 * 8 + 77));
    }
    let first = segment.open().unwrap();
    let error = first.index.as_ref().unwrap().as_ref().err().unwrap();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    assert!(Arc::ptr_eq(&first, &segment.open().unwrap()));
    assert_eq!(storage.stats().damage.len(), 1);
}
