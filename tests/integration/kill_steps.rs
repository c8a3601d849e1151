//! The real binary on the real file system, killed before every call that changes a file: merges, the tier, deletes,
//! retention, backups, restores, gc. Started again, it has every acknowledged record once, shows nothing that was
//! deleted, finds nothing damaged, and finishes what was begun.

mod faults;
mod walk;

use crate::cli::{code, err, json_of, out, run, text};
use crate::server::{Data, PATIENCE, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};
use walk::{Kill, beside, walk};

/// Records of a batch.
const BATCH: u64 = 60;
/// Batches in segments; one more is in the WAL.
const BATCHES: u64 = 8;
const ALL: u64 = BATCH * (BATCHES + 1);
/// Flags of every server here: small files, and an index, which small segments have none of otherwise.
const PLAIN: [&str; 4] = ["--wal-file-bytes", "1MiB", "--index", "user"];
const QUIET: [&str; 2] = ["--compaction", "off"];
const QUICK: [&str; 2] = ["--flush-interval", "50ms"];
const MERGING: [&str; 2] = ["--compaction-fan-in", "2"];

/// Every other batch is of ten days ago.
fn is_old(id: u64) -> bool {
    (id / BATCH) % 2 == 1
}

fn send(server: &Server, batch: u64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos();
    let now = i64::try_from(now).expect("before 2262");
    let lines: String = (batch * BATCH..(batch + 1) * BATCH)
        .map(|id| {
            let noise = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let age = if is_old(id) { 10 * 86_400 * 1_000_000_000 } else { 0 };
            let time = timberlog_types::time::format_rfc3339(now - age);
            let message = format!("record {id} of the walk, {noise:016x}");
            json!({"timestamp": time, "message": message, "service": format!("s{}", id % 3), "user": id % 7})
                .to_string()
                + "\n"
        })
        .collect();
    assert_eq!(server.client().ingest(lines.as_bytes(), None).expect("stored").accepted, BATCH);
}

fn engine(server: &Server) -> Value {
    let stats = server.client().get("/stats");
    stats.unwrap_or_else(|error| panic!("no statistics: {error}; it said: {}", server.said()))["engine"].clone()
}

