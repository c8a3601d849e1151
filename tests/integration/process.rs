//! The process: clean stops, locks, signals, exit codes, configuration.

use crate::server::{Data, Server, timberlog};
use serde_json::json;

const RECORD: &[u8] = br#"{"message":"hello","service":"web","level":"info"}"#;

#[test]
fn a_clean_stop_leaves_nothing_to_replay() {
    let data = Data::new();
    let server = Server::start(&data, &[]);
    server.client().ingest(RECORD, None).expect("stored");
    assert!(data.files(".log").is_empty(), "nothing is flushed before its time");
    assert!(server.stop().success());
    assert_eq!(data.files(".log").len(), 1);
    let server = Server::start(&data, &[]);
    let stats = server.client().get("/stats").expect("statistics");
    assert_eq!(stats["engine"]["buffer_records"], 0, "{stats}");
    assert_eq!(server.count(&json!({"field": "message", "contains": "hello"})), 1);
}

#[test]
fn a_record_is_found_by_the_very_next_query() {
    let data = Data::new();
    let server = Server::start(&data, &[]);
    for number in 0..50 {
        let record = json!({"message": format!("number-{number}"), "service": "web"}).to_string();
        server.client().ingest(record.as_bytes(), None).expect("stored");
        assert_eq!(server.count(&json!({"field": "message", "eq": format!("number-{number}")})), 1);
    }
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let data = Data::new();
    let _server = Server::start(&data, &[]);
    let said = Server::try_start(&data, &[]).err().expect("refused");
    assert!(said.contains("in use by another process"), "{said}");
}

#[test]
fn a_batch_sent_twice_with_one_number_is_stored_once() {
    let data = Data::new();
    let server = Server::start(&data, &[]);
    for _ in 0..2 {
        let answer = server.client().ingest(RECORD, Some(("shipper-1", 7))).expect("stored");
        assert_eq!(answer.accepted, 1);
    }
    server.kill();
    let server = Server::start(&data, &[]);
    server.client().ingest(RECORD, Some(("shipper-1", 7))).expect("known after a crash");
    assert!(server.stop().success());
    let server = Server::start(&data, &[]);
    server.client().ingest(RECORD, Some(("shipper-1", 7))).expect("known after a flush");
    assert_eq!(server.count(&json!({"field": "service", "eq": "web"})), 1);
    server.client().ingest(RECORD, Some(("shipper-1", 8))).expect("a new number");
    assert_eq!(server.count(&json!({"field": "service", "eq": "web"})), 2);
}

#[test]
fn wrong_flags_and_settings_are_named() {
    for (arguments, expected) in [
        (vec!["serve", "--flush-bytes", "much"], "--flush-bytes"),
        (vec!["serve", "--durability", "maybe"], "fsync, async"),
        (vec!["serve", "--nonsense"], "--nonsense"),
        (vec!["serve", "--fields-max", "0"], "--fields-max must be above 0"),
        (vec!["serve", "--wal-file-bytes", "999TiB"], "--wal-file-bytes must be"),
        (vec!["serve", "--config", "no/such/file.yaml"], "no/such/file.yaml"),
    ] {
        let output = timberlog(&arguments).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!output.status.success());
    }
}

#[test]
fn a_configuration_file_sets_what_flags_and_environment_do_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("timberlog.yaml");
    let path = path.to_str().expect("UTF-8");
    std::fs::write(path, "durability: async\nindex: [trace_id, user]\n").expect("written");
    let data = Data::new();
    let durability = |server: &Server| server.client().get("/stats").expect("statistics")["durability"].clone();
    assert_eq!(durability(&Server::start(&data, &["--config", path])), "async");
    assert_eq!(durability(&Server::start(&data, &["--config", path, "--durability", "fsync"])), "fsync");
    std::fs::write(path, "durabilty: async\n").expect("written");
    let said = Server::try_start(&data, &["--config", path]).err().expect("refused");
    assert!(said.contains("unknown setting `durabilty`"), "{said}");
}

#[test]
fn a_read_only_or_missing_place_is_refused_with_its_name() {
    let output = timberlog(&[
        "serve",
        "--data-dir",
        "/proc/nothing/here",
        "--http-addr",
        "127.0.0.1:0",
        "--grpc-addr",
        "127.0.0.1:0",
    ])
    .output()
    .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("/proc/nothing"), "{said}");
    assert!(!output.status.success());
}
