//! An index that is declared when the records are there already.

use crate::server::{Data, PATIENCE, Server};
use serde_json::json;
use std::time::{Duration, Instant, SystemTime};

#[test]
fn compaction_gives_old_segments_an_index_that_was_declared_later() {
    let data = Data::new();
    let quick = ["--flush-interval", "50ms"];
    let server = Server::start(&data, &quick);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos();
    let old = i64::try_from(now).expect("before 2262") - 3 * 86_400 * 1_000_000_000;
    let time = timberlog_types::time::format_rfc3339(old);
    let lines: String = (0..500)
        .map(|id| json!({"timestamp": time, "message": format!("record {id}"), "user": id}).to_string() + "\n")
        .collect();
    assert_eq!(server.client().ingest(lines.as_bytes(), None).expect("stored").accepted, 500);
    assert!(server.stop().success());
    assert!(data.files(".redb").is_empty(), "so few records have no index");

    let server = Server::start(&data, &[&quick[..], &["--index", "user"]].concat());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let engine = server.client().get("/stats").expect("statistics")["engine"].clone();
        let compaction = &engine["compaction"];
        // What the start found, and what is waiting now.
        if compaction["jobs"].as_u64() >= Some(1) && compaction["segments_waiting"] == 0 {
            assert_eq!(compaction["jobs"], engine["segments"], "each once: {engine}");
            break;
        }
        assert!(Instant::now() < deadline, "{engine}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!data.files(".redb").is_empty());
    assert_eq!(server.count(&json!({"field": "user", "eq": "321"})), 1);
    assert_eq!(server.count(&json!({"field": "user", "eq": "500"})), 0);
}
