//! The life of a WAL without trouble: order, files, numbers, limits.

use super::*;
use std::time::Duration;

#[test]
fn a_group_is_synced_then_published_in_order_then_answered() {
    let sim = Sim::new(1);
    let opened = open(&sim, 0);
    for text in ["a", "b", "c"] {
        opened.queue(text).unwrap();
    }
    sim.disk.start_trace();
    assert_eq!(opened.wal.queued().0, 3);
    assert_eq!(opened.wal.step(), 3);
    assert_eq!(opened.wal.queued(), (0, 0));
    let told = opened.log.take();
    let mut expected = vec![Told::Synced(3)];
    expected.extend(letters(3).into_iter().map(|(seq, text)| Told::Published(seq, text)));
    expected.extend(letters(3).into_iter().map(|(seq, text)| Told::Done(text, Ok(seq))));
    assert_eq!(told, expected);
    // One fsync for the header of the new file, one for `wal.meta`, one for the group.
    let syncs = sim.disk.trace().iter().filter(|line| line.contains(" Sync ")).count();
    assert_eq!(syncs, 3, "{:?}", sim.disk.trace());
    assert_eq!((opened.wal.last_seq(), opened.wal.synced_seq()), (3, 3));
}

#[test]
fn everything_comes_back() {
    let sim = Sim::new(1);
    let opened = open(&sim, 0);
    assert_eq!(opened.report, ReplayReport::default());
    let producer = ProducerBatch { refused: b"2 refused".to_vec(), ..ProducerBatch::new("p", 42).unwrap() };
    opened.queue_with("a", Some(producer.clone())).unwrap();
    opened.wal.step();
    let tenant = Tenant::new("other").unwrap();
    let done: Done = Box::new(|_| {});
    opened.wal.append(Append { tenant: tenant.clone(), body: batch("b").into(), producer: None, done }).unwrap();
    opened.wal.step();
    drop(opened);
    let opened = open(&sim, 0);
    assert_eq!(opened.replayed(), letters(2));
    assert_eq!((&opened.frames[0].producer, &opened.frames[0].tenant), (&Some(producer), &Tenant::default()));
    assert_eq!((&opened.frames[1].producer, &opened.frames[1].tenant), (&None, &tenant));
    assert_eq!(opened.frames[1].body.batch().unwrap().as_bytes(), batch("b").as_bytes());
    let ReplayReport { files, frames, rows, last_seq, .. } = opened.report;
    assert_eq!((files, frames, rows, last_seq), (1, 2, 2, 2));
    // Replay starts behind what is flushed.
    assert_eq!(open(&sim, 1).replayed(), [(2, "b".into())]);
    let all_flushed = open(&sim, 2);
    assert_eq!((all_flushed.report.frames, all_flushed.report.files, all_flushed.report.last_seq), (0, 0, 2));
    assert_eq!(open(&sim, 9).append("j"), Ok(10));
}

#[test]
fn files_are_recycled_and_old_frames_never_come_back() {
    let sim = Sim::new(1);
    let mut flushed = 0;
    let mut opened = open(&sim, 0);
    for round in 0..200_u64 {
        let text = format!("{round}-{}", "x".repeat((round as usize * 37) % 900));
        assert_eq!(opened.append(&text), Ok(round + 1));
        if round % 11 == 10 {
            flushed = round - 3;
            opened.wal.truncate(flushed).unwrap();
        }
        assert!(files(&sim).len() < 10, "{:?}", files(&sim));
        if round % 23 == 22 {
            drop(opened);
            opened = open(&sim, flushed);
            assert_eq!(opened.report.damages, []);
            let seqs = opened.replayed();
            assert_eq!(seqs.len() as u64, round + 1 - flushed);
            for (seq, text) in seqs {
                assert!(text.starts_with(&format!("{}-", seq - 1)), "{seq}: {text}");
            }
        }
    }
    assert!(files(&sim).iter().any(|name| name.ends_with(".spare")));
    assert!(sim.disk.files().iter().all(|(_, len)| *len <= 12_288));
}

#[test]
fn truncation_keeps_what_is_not_flushed() {
    let mut sim = Sim::new(1);
    let opened = open(&sim, 0);
    let filler = "x".repeat(700);
    for _ in 0..20 {
        assert!(opened.append(&filler).is_ok());
    }
    for flushed in 0..=20 {
        open(&sim, flushed).wal.truncate(flushed).unwrap();
        sim = sim.recover(flushed);
        let found = open(&sim, flushed);
        assert_eq!((found.report.damages.as_slice(), found.report.last_seq), (&[][..], 20), "{flushed}");
        assert_eq!(found.frames.len() as Seq, 20 - flushed);
    }
}

