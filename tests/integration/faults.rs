//! The real binary with all its threads, on files whose calls fail at random and are slow at random, under everything at
//! once: appends over HTTP and gRPC, queries, a tail, deletes, retention, merges, the tier, the archive, backups.
//!
//! Whatever failed, every request is answered, nothing panics, what was acknowledged is there once, what was not is there
//! as a whole or not at all, and nothing deleted is back. When the faults are over it works again, by itself or after a
//! restart, and then it says so; nothing is damaged, and no file stays that nothing names.

mod load;
mod weather;

use crate::kernel::kills::check_found;
use crate::kernel::{BATCH, engine, ids, poll, tool, verify};
use crate::server::{Data, PATIENCE, Server, timberlog};
use load::{Load, RETENTION, Sent, now_ns};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use weather::{Chance, Weather};

/// The seeds of an ordinary run; any would do.
const FIRST: u64 = 1;
const SEEDS: u64 = 1;
/// Processes on one data directory that faults befall, one after the other.
const LIVES: u64 = 2;

const FLAGS: [&str; 18] = [
    "--wal-file-bytes",
    "256KiB",
    "--buffer-bytes-max",
    "2MiB",
    "--waiting-bytes-max",
    "1MiB",
    "--compaction-fan-in",
    "3",
    "--tier-after",
    "1s",
    "--tier-interval",
    "100ms",
    "--gc-grace",
    "2s",
    "--index",
    "batch",
    "--drain-timeout",
    "3s",
];
/// Flushes all the time, or so few that what is lost of the WAL is missed.
const OFTEN: [&str; 4] = ["--flush-bytes", "128KiB", "--flush-interval", "200ms"];
const SELDOM: [&str; 4] = ["--flush-bytes", "1MiB", "--flush-interval", "1m"];

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The faults end; then SIGTERM.
    Calm,
    Killed,
    PowerLost,
    /// SIGTERM while calls fail.
    Terminated,
}

