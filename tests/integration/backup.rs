//! `timberlog backup` with real servers: during ingestion, through kills of the server and of the
//! backup, and back again to the byte.

use crate::server::{Data, PATIENCE, Server, timberlog};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use timberlog_types::time;

/// Runs `timberlog backup …` on a store.
fn backup(store: &Path, arguments: &[&str]) -> Output {
    let url = format!("file://{}", store.display());
    let mut command = timberlog(&["backup"]);
    command.args(arguments).args(["--store", &url]);
    command.output().expect("the binary runs")
}

/// Its JSON, if it ended well.
fn answer(output: Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    for line in said.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON line: {line}"));
        assert!(line["phase"].is_string() && line["bytes_done"].is_u64(), "{line}");
    }
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn send(server: &Server, first: u64, count: u64) {
    let record = |id: u64| {
        let noise = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let message = format!("record {id} of the backup, {noise:016x}");
        json!({"message": message, "service": format!("s{}", id % 3), "id": id}).to_string() + "\n"
    };
    let lines: String = (first..first + count).map(record).collect();
    assert_eq!(server.client().ingest(lines.as_bytes(), None).expect("stored").accepted, count);
}

/// All records, byte for byte, in the order of answers.
fn export(server: &Server) -> Vec<String> {
    let mut lines = Vec::new();
    let mut take = |line: &str| {
        lines.push(line.to_owned());
        Ok(())
    };
    server.client().lines("/api/v1/export", &json!({}), &mut take).expect("an export");
    lines
}

fn restored(store: &Path, id: &str, flags: &[&str]) -> Data {
    let data = Data::new();
    let dir = data.path();
    let mut arguments = vec!["restore", id, "-o", "json", "--data-dir", dir.to_str().expect("UTF-8")];
    arguments.extend(flags);
    answer(backup(store, &arguments));
    let verify = timberlog(&["verify", "--data-dir", dir.to_str().expect("UTF-8")]).output().expect("the binary runs");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    data
}

#[test]
fn backups_of_a_running_server_come_back_to_the_byte() {
    let (data, folder) = (Data::new(), tempfile::tempdir().expect("a folder"));
    let store = folder.path().join("store");
    let server = Server::start(&data, &[]);
    let addr = ["--addr", &server.http, "-o", "json"];
    send(&server, 0, 40_000);
    let (first, at_first) = (answer(backup(&store, &[&["create"], &addr[..]].concat())), export(&server));
    send(&server, 40_000, 400);
    let (second, at_second) = (answer(backup(&store, &[&["create"], &addr[..]].concat())), export(&server));
    assert_eq!(second["records"], 40_400);
    let copied = |made: &Value| made["copied_bytes"].as_u64().expect("a number");
    assert!(copied(&second) * 50 <= copied(&first), "1 % more records, more than 2 % of the bytes: {first} {second}");
    let third = answer(backup(&store, &[&["create"], &addr[..]].concat()));
    assert_eq!((&third["copied_files"], &third["copied_bytes"]), (&json!(0), &json!(0)));
    server.kill();

    let listed = answer(backup(&store, &["list", "-o", "json"]));
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed}");
    for (made, expected) in [(&first, &at_first), (&second, &at_second), (&third, &at_second)] {
        let id = made["id"].as_str().expect("an id");
        assert_eq!(answer(backup(&store, &["verify", id, "-o", "json"]))["damage"], json!([]));
        let restored = restored(&store, id, &[]);
        assert_eq!(&export(&Server::start(&restored, &[])), expected);
    }
    let pruned = answer(backup(&store, &["prune", "--keep-last", "1", "-o", "json"]));
    assert_eq!(pruned["backups"].as_array().map(Vec::len), Some(2), "{pruned}");
    assert_eq!(answer(backup(&store, &["verify", "--quick", "-o", "json"]))["damage"], json!([]));
    // At rest, after the kill: what is only in the WAL comes along.
    let dir = data.path();
    let rest = answer(backup(&store, &["create", "--data-dir", dir.to_str().expect("UTF-8"), "-o", "json"]));
    let again = restored(&store, rest["id"].as_str().expect("an id"), &["--tenant", "default"]);
    assert_eq!(export(&Server::start(&again, &[])), at_second);
}