/// Polls statistics until they say so.
fn wait(server: &Server, what: &str, is_done: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let engine = engine(server);
        if is_done(&engine) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {engine}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Eight segments of two days, and a batch that is only in the WAL.
fn filled() -> Data {
    let data = Data::new();
    let server = Server::start(&data, &[&PLAIN[..], &QUIET, &QUICK].concat());
    for batch in 0..BATCHES {
        send(&server, batch);
        wait(&server, "flushed", |engine| engine["buffer_records"] == 0 && engine["segments"] == batch + 1);
    }
    server.kill();
    let server = Server::start(&data, &[&PLAIN[..], &QUIET].concat());
    send(&server, BATCHES);
    server.kill();
    data
}

/// How often each record is there.
fn ids(server: &Server) -> BTreeMap<u64, u64> {
    try_ids(server).expect("an export")
}

fn try_ids(server: &Server) -> Result<BTreeMap<u64, u64>, timberlog_types::Error> {
    let mut ids = BTreeMap::new();
    let mut take = |line: &str| {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let message = record["message"].as_str().unwrap_or_default();
        let id = message.split(' ').nth(1).and_then(|id| id.parse().ok());
        *ids.entry(id.unwrap_or_else(|| panic!("no record: {line}"))).or_insert(0) += 1;
        Ok(())
    };
    server.client().lines("/api/v1/export", &json!({}), &mut take)?;
    Ok(ids)
}

fn once(is_there: impl Fn(u64) -> bool) -> BTreeMap<u64, u64> {
    (0..ALL).filter(|&id| is_there(id)).map(|id| (id, 1)).collect()
}

/// `timberlog verify`, on a directory at rest.
fn verify(place: &Data) {
    let output = run(&["verify", "--data-dir", text(&place.path())], b"");
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
}

/// A server that is killed at its step, or when its work is done. What `begin` gave if it came so far.
fn serve<T>(
    place: &Data,
    flags: &[&str],
    kill: &Kill,
    begin: impl Fn(&Server) -> T,
    is_done: impl Fn(&Value) -> bool,
) -> Option<T> {
    let server = match Server::try_start_in(place, flags, &kill.environment()) {
        Ok(server) => server,
        Err(said) => {
            assert!(kill.has_killed(), "{said}");
            return None;
        }
    };
    let told = begin(&server);
    let deadline = Instant::now() + PATIENCE;
    while !kill.has_killed() {
        let stats = server.client().get("/stats");
        if stats.as_ref().is_ok_and(|stats| is_done(&stats["engine"])) {
            break;
        }
        assert!(stats.is_ok() || kill.has_killed(), "the server died of something else: {stats:?}");
        assert!(Instant::now() < deadline, "it does not come to its end: {stats:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    server.kill();
    Some(told)
}

/// Where all segments are.
enum Segments {
    Local,
    Cold,
}

/// Waits until no file is left of a segment that was removed or is in the store.
fn wait_for_files(place: &Data, server: &Server, what: Segments) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (engine, logs, indexes) = (engine(server), place.files(".log"), place.files(".redb"));
        let expected = match what {
            Segments::Local => engine["segments"].clone(),
            Segments::Cold => json!(0),
        };
        if expected == logs.len() && expected == indexes.len() {
            return;
        }
        assert!(Instant::now() < deadline, "files that nothing names: {logs:#?} {indexes:#?} {engine}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn store(place: &Data) -> String {
    format!("file://{}", beside(place, "store").display())
}

#[test]
fn merges() {
    let flags = [&PLAIN[..], &QUICK, &MERGING].concat();
    let is_done = |engine: &Value| {
        engine["buffer_records"] == 0
            && engine["segments"].as_u64() <= Some(4)
            && engine["compaction"]["segments_waiting"] == 0
    };
    let work = |place: &Data, kill: &Kill| {
        serve(place, &flags, kill, |_| (), is_done);
    };
    walk("merges", &filled(), work, |place, ()| {
        verify(place);
        let server = Server::start(place, &flags);
        assert_eq!(ids(&server), once(|_| true), "after the kill");
        wait(&server, "merged", is_done);
        assert_eq!(ids(&server), once(|_| true), "after the merges");
        server.kill();
        verify(place);
    });
}

fn is_tiered(engine: &Value) -> bool {
    engine["buffer_records"] == 0
        && engine["tier"]["segments_stored"] == engine["segments"]
        && engine["segment_bytes"] == 0
}

/// With `url`, every segment goes to that store at once.
fn tiering(url: &str) -> Vec<&str> {
    let tier = ["--tier-store", url, "--tier-after", "0s", "--tier-interval", "50ms"];
    [&PLAIN[..], &QUIET, &QUICK, &tier].concat()
}

fn gc(url: &str, more: &[&str]) -> Value {
    let output = run(&[&["gc", "--store", url, "--gc-grace", "0s", "-o", "json"], more].concat(), b"");
    assert_eq!(code(&output), 0, "{}", err(&output));
    json_of(&output)
}

/// Nothing of the store is left that no root names, and what is named is there.
fn check_store(place: &Data, expected: &BTreeMap<u64, u64>) {
    let url = store(place);
    assert_eq!(gc(&url, &["--yes"])["deleted"], true);
    let left = gc(&url, &[]);
    assert_eq!(left["objects"], json!([]), "{left}");
    let server = Server::start(place, &tiering(&url));
    assert_eq!(&ids(&server), expected, "after gc");
    server.kill();
    verify(place);
}

#[test]
fn a_pass_of_the_tier() {
    let work = |place: &Data, kill: &Kill| {
        serve(place, &tiering(&store(place)), kill, |_| (), is_tiered);
    };
    walk("tier", &filled(), work, |place, ()| {
        verify(place);
        let server = Server::start(place, &tiering(&store(place)));
        assert_eq!(ids(&server), once(|_| true), "after the kill");
        wait(&server, "tiered", is_tiered);
        wait_for_files(place, &server, Segments::Cold);
        assert_eq!(ids(&server), once(|_| true), "when all is stored");
        server.kill();
        verify(place);
        check_store(place, &once(|_| true));
    });
}

/// Sends the delete of a third of the records; whether it was acknowledged.
fn delete(server: &Server) -> bool {
    code(&run(&["delete", r#"{service="s0"}"#, "--addr", &server.http], b"")) == 0
}

fn is_kept(id: u64) -> bool {
    !id.is_multiple_of(3)
}

#[test]
fn a_delete_and_its_purge() {
    let flags = [&PLAIN[..], &QUICK].concat();
    let kept = once(is_kept).len();
    let is_done = |engine: &Value| engine["buffer_records"] == 0 && engine["segment_records"] == kept;
    let work = |place: &Data, kill: &Kill| serve(place, &flags, kill, delete, is_done);
    walk("delete", &filled(), work, |place, acknowledged| {
        verify(place);
        let server = Server::start(place, &flags);
        let found = ids(&server);
        if acknowledged == Some(true) || found != once(|_| true) {
            assert_eq!(found, once(is_kept), "after the kill");
        } else {
            assert!(delete(&server), "the delete that nobody had heard");
            assert_eq!(ids(&server), once(is_kept), "after the delete");
        }
        wait(&server, "purged", is_done);
        wait_for_files(place, &server, Segments::Local);
        server.kill();
        verify(place);
        let server = Server::start(place, &flags);
        assert_eq!(ids(&server), once(is_kept), "in the end");
        let said = run(&["delete", "list", "-o", "json", "--addr", &server.http], b"");
        assert_eq!(json_of(&said)[0]["state"], "processed", "{}", out(&said));
    });
}

#[test]
fn retention() {
    let flags = [&PLAIN[..], &QUICK, &["--retention", "7d"]].concat();
    let young = || once(|id| !is_old(id));
    let is_done = |engine: &Value| engine["buffer_records"] == 0 && engine["segment_records"] == young().len();
    let work = |place: &Data, kill: &Kill| {
        serve(place, &flags, kill, |_| (), is_done);
    };
    walk("retention", &filled(), work, |place, ()| {
        verify(place);
        let server = Server::start(place, &flags);
        assert_eq!(ids(&server), young(), "after the kill");
        wait(&server, "removed", is_done);
        wait_for_files(place, &server, Segments::Local);
        assert_eq!(ids(&server), young(), "in the end");
        server.kill();
        verify(place);
    });
}

fn create(place: &Data) {
    let dir = place.path();
    let output = run(&["backup", "create", "--store", &store(place), "--data-dir", text(&dir)], b"");
    assert_eq!(code(&output), 0, "{}", err(&output));
}

fn check_backups(place: &Data) {
    let output = run(&["backup", "verify", "--store", &store(place), "-o", "json"], b"");
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(json_of(&output)["damage"], json!([]));
}

fn restore(place: &Data, to: &Data) {
    let dir = to.path();
    let output = run(&["backup", "restore", "--store", &store(place), "--data-dir", text(&dir)], b"");
    assert_eq!(code(&output), 0, "{}", err(&output));
    verify(to);
    let server = Server::start(to, &[&PLAIN[..], &QUIET].concat());
    assert_eq!(ids(&server), once(|_| true), "restored");
}

#[test]
fn a_backup() {
    let base = filled();
    let work = |place: &Data, kill: &Kill| {
        let dir = place.path();
        kill.run(&["backup", "create", "--store", &store(place), "--data-dir", text(&dir)]);
    };
    walk("backup", &base, work, |place, ()| {
        verify(place);
        create(place);
        check_backups(place);
        restore(place, &Data::new());
        let server = Server::start(place, &[&PLAIN[..], &QUIET].concat());
        assert_eq!(ids(&server), once(|_| true), "what was backed up");
    });
}

#[test]
fn a_restore() {
    let base = filled();
    create(&base);
    std::fs::remove_dir_all(base.path()).expect("removed");
    let work = |place: &Data, kill: &Kill| {
        let dir = place.path();
        kill.run(&["backup", "restore", "--store", &store(place), "--data-dir", text(&dir)])
    };
    walk("restore", &base, work, |place, is_over| {
        // Half of it is no database.
        let dir = place.path();
        let is_database = code(&run(&["verify", "--data-dir", text(&dir)], b"")) == 0;
        assert!(is_database || !is_over, "restored, and no database");
        if is_database {
            let server = Server::start(place, &[&PLAIN[..], &QUIET].concat());
            assert_eq!(ids(&server), once(|_| true), "what is a database is the whole one");
        } else {
            restore(place, place);
        }
        check_backups(place);
        restore(place, &Data::new());
    });
}

#[test]
fn a_collection_of_garbage() {
    let base = filled();
    let url = store(&base);
    let server = Server::start(&base, &tiering(&url));
    wait(&server, "tiered", is_tiered);
    server.kill();
    // What a purge replaces is garbage, and so is what an upload left.
    let purging =
        [&PLAIN[..], &QUICK, &["--tier-store", &url, "--tier-after", "0s", "--tier-interval", "50ms"]].concat();
    let server = Server::start(&base, &purging);
    assert!(delete(&server));
    let kept = once(is_kept).len();
    wait(&server, "purged", |engine| engine["segment_records"] == kept && is_tiered(engine));
    server.kill();
    let work = |place: &Data, kill: &Kill| {
        kill.run(&["gc", "--store", &store(place), "--gc-grace", "0s", "--yes"]);
    };
    assert_ne!(gc(&url, &[])["objects"], json!([]), "there is no garbage");
    walk("gc", &base, work, |place, ()| check_store(place, &once(is_kept)));
}