/// Ends the load whatever happens.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One data directory and what is around it, through its lives.
struct World {
    data: Data,
    sent: Sent,
    flags: Vec<String>,
    with_backups: bool,
    faults: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let data = Data::new();
        let url = |name: &str| format!("file://{}", data.path().with_file_name(name).display());
        let flushes = if seed.is_multiple_of(3) { SELDOM } else { OFTEN };
        let mut flags: Vec<String> = FLAGS.iter().chain(&flushes).map(ToString::to_string).collect();
        flags.extend(["--retention".into(), format!("{}s", RETENTION.as_secs())]);
        flags.extend(["--tier-store".into(), url("store")]);
        // The pin of a backup that fails keeps files for an hour: half of the seeds have none.
        let with_backups = seed % 2 == 1;
        if seed % 4 == 1 {
            flags.extend(["--archive-wal".into(), url("backups"), "--archive-interval".into(), "100ms".into()]);
        }
        Self { data, sent: Sent::default(), flags, with_backups, faults: 0 }
    }

    fn flags(&self) -> Vec<&str> {
        self.flags.iter().map(String::as_str).collect()
    }

    fn beside(&self, name: &str) -> String {
        format!("file://{}", self.data.path().with_file_name(name).display())
    }

    /// Holds what a server shows against what was sent, deleted and has expired.
    fn check(&self, server: &Server) {
        let expiring = self.sent.expiring.lock().expect("no thread panicked");
        let last = expiring.values().copied().max().unwrap_or_default();
        std::thread::sleep(Duration::from_nanos(last.saturating_sub(now_ns())));
        let found = ids(server);
        let back: Vec<_> = found.keys().filter(|&id| expiring.contains_key(&(id / BATCH))).collect();
        assert!(back.is_empty(), "records that have expired are shown: {back:?}");
        check_found(server, &self.sent.ledger, &self.sent.deletes, found);
    }

    /// One process under load, while calls fail.
    fn live(&mut self, weather: &Weather, mut chance: Chance) {
        let end = chance.one_of(&[End::Calm, End::Killed, End::PowerLost, End::Terminated]);
        let rises_early = chance.below(3) == 0;
        let lasts = Duration::from_millis(1_500 + chance.below(1_500));
        let since = if rises_early { "from the start" } else { "later" };
        eprintln!("  a life that ends {end:?} after {lasts:?}, with faults {since}: {weather}");
        if rises_early {
            weather.rise();
        }
        let start = || Server::try_start_in(&self.data, &self.flags(), &weather.environment());
        let server = start().unwrap_or_else(|said| {
            assert!(rises_early && !said.contains("panicked") && !said.contains("not ready after"), "{said}");
            eprintln!("  it did not start: {}", said.lines().last().unwrap_or_default());
            weather.calm();
            let server = start().unwrap_or_else(|said| panic!("it does not start when faults are over: {said}"));
            weather.rise();
            server
        });
        let is_over = AtomicBool::new(false);
        let load = Load { server: &server, sent: &self.sent, weather, is_over: &is_over };
        let mut is_failed = false;
        std::thread::scope(|scope| {
            let _over = Over(&is_over);
            load.run(scope, self.with_backups);
            std::thread::sleep(Duration::from_millis(300));
            weather.rise();
            std::thread::sleep(lasts);
            match end {
                End::Calm => {
                    weather.calm();
                    is_failed = self.works_again_or_says_so(&server);
                }
                End::Killed => tool("kill", &["-9", &server.pid().to_string()]).expect("a process"),
                End::PowerLost => weather.cut_power(),
                End::Terminated => tool("kill", &["-TERM", &server.pid().to_string()]).expect("a process"),
            }
        });
        if end == End::PowerLost {
            // One that has given up makes no call any more that could find the power gone.
            let _ = self.sent.send(&server);
            std::thread::sleep(Duration::from_millis(300));
            tool("kill", &["-9", &server.pid().to_string()]).expect("a process, or what is left of it");
        }
        if end == End::Calm {
            self.check(&server);
            tool("kill", &["-TERM", &server.pid().to_string()]).expect("a process");
        }
        let (status, said) = server.ended();
        self.faults += weather.faults();
        eprintln!("  {status}{}; {weather}", if is_failed { ", had given up" } else { "" });
        assert!(!said.contains("panicked") && !said.contains("by a defect"), "{said}");
        assert!(end != End::Calm || is_failed || status.success(), "{status}: {said}");
        verify(&self.data.path());
    }

    /// Now that no call fails: takes records and flushes them, or says that it will not. Whether it says so.
    fn works_again_or_says_so(&self, server: &Server) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if server.client().get("/ready").is_err() {
                return true;
            }
            let (sent, engine) = (self.sent.send(server), engine(server));
            if sent.is_ok() && engine["flush_error"].is_null() {
                return false;
            }
            let what = "it neither works again nor says that it will not";
            assert!(Instant::now() < deadline, "{what}: {sent:?} {engine:#}; it said: {}", server.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Without faults: everything is there, is finished, and is tidy.
    fn end(&self) {
        let server = Server::start(&self.data, &self.flags());
        self.check(&server);
        self.sent.send_rest(&server);
        self.sent.send(&server).expect("stored");
        drop(server);
        // What is replayed is flushed soon.
        let server = Server::start(&self.data, &[&self.flags()[..], &["--flush-interval", "200ms"]].concat());
        poll_engine(&server, "all is merged and stored", |engine| {
            engine["buffer_records"] == 0
                && engine["compaction"]["segments_waiting"] == 0
                && engine["tier"]["segments_stored"] == engine["segments"]
        });
        self.check(&server);
        if !self.with_backups {
            poll("no file is left that nothing names", || {
                // What was sent over an object that an upload had left behind stays local for a while.
                let files = [".log", ".redb"].iter().flat_map(|end| self.data.files(end));
                let bytes: u64 = files.flat_map(std::fs::metadata).map(|file| file.len()).sum();
                (engine(&server)["segment_bytes"] == bytes).then_some(())
            });
        }
        let stats = engine(&server);
        assert_eq!(stats["damage"].as_array().map_or(0, Vec::len), 0, "{stats}");
        if self.with_backups {
            self.back_up(&server);
        }
        assert!(server.stop().success());
        verify(&self.data.path());
        assert!(self.data.files(".tmp").is_empty(), "{:?}", self.data.files(".tmp"));

        // The store alone is the database.
        let store = self.beside("store");
        let gc =
            |more: &[&str]| finished(&[&["gc", "--store", &store, "--gc-grace", "0s", "-o", "json"], more].concat());
        gc(&["--yes"]);
        let left = gc(&[]);
        assert_eq!(left["objects"], json!([]), "{left}");
        let flags = self.flags();
        let flags = flags.iter().copied().filter(|flag| *flag != "--archive-wal" && *flag != self.beside("backups"));
        let flags: Vec<&str> = flags.chain(["--from", &store]).collect();
        let other = Data::new();
        self.check(&Server::start(&other, &flags));
    }

    /// Every backup that is listed is whole, and the last one is the database.
    fn back_up(&self, server: &Server) {
        let store = self.beside("backups");
        finished(&["backup", "create", "--addr", &server.http, "--include-cold", "--store", &store, "-o", "json"]);
        let verified = finished(&["backup", "verify", "--store", &store, "-o", "json"]);
        assert_eq!(verified["damage"], json!([]), "{verified}");
        let other = Data::new();
        let path = other.path();
        let path = path.to_str().expect("UTF-8");
        finished(&["backup", "restore", "--store", &store, "--data-dir", path, "-o", "json"]);
        verify(&other.path());
        self.check(&Server::start(&other, &["--retention", &format!("{}s", RETENTION.as_secs())]));
    }
}

fn poll_engine(server: &Server, what: &str, is_done: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let engine = engine(server);
        if is_done(&engine) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {engine:#}; it said: {}", server.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn finished(arguments: &[&str]) -> Value {
    let output = timberlog(arguments).output().expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// One history; how many calls failed, or nothing where none can be made to.
fn history(seed: u64) -> Option<u64> {
    eprintln!("seed {seed} (TIMBERLOG_FAULTS_FIRST={seed} TIMBERLOG_FAULTS_SEEDS=1 does only this one)");
    let mut world = World::new(seed);
    for life in 0..LIVES {
        let own = seed.wrapping_mul(LIVES).wrapping_add(life);
        let weather = Weather::new(&world.data, own)?;
        world.live(&weather, Chance(!own));
    }
    world.end();
    Some(world.faults)
}

#[test]
fn everything_at_once_survives_calls_that_fail() {
    let number = |name: &str, usual: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}: a number, not `{text}`")),
        Err(_) => usual,
    };
    let (first, seeds) = (number("TIMBERLOG_FAULTS_FIRST", FIRST), number("TIMBERLOG_FAULTS_SEEDS", SEEDS));
    let mut faults = 0;
    for seed in first..first + seeds {
        let Some(more) = history(seed) else { return };
        faults += more;
    }
    assert!(faults > 0 || first != FIRST, "no call failed: the library does not see what the binary does");
}