#[test]
fn programs_are_told_how_many_fsyncs_a_backup_took() {
    let (data, folder) = (Data::new(), tempfile::tempdir().expect("a folder"));
    let store = folder.path().join("store");
    let server = Server::start(&data, &[]);
    send(&server, 0, 10);
    server.kill();
    let (dir, target) = (data.path(), folder.path().join("target"));
    let [dir, target] = [&dir, &target].map(|dir| dir.to_str().expect("UTF-8"));
    let fsyncs = |arguments: &[&str]| answer(backup(&store, arguments))["fsyncs"].as_u64().expect("a number");
    let [first, second] = [(); 2].map(|()| fsyncs(&["create", "--data-dir", dir, "-o", "json"]));
    assert!(first > second && second > 0, "{first}, and {second} where only the record is new");
    assert_eq!(fsyncs(&["verify", "-o", "json"]), 0);
    assert!(fsyncs(&["restore", "--data-dir", target, "-o", "jsonl"]) > 0);
    assert_eq!(fsyncs(&["prune", "--keep-last", "1", "--dry-run", "-o", "jsonl"]), 0);
    assert!(fsyncs(&["prune", "--keep-last", "1", "-o", "json"]) > 0);
}

#[test]
fn a_list_tells_programs_which_instants_the_archive_reaches() {
    let (data, folder) = (Data::new(), tempfile::tempdir().expect("a folder"));
    let store = folder.path().join("store");
    let url = format!("file://{}", store.display());
    let server = Server::start(&data, &["--archive-wal", &url, "--archive-interval", "100ms"]);
    send(&server, 0, 10);
    let made = answer(backup(&store, &["create", "--addr", &server.http, "-o", "json"]));
    send(&server, 10, 10);
    let listed = || answer(backup(&store, &["list", "-o", "json"]))[0].take();
    let deadline = Instant::now() + Duration::from_secs(30);
    let range = loop {
        let range = listed()["restorable"].take();
        let time = |key: &str| range[key].as_str().and_then(|text| time::parse(text.as_bytes()).ok());
        if time("to") > time("from") {
            break range;
        }
        assert!(Instant::now() < deadline, "{range}");
    };
    assert_eq!(range["gap"], Value::Null, "{range}");
    let listed = listed();
    assert_eq!(listed["id"], made["id"]);
    let spans = listed["restorable_spans"].as_array().expect("a list");
    assert_eq!((spans.len(), &spans[0]["from"]), (1, &range["from"]), "{listed}");
    // A backup of a database without an archive reaches nothing but itself.
    let (plain, alone) = (Data::new(), folder.path().join("alone"));
    let server = Server::start(&plain, &[]);
    answer(backup(&alone, &["create", "--addr", &server.http, "-o", "json"]));
    assert_eq!(answer(backup(&alone, &["list", "-o", "json"]))[0]["restorable"], Value::Null);
}