#[test]
fn a_frame_longer_than_a_file_gets_a_file_of_its_own() {
    let sim = Sim::new(1);
    let opened = open(&sim, 0);
    let long = "y".repeat(100_000);
    // Longer than what is left of the whole units of 4 KiB that the long one takes.
    let next = "b".repeat(3000);
    assert_eq!(opened.group(&["a", &long, &next]), [Ok(1), Ok(2), Ok(3)]);
    drop(opened);
    let opened = open(&sim, 0);
    assert_eq!(opened.replayed(), [(1, "a".into()), (2, long), (3, next)]);
    let names: Vec<_> = files(&sim).into_iter().filter(|name| name.ends_with(".wal")).collect();
    assert_eq!(names.len(), 3);
    // It is removed, not kept as a spare.
    opened.wal.truncate(3).unwrap();
    assert!(sim.disk.files().iter().all(|(_, len)| *len <= 12_288));
}

#[test]
fn commit_times_never_decrease() {
    let sim = Sim::new(1);
    sim.clock.set_wall(1_000_000);
    let opened = open(&sim, 0);
    assert_eq!(opened.append("a"), Ok(1));
    sim.clock.set_wall(5);
    assert_eq!(opened.append("b"), Ok(2));
    drop(opened);
    // Also when everything is flushed and nothing is replayed.
    let opened = open(&sim, 2);
    opened.wal.truncate(2).unwrap();
    drop(opened);
    let opened = open(&sim, 2);
    assert_eq!(opened.append("c"), Ok(3));
    drop(opened);
    sim.clock.set_wall(2_000_000);
    let opened = open(&sim, 0);
    assert_eq!(opened.append("d"), Ok(4));
    drop(opened);
    let times: Vec<_> = open(&sim, 2).frames.iter().map(|frame| frame.commit_time).collect();
    assert!(times[0] >= 1_000_000 && times[0] < 2_000_000 && times[1] >= 2_000_000, "{times:?}");
}

#[test]
fn the_queue_is_bounded_by_count_and_bytes() {
    let sim = Sim::new(1);
    let options = WalOptions { queue_len_max: 3, queue_bytes_max: 2000, ..options() };
    let opened = try_open(&sim.env(), options, 0).unwrap();
    let is_overloaded = |result: Result<()>| match result.map_err(|error| error.kind) {
        Err(ErrorKind::Overloaded { retry_after }) => retry_after >= Duration::from_millis(50),
        _ => false,
    };
    for text in ["a", "b", "c"] {
        opened.queue(text).unwrap();
    }
    assert!(is_overloaded(opened.queue("d")));
    assert_eq!(opened.wal.step(), 3);
    opened.queue("e").unwrap();
    assert!(is_overloaded(opened.queue(&"x".repeat(2000))));
    assert_eq!(opened.wal.step(), 1);
    // Alone, it gets in.
    opened.queue(&"x".repeat(2000)).unwrap();
    assert!(is_overloaded(opened.queue("f")));
    assert_eq!(opened.wal.step(), 1);
    assert_eq!(opened.wal.last_seq(), 5);
    let long = ProducerBatch { producer: "p".repeat(200), number: 1, refused: Vec::new() };
    assert_eq!(opened.queue_with("g", Some(long)).unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(opened.wal.queued(), (0, 0));
}

#[test]
fn after_close_appends_are_refused() {
    let sim = Sim::new(1);
    let opened = open(&sim, 0);
    opened.queue("a").unwrap();
    opened.wal.close().unwrap();
    assert_eq!(opened.log.take().last(), Some(&Told::Done("a".into(), Ok(1))));
    assert_eq!(opened.queue("b").unwrap_err().kind, ErrorKind::Closed);
    opened.wal.close().unwrap();
    assert_eq!(opened.wal.sync().unwrap_err().kind, ErrorKind::Closed);
}

#[test]
fn a_replay_that_is_refused_fails_the_open() {
    let sim = sample();
    let mut refuse = |frame: Frame| if frame.seq < 3 { Ok(()) } else { Err(Error::invalid("enough")) };
    let opened = Wal::open(&sim.env(), options(), 0, Arc::new(Log::default()), &mut refuse, &|_, _| {});
    assert_eq!(opened.map(|_| ()).unwrap_err().message, "enough");
}

#[test]
fn progress_ends_at_the_total() {
    let sim = sample();
    let last = std::cell::Cell::new((1, 0));
    let progress = |done, total| {
        assert!(done <= total);
        last.set((done, total));
    };
    Wal::open(&sim.env(), options(), 0, Arc::new(Log::default()), &mut |_| Ok(()), &progress).unwrap();
    assert_eq!(last.get(), (12_288, 12_288));
}
