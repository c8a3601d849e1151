//! The real binary against the real kernel: disks that are full, limits that a process has, signals in the middle of
//! requests, `kill -9` while everything goes on at once.
//!
//! What is sent is noted in a [`Ledger`]: whatever happened, each batch that was acknowledged is there once, and each
//! that was not is there as a whole or not at all.

mod full_disk;
pub mod kills;
mod limits;
mod terminate;

use crate::server::{PATIENCE, Server, timberlog};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use timberlog_types::Result;

/// Records of a batch.
pub const BATCH: u64 = 40;

/// What was sent, and what became of it.
#[derive(Default)]
pub struct Ledger {
    next: AtomicU64,
    pub acknowledged: Mutex<BTreeSet<u64>>,
    pub unknown: Mutex<BTreeSet<u64>>,
}

impl Ledger {
    /// The number of the next batch.
    pub fn take(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes the answer to a batch.
    pub fn note<T>(&self, batch: u64, answer: &Result<T>) {
        let of = if answer.is_ok() { &self.acknowledged } else { &self.unknown };
        of.lock().expect("no thread panicked").insert(batch);
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.lock().expect("no thread panicked").len() as u64
    }

    /// Sends the next batch over HTTP.
    fn send(&self, server: &Server) -> Result<()> {
        let batch = self.take();
        let answer = server.client().ingest(&body(batch), None).map(|answer| assert_eq!(answer.accepted, BATCH));
        self.note(batch, &answer);
        answer
    }

    /// Holds what a server has against what was sent.
    fn check(&self, server: &Server) {
        self.check_found(ids(server));
    }

    /// Holds records, and how often each is there, against what was sent.
    pub fn check_found(&self, mut found: BTreeMap<u64, u64>) {
        for &batch in &*self.acknowledged.lock().expect("no thread panicked") {
            for id in batch * BATCH..(batch + 1) * BATCH {
                assert_eq!(found.remove(&id), Some(1), "record {id} of batch {batch} was acknowledged");
            }
        }
        for &batch in &*self.unknown.lock().expect("no thread panicked") {
            let ids = batch * BATCH..(batch + 1) * BATCH;
            let there: Vec<u64> = ids.filter_map(|id| found.remove(&id)).collect();
            let is_whole = there.is_empty() || (there.len() as u64 == BATCH && there.iter().all(|&times| times == 1));
            assert!(is_whole, "batch {batch}, which was not acknowledged: {there:?}");
        }
        assert!(found.is_empty(), "records that nobody sent: {found:?}");
    }
}

/// The text of a record: its number, and as much that does not compress.
pub fn message(id: u64) -> String {
    let noise: String =
        (1..24).map(|n: u64| format!("{:016x}", (id * 31 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    format!("record {id} of the load, {noise}")
}

/// A batch as JSON lines.
fn body(batch: u64) -> Vec<u8> {
    let line = |id: u64| {
        json!({"message": message(id), "service": format!("s{}", id % 3), "batch": format!("b{batch}")}).to_string()
            + "\n"
    };
    (batch * BATCH..(batch + 1) * BATCH).map(line).collect::<String>().into_bytes()
}

/// How often each record is there, with the text that it was sent with.
pub fn ids(server: &Server) -> BTreeMap<u64, u64> {
    let mut ids = BTreeMap::new();
    let mut take = |line: &str| {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let text = record["message"].as_str().unwrap_or_default();
        let id = text.split(' ').nth(1).and_then(|id| id.parse().ok());
        let id = id.unwrap_or_else(|| panic!("no record: {line}"));
        assert_eq!(text, message(id));
        *ids.entry(id).or_insert(0) += 1;
        Ok(())
    };
    server.client().lines("/api/v1/export", &json!({}), &mut take).expect("an export");
    ids
}

pub fn engine(server: &Server) -> Value {
    let stats = server.client().get("/stats");
    stats.unwrap_or_else(|error| panic!("no statistics: {error}; it said: {}", server.said()))["engine"].clone()
}

/// Tries until it is so.
pub fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `timberlog verify`, on a directory at rest.
pub fn verify(data_dir: &Path) {
    let output = timberlog(&["verify", "--data-dir", data_dir.to_str().expect("UTF-8")]).output().expect("it runs");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}

/// Runs a tool of the system; what it said if it failed.
pub fn tool(program: &str, arguments: &[&str]) -> std::result::Result<(), String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("`{program} {arguments:?}`: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("`{program}`: {error}")),
    }
}

/// Sets the soft limit of a running process.
fn limit(server: &Server, which: &str, value: &str) -> std::result::Result<(), String> {
    tool("prlimit", &["--pid", &server.pid().to_string(), &format!("--{which}={value}:")])
}

/// Says why a test does nothing here.
fn skip(why: &str) {
    eprintln!("skipped: {why}");
}