#[test]
fn a_backup_during_ingestion_survives_kills_of_the_server() {
    let (data, folder) = (Data::new(), tempfile::tempdir().expect("a folder"));
    let store = folder.path().join("store");
    let url = format!("file://{}", store.display());
    let flags = ["--flush-bytes", "256KiB", "--buffer-bytes-max", "4MiB", "--wal-file-bytes", "1MiB"];
    let mut next = 0;
    for round in 0..3_u64 {
        let server = Server::start(&data, &flags);
        let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(next));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let first = acknowledged.load(Ordering::SeqCst);
                    send(&server, first, 50);
                    acknowledged.store(first + 50, Ordering::SeqCst);
                }
            });
            while acknowledged.load(Ordering::SeqCst) < next + 500 {
                std::thread::yield_now();
            }
            let deadline = Instant::now() + PATIENCE;
            // Until ingestion went on during one of them.
            loop {
                let before = acknowledged.load(Ordering::SeqCst);
                let made = answer(backup(&store, &["create", "--addr", &server.http, "-o", "json"]));
                let is_during_ingestion = acknowledged.load(Ordering::SeqCst) > before;
                let records = made["records"].as_u64().expect("a number");
                assert!(
                    records >= before,
                    "{records} of {before} records that were acknowledged before are in the backup"
                );
                if is_during_ingestion {
                    break;
                }
                assert!(Instant::now() < deadline, "no ingestion beside a backup");
            }
            stop.store(true, Ordering::SeqCst);
        });
        next = acknowledged.load(Ordering::SeqCst);
        let held = export(&server).len() as u64;
        // One that is under way when the server is killed.
        let mut running = Command::new(env!("CARGO_BIN_EXE_timberlog"))
            .args(["backup", "create", "--store", &url, "--addr", &server.http])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        std::thread::sleep(Duration::from_millis(20 * round));
        server.kill();
        let _ = running.kill();
        running.wait().expect("it ends");
        assert_eq!(answer(backup(&store, &["verify", "-o", "json"]))["damage"], json!([]));
        let restored = restored(&store, "latest", &[]);
        let server = Server::start(&restored, &flags);
        let lines = export(&server);
        // The backup may have come right behind the first 500.
        assert!((500..=held).contains(&(lines.len() as u64)), "{} of {held}", lines.len());
        let mut ids: Vec<u64> = lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["fields"]["id"].as_u64().expect("an id"))
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..ids.len() as u64).collect::<Vec<_>>(), "each once, none left out");
    }
    let server = Server::start(&data, &flags);
    let whole = answer(backup(&store, &["create", "--addr", &server.http, "-o", "json"]));
    assert_eq!(whole["records"].as_u64(), Some(next));
}

#[test]
fn what_is_wrong_is_said_with_its_exit_code() {
    let (data, folder) = (Data::new(), tempfile::tempdir().expect("a folder"));
    let store = folder.path().join("store");
    let server = Server::start(&data, &[]);
    send(&server, 0, 10);
    let made = answer(backup(&store, &["create", "--addr", &server.http, "-o", "json"]));
    let dir = data.path();
    let dir = dir.to_str().expect("UTF-8");
    let gone = "http://127.0.0.1:1";
    for (arguments, code, words) in [
        (vec!["create", "--addr", gone], 4, "does not answer"),
        (vec!["create", "--data-dir", dir], 4, "in use by another process"),
        (vec!["create", "--data-dir", "/nonexistent/data"], 3, "no database"),
        (vec!["show", "nonesuch"], 3, "no backup `nonesuch`"),
        (vec!["verify", "nonesuch"], 3, "no backup `nonesuch`"),
        (vec!["restore", "--data-dir", dir], 2, "not empty"),
        (vec!["restore", "--data-dir", "/nonexistent/target", "--from", "yesterday"], 2, "expected a day"),
        (vec!["prune", "--keep-last", "0"], 2, "at least one"),
    ] {
        let output = backup(&store, &arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let log = std::fs::read_dir(store.join("files")).expect("files").flatten().map(|entry| entry.path());
    let log = log.into_iter().find(|path| path.extension().is_some_and(|end| end == "log")).expect("a segment");
    let mut bytes = std::fs::read(&log).expect("bytes");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&log, bytes).expect("written");
    let name = log.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
    let target = folder.path().join("target");
    let target = target.to_str().expect("UTF-8");
    let id = made["id"].as_str().expect("an id");
    for arguments in [vec!["verify", id], vec!["restore", id, "--data-dir", target]] {
        let output = backup(&store, &arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(output.status.code(), Some(5), "{arguments:?}: {said}");
        assert!(said.contains(&name), "{arguments:?}: {said}");
    }
    // Half a restore is no database.
    let served = timberlog(&["verify", "--data-dir", target]).output().expect("the binary runs");
    assert_ne!(served.status.code(), Some(0));
    assert!(backup(&folder.path().join("other"), &["list"]).status.success());
}
