//! Failing writes, failing syncs, full disks.

use super::*;
use std::time::Duration;
use timberlog_disk::sim::{Fault, Op};

#[test]
fn a_failed_fsync_poisons_and_publishes_nothing() {
    let sim = Sim::new(1);
    let opened = open(&sim, 0);
    assert_eq!(opened.append("a"), Ok(1));
    sim.disk.inject(Op::Sync, ".wal", 0, Fault::Io);
    let syncs = |sim: &Sim| sim.disk.trace().iter().filter(|line| line.contains(" Sync ")).count();
    sim.disk.start_trace();
    assert_eq!(opened.group(&["b", "c"]), [Err(ErrorKind::Closed), Err(ErrorKind::Closed)]);
    assert!(!opened.log.take().iter().any(|told| matches!(told, Told::Published(..) | Told::Synced(_))));
    assert_eq!((opened.wal.last_seq(), opened.wal.synced_seq()), (1, 1));
    let error = opened.queue("d").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Closed);
    assert!(error.message.contains("fsync"), "{error}");
    assert!(opened.wal.poisoned().is_some());
    assert_eq!(opened.wal.sync().unwrap_err().kind, ErrorKind::Closed);
    let tried = syncs(&sim);
    assert_eq!(opened.wal.close().unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(syncs(&sim), tried, "an fsync was tried again");
    drop(opened);
    // What is read back after a restart is made durable first: a second crash takes none of it.
    let opened = open(&sim, 0);
    let replayed = opened.replayed();
    for seed in 0..20 {
        assert_eq!(open(&sim.recover(seed), 0).replayed(), replayed, "seed {seed}");
    }
}

#[test]
fn what_was_queued_when_an_fsync_failed_is_answered_closed() {
    let sim = Sim::new(1);
    let opened = open(&sim, 0);
    sim.disk.inject(Op::Sync, "00001.wal", 2, Fault::Io);
    assert_eq!(opened.append("a"), Ok(1));
    assert_eq!(opened.append("b"), Err(ErrorKind::Closed));
    opened.log.take();
    // Past the check at the door, as if it had been queued a moment before.
    let (log, done) = (Arc::clone(&opened.log), "c".to_owned());
    let done = Box::new(move |result: Result<Seq>| log.put(Told::Done(done, result.map_err(|error| error.kind))));
    let late = Append { tenant: Tenant::default(), body: batch("c").into(), producer: None, done };
    opened.wal.queue.push(late).unwrap();
    opened.wal.step();
    assert_eq!(opened.log.take(), [Told::Done("c".into(), Err(ErrorKind::Closed))]);
}

#[test]
fn a_full_disk_fails_the_batch_and_not_the_wal() {
    let sim = Sim::new(1);
    sim.disk.create_dir_all(Path::new(DIR)).unwrap();
    sim.disk.set_capacity(Some(1000));
    let opened = open(&sim, 0);
    assert_eq!(opened.group(&["a", "b"]), [Err(ErrorKind::Unavailable), Err(ErrorKind::Unavailable)]);
    sim.disk.set_capacity(None);
    assert_eq!(opened.append("c"), Ok(1));
    // Full again when the next file is due.
    sim.disk.set_capacity(Some(0));
    let filler = "x".repeat(1000);
    let mut last = 1;
    loop {
        match opened.append(&filler) {
            Ok(seq) => last = seq,
            Err(kind) => {
                assert_eq!(kind, ErrorKind::Unavailable);
                break;
            }
        }
    }
    assert_eq!(opened.append("still full"), Err(ErrorKind::Unavailable));
    sim.disk.set_capacity(None);
    assert_eq!(opened.append("d"), Ok(last + 1));
    drop(opened);
    let reopened = open(&sim, 0);
    assert_eq!(reopened.report.damages, []);
    assert_eq!(reopened.replayed().len() as Seq, last + 1);
    assert!(!files(&sim).iter().any(|name| name.ends_with(".tmp")));
}

