//! The writer on a thread of its own, on the real disk.

use super::*;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use timberlog_disk::sim::{Fault, Op};

fn threaded(dir: &Path, durability: Durability) -> Opened {
    let options = WalOptions {
        durability,
        file_bytes: 64 << 10,
        threading: Threading::Own,
        ..WalOptions::new(dir.join("wal"), ID)
    };
    try_open(&Env::real(), options, 0).unwrap()
}

fn append(wal: &Wal, text: &str) -> Result<Seq> {
    let (sender, receiver) = mpsc::channel();
    let done = Box::new(move |result| sender.send(result).unwrap());
    wal.append(Append { tenant: Tenant::default(), body: batch(text).into(), producer: None, done })?;
    receiver.recv().unwrap()
}

#[test]
fn many_clients_share_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let opened = threaded(dir.path(), Durability::Fsync);
    let acknowledged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (wal, acknowledged) = (&opened.wal, &acknowledged);
            scope.spawn(move || {
                for index in 0..50 {
                    let text = format!("{client}-{index}-{}", "z".repeat(index * 40));
                    let seq = append(wal, &text).unwrap();
                    acknowledged.lock().unwrap().push((seq, text));
                }
            });
        }
    });
    opened.wal.truncate(0).unwrap();
    opened.wal.close().unwrap();
    let published: Vec<_> = opened.log.take();
    let seqs = published.iter().filter_map(|told| match told {
        Told::Published(seq, _) => Some(*seq),
        _ => None,
    });
    assert!(seqs.eq(1..=400));
    let mut acknowledged = acknowledged.into_inner().unwrap();
    acknowledged.sort();
    assert_eq!(threaded(dir.path(), Durability::Fsync).replayed(), acknowledged);
}

#[test]
fn in_async_mode_the_fsync_follows_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let opened = threaded(dir.path(), Durability::Async { interval: Duration::from_millis(5) });
    assert_eq!(append(&opened.wal, "a").unwrap(), 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    while opened.wal.synced_seq() < 1 {
        assert!(Instant::now() < deadline, "no fsync came");
        std::thread::yield_now();
    }
    assert_eq!(append(&opened.wal, "b").unwrap(), 2);
    assert_eq!(opened.wal.sync().unwrap(), 2);
    opened.wal.close().unwrap();
    assert_eq!(append(&opened.wal, "c").unwrap_err().kind, ErrorKind::Closed);
}

#[test]
fn nobody_is_left_waiting_when_an_fsync_fails() {
    let sim = Sim::new(1);
    let options = WalOptions { threading: Threading::Own, ..options() };
    let opened = try_open(&sim.env(), options, 0).unwrap();
    assert_eq!(append(&opened.wal, "a").unwrap(), 1);
    sim.disk.inject(Op::Sync, ".wal", 5, Fault::Io);
    let results: Vec<Result<Seq>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..40).map(|_| scope.spawn(|| append(&opened.wal, "b"))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let stored = results.iter().filter(|result| result.is_ok()).count() as Seq;
    for error in results.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind, ErrorKind::Closed);
    }
    assert_eq!(opened.wal.last_seq(), stored + 1);
}

/// A callback that panics takes the writer down: everyone else is told, nobody waits for ever.
#[test]
fn a_panic_in_a_callback_poisons() {
    let sim = Sim::new(1);
    let options = WalOptions { threading: Threading::Own, ..options() };
    let opened = try_open(&sim.env(), options, 0).unwrap();
    let done: Done = Box::new(|_| panic!("a callback panics (expected in this test)"));
    opened.wal.append(Append { tenant: Tenant::default(), body: batch("a").into(), producer: None, done }).unwrap();
    let error = append(&opened.wal, "b").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Closed);
    assert!(opened.wal.close().is_err());
}
