//! A crash at every step, with several outcomes of what was not synced.

use super::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// What must be true after a crash.
#[derive(Clone, Default)]
struct Truth {
    flushed_seq: Seq,
    /// By number. In `fsync` mode each must be there; others may be.
    acknowledged: BTreeMap<Seq, String>,
    /// The WAL said that every batch up to this number is on disk.
    synced_seq: Seq,
}

/// Appends groups, flushes and truncates, until the disk fails or all is done.
fn work(opened: &Opened, truth: &mut Truth, round: usize) {
    for step in 0..6 {
        let long = "x".repeat(if step == 1 { 9000 } else { 900 });
        let texts: Vec<String> = (0..=step % 3).map(|index| format!("{round}-{step}-{index}-{long}")).collect();
        opened.log.take();
        for text in &texts {
            if opened.queue(text).is_err() {
                return;
            }
        }
        opened.wal.step();
        for told in opened.log.take() {
            match told {
                Told::Done(text, Ok(seq)) => {
                    truth.acknowledged.insert(seq, text);
                }
                Told::Done(_, Err(_)) | Told::Published(..) => {}
                Told::Synced(seq) => truth.synced_seq = truth.synced_seq.max(seq),
            }
        }
        if step == 2 || step == 5 {
            let Ok(synced) = opened.wal.sync() else { return };
            truth.synced_seq = truth.synced_seq.max(synced);
            truth.flushed_seq = synced;
            let _ = opened.wal.truncate(synced);
        }
    }
}

fn check(opened: &Opened, truth: &Truth, durability: Durability, what: &str) {
    assert_eq!(opened.report.damages, [], "{what}");
    let replayed = opened.replayed();
    for (index, (seq, _)) in replayed.iter().enumerate() {
        assert_eq!(*seq, truth.flushed_seq + 1 + index as Seq, "{what}: a gap");
    }
    let promised = match durability {
        Durability::Fsync => truth.acknowledged.keys().last().copied().unwrap_or(0),
        Durability::Async { .. } => truth.synced_seq,
    };
    assert!(opened.report.last_seq >= promised, "{what}: {promised} was promised, {} is there", opened.report.last_seq);
    for (seq, text) in &replayed {
        if let Some(acknowledged) = truth.acknowledged.get(seq) {
            assert_eq!(text, acknowledged, "{what}: {seq}");
        }
    }
}

fn explore(durability: Durability) {
    let options = || WalOptions { durability, ..options() };
    let clean = Sim::new(5);
    let mut truth = Truth::default();
    work(&try_open(&clean.env(), options(), 0).unwrap(), &mut truth, 0);
    let steps = clean.disk.steps();
    assert!(steps > 30, "{steps}");
    let mut unacknowledged = 0;
    for crash_at in 1..=steps + 3 {
        for seed in 0..6 {
            let mut sim = Sim::new(5);
            let mut truth = Truth::default();
            let mut crash_at = crash_at;
            // Crash, go on, crash again: what one start leaves the next one must bear.
            for round in 0..3 {
                let what = format!("crash at {crash_at}, seed {seed}, round {round}");
                sim.disk.crash_at(crash_at);
                if let Ok(opened) = try_open(&sim.env(), options(), truth.flushed_seq) {
                    check(&opened, &truth, durability, &what);
                    // Numbers that no one was promised may be given again.
                    truth.acknowledged.retain(|seq, _| *seq <= opened.report.last_seq);
                    unacknowledged +=
                        opened.frames.iter().filter(|frame| !truth.acknowledged.contains_key(&frame.seq)).count();
                    // What was replayed is durable.
                    truth.acknowledged.extend(opened.replayed());
                    truth.synced_seq = truth.synced_seq.max(opened.report.last_seq);
                    work(&opened, &mut truth, round);
                }
                sim.disk.crash();
                sim = sim.recover(seed);
                sim.clock.advance(Duration::from_millis(1));
                crash_at = 7 + seed * 5;
            }
            let opened = try_open(&sim.env(), options(), truth.flushed_seq).unwrap();
            check(&opened, &truth, durability, &format!("crash at {crash_at}, seed {seed}, end"));
        }
    }
    // The exploration reaches batches that were written and never acknowledged.
    assert!(unacknowledged > 0);
}

#[test]
fn nothing_acknowledged_is_lost_in_a_crash_at_any_step() {
    explore(Durability::Fsync);
}

#[test]
fn nothing_synced_is_lost_in_a_crash_at_any_step_of_async_mode() {
    explore(Durability::Async { interval: Duration::from_secs(1) });
}