/// A write fails at any place of a group; the WAL goes on, and no half frame is ever read.
#[test]
fn a_failed_write_fails_the_group_and_not_the_wal() {
    for fault in [Fault::NoSpace, Fault::Io, Fault::DoneButError] {
        for skip in 0..3 {
            for is_short in [false, true] {
                let sim = Sim::new(1);
                let opened = open(&sim, 0);
                assert_eq!(opened.append("a"), Ok(1));
                sim.disk.set_short_io(if is_short { 60 } else { 0 });
                sim.disk.inject(Op::Write, "00001.wal", skip, fault);
                let long = "y".repeat(40_000);
                let results = opened.group(&["b", "c", &long, "d"]);
                sim.disk.set_short_io(0);
                let what = format!("{fault:?}, skip {skip}, short {is_short}: {results:?}");
                let mut expected = vec![(1, "a".to_owned())];
                for (text, result) in ["b", "c", &long, "d"].into_iter().zip(results) {
                    expected.extend(result.ok().map(|seq| (seq, text.to_owned())));
                }
                let next = expected.len() as Seq + 1;
                assert_eq!(opened.append("e"), Ok(next), "{what}");
                expected.push((next, "e".into()));
                drop(opened);
                let reopened = open(&sim, 0);
                assert_eq!(reopened.report.damages, [], "{what}");
                assert_eq!(reopened.replayed(), expected, "{what}");
            }
        }
    }
}

#[test]
fn a_folder_that_cannot_be_synced_poisons() {
    let sim = Sim::new(1);
    let opened = open(&sim, 0);
    sim.disk.inject(Op::SyncDir, "wal", 0, Fault::Io);
    assert_eq!(opened.append("a"), Err(ErrorKind::Closed));
    assert!(opened.wal.poisoned().is_some());
}

#[test]
fn in_async_mode_a_failed_fsync_poisons_what_comes_after() {
    let sim = Sim::new(1);
    let durability = Durability::Async { interval: Duration::from_secs(1) };
    let opened = try_open(&sim.env(), WalOptions { durability, ..options() }, 0).unwrap();
    assert_eq!(opened.append("a"), Ok(1));
    assert_eq!(opened.log.take(), [Told::Published(1, "a".into()), Told::Done("a".into(), Ok(1))]);
    assert_eq!((opened.wal.last_seq(), opened.wal.synced_seq()), (1, 0));
    assert_eq!(opened.wal.sync().unwrap(), 1);
    assert_eq!(opened.log.take(), [Told::Synced(1)]);
    assert_eq!(opened.append("b"), Ok(2));
    sim.disk.inject(Op::Sync, ".wal", 0, Fault::Io);
    assert_eq!(opened.wal.sync().unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(opened.queue("c").unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(opened.wal.synced_seq(), 1);
}

#[test]
fn truncation_that_fails_is_tried_again() {
    for (skip, fault) in [(0, Fault::Io), (1, Fault::Io), (0, Fault::DoneButError), (1, Fault::DoneButError)] {
        let sim = Sim::new(1);
        let opened = open(&sim, 0);
        let filler = "x".repeat(1500);
        for _ in 0..12 {
            assert!(opened.append(&filler).is_ok());
        }
        let count = |sim: &Sim| files(sim).iter().filter(|name| name.ends_with(".wal")).count();
        assert!(count(&sim) > 4);
        sim.disk.inject(Op::Rename, ".spare", skip, fault);
        assert!(opened.wal.truncate(12).is_err());
        assert!(count(&sim) > 1);
        // Some files are gone and older ones are not: what is in segments is not missed.
        assert_eq!(verify(&sim.disk, Path::new(DIR), Some(12)).unwrap().damages, [], "{skip} {fault:?}");
        opened.wal.truncate(12).unwrap();
        assert_eq!(count(&sim), 1, "{skip} {fault:?}");
    }
}
