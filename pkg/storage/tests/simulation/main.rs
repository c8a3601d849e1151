//! Simulated crashes of the whole storage core, from seeds: WAL, buffer, flush, segments, manifest.
//!
//! A seed makes a history ([`history`]): processes open one data directory on a simulated machine,
//! append, flush and end, cleanly, killed, or by a power loss at any step, with any legal outcome
//! of what was not synced, and with failing operations before. After each start everything is read
//! back and held against what was sent and answered ([`model`]).
//!
//! `TIMBERLOG_SIM_SEED=n` repeats one seed and tells its history, `TIMBERLOG_SIM_SECONDS=n` runs
//! fresh seeds for that long. `docs/testing.md` says more.

mod backups;
mod check;
mod deletes;
mod evictions;
mod held;
mod history;
mod machine;
mod model;
mod records;
mod report;
mod rot;
mod rot_stores;
mod shelf;
mod tiering;

use machine::Sabotage;
use report::Report;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Seeds of a plain run.
const SEEDS: u64 = 36;
/// Seeds that have found something, one a line; `#` begins a remark. A plain run begins with them.
const REGRESSIONS: &str = include_str!("seeds.txt");
/// Seeds within which a sabotaged storage must be caught.
const SABOTAGE_SEEDS_MAX: u64 = 500;
/// A seed takes a second or two; one that takes so long hangs.
const SEED_TIME_MAX: Duration = Duration::from_secs(300);

/// Runs a seed; a panic is a failure like any other, and so is a history that does not come to its end.
fn run(seed: u64, sabotage: Sabotage, tell: bool) -> Result<Report, String> {
    let (ended, outcome) = mpsc::channel();
    let history = AssertUnwindSafe(move || history::run(seed, sabotage, tell));
    // Nobody listens to one that ends too late.
    std::thread::spawn(move || drop(ended.send(catch_unwind(history))));
    let Ok(outcome) = outcome.recv_timeout(SEED_TIME_MAX) else {
        return Err(format!("it has not come to its end within {SEED_TIME_MAX:?}"));
    };
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(format!("panic: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?")))
    })
}

fn run_or_fail(seed: u64, tried: u64) -> Report {
    run(seed, Sabotage::None, false).unwrap_or_else(|failure| {
        panic!(
            "seed {seed} (the {tried}. tried) fails: {failure}\nrepeat it with: TIMBERLOG_SIM_SEED={seed} cargo test \
             --package timberlog-storage --test simulation -- --nocapture seeds\nkeep it: add a line to \
             pkg/storage/tests/simulation/seeds.txt"
        )
    })
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}, expected a number")))
}

#[test]
fn seeds() {
    if let Some(seed) = variable("TIMBERLOG_SIM_SEED") {
        println!("{:#?}", run(seed, Sabotage::None, true).unwrap_or_else(|failure| panic!("seed {seed}: {failure}")));
        return;
    }
    let started = Instant::now();
    let end = variable("TIMBERLOG_SIM_SECONDS").map(|seconds| started + Duration::from_secs(seconds));
    // Fresh ones are small enough to be typed again.
    let first = match end {
        Some(_) => variable("TIMBERLOG_SIM_FIRST").unwrap_or_else(|| u64::from(fresh()) * 1_000),
        None => 0,
    };
    let most = variable("TIMBERLOG_SIM_SEEDS").unwrap_or(u64::MAX);
    let lines = REGRESSIONS.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    let known: Vec<u64> = lines.filter(|line| !line.is_empty()).map(|line| line.parse().expect("a seed")).collect();
    let fixed = known.len() as u64 + SEEDS;
    let next = AtomicU64::new(1);
    let work = || {
        let mut total = Report::default();
        loop {
            let tried = next.fetch_add(1, Ordering::SeqCst);
            if end.map_or(tried > fixed, |end| tried > most || Instant::now() >= end) {
                return total;
            }
            let seed = match end {
                Some(_) => first + tried,
                None => known.get(tried as usize - 1).copied().unwrap_or(tried.saturating_sub(known.len() as u64)),
            };
            total.add(&run_or_fail(seed, tried));
        }
    };
    let mut total = Report::default();
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(4));
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            total.add(&worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    println!("{:.1?}: {total:?}", started.elapsed());
    total.assert_everything_happened();
}

fn fresh() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.subsec_nanos())
}

#[test]
fn a_seed_does_the_same_twice() {
    for seed in [1, 2, 3] {
        assert_eq!(run(seed, Sabotage::None, false), run(seed, Sabotage::None, false), "seed {seed}");
    }
}

/// Runs seeds until one fails.
fn caught(sabotage: Sabotage) {
    for seed in 1..=SABOTAGE_SEEDS_MAX {
        if let Err(failure) = run(seed, sabotage, false) {
            println!("{sabotage:?} is caught by the {seed}. seed: {failure}");
            return;
        }
    }
    panic!("{sabotage:?} is not caught by {SABOTAGE_SEEDS_MAX} seeds");
}

#[test]
fn a_wal_that_does_not_sync_is_caught() {
    caught(Sabotage::WalSyncLeftOut);
}

#[test]
fn a_commit_before_its_segments_are_synced_is_caught() {
    caught(Sabotage::SegmentsSyncedAfterCommit);
}

#[test]
fn a_truncation_that_takes_one_file_too_many_is_caught() {
    caught(Sabotage::TruncationOneFileTooFar);
}

#[test]
fn a_folder_that_is_not_synced_is_caught() {
    caught(Sabotage::FolderSyncLeftOut);
}
