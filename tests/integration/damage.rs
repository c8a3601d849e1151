//! Damaged files: named, survived, and never answered wrongly.

use crate::server::{Data, Server};
use serde_json::{Value, json};
use std::path::Path;

/// A directory with `records` records in segments, stopped cleanly.
fn filled(records: u64) -> Data {
    let data = Data::new();
    let server = Server::start(&data, &[]);
    let lines: String = (0..records)
        .map(|id| {
            let (service, time) = (id % 5, 1_700_000_000_000_u64 + id * 10);
            // Digits that do not compress: the blocks are what fills the file.
            let digits = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            format!("{{\"timestamp\":{time},\"message\":\"record {digits:016x} is here to be found\",\"service\":\"s{service}\",\"level\":\"info\",\"id\":{id}}}\n")
        })
        .collect();
    assert_eq!(server.client().ingest(lines.as_bytes(), None).expect("stored").accepted, records);
    assert!(server.stop().success());
    data
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("a file");
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 0x40;
    std::fs::write(path, bytes).expect("written");
}

fn ask(server: &Server, body: &Value) -> Value {
    server.client().post("/api/v1/query", body).expect("an answer")
}

#[test]
fn a_damaged_block_is_named_and_the_rest_is_answered() {
    let data = filled(60_000);
    let log = &data.files(".log")[0];
    // All of the first block, and none of the last.
    let part = std::fs::metadata(log).expect("a file").len() as usize / 12;
    (100..part).step_by(100).for_each(|at| flip(log, at));
    let server = Server::start(&data, &[]);
    let answer = ask(&server, &json!({"filter": {"field": "message", "contains": "found"}, "aggregate": {}}));
    let count = answer["data"][0]["count"].as_u64().expect("a count");
    assert!((1..60_000).contains(&count), "{count}");
    assert!(!answer["missing"].as_array().expect("a list").is_empty(), "{answer}");
    let stats = server.client().get("/stats").expect("statistics");
    assert!(stats["engine"]["damage"].to_string().contains("block"), "{stats}");
}

#[test]
fn a_damaged_index_costs_time_and_no_results() {
    let data = filled(60_000);
    let redb = &data.files(".redb")[0];
    for at in (0..std::fs::metadata(redb).expect("a file").len() as usize).step_by(4096) {
        flip(redb, at + 17);
    }
    let server = Server::start(&data, &[]);
    assert_eq!(server.count(&json!({"field": "service", "eq": "s3"})), 12_000);
    assert_eq!(server.count(&json!({"field": "id", "eq": "4711"})), 1);
}

#[test]
fn a_damaged_pointer_loses_nothing_and_is_reported() {
    let data = filled(100);
    flip(&data.path().join("manifest.json"), 20);
    let server = Server::start(&data, &[]);
    let stats = server.client().get("/stats").expect("statistics");
    assert!(!stats["engine"]["damage"].as_array().expect("a list").is_empty(), "{stats}");
    assert_eq!(server.count(&json!({"field": "message", "contains": "found"})), 100);
}

#[test]
fn a_newer_format_is_refused() {
    let data = filled(10);
    let pointer = data.path().join("manifest.json");
    let text = std::fs::read_to_string(&pointer).expect("a pointer");
    let (_, body) = text.trim_end().split_once("\"pointer\":").expect("a pointer");
    let body = body.strip_suffix('}').expect("an object");
    let newer = body.replacen("\"format\":2", "\"format\":99", 1);
    assert_ne!(body, newer, "{text}");
    let crc = crc32c::crc32c(newer.as_bytes());
    std::fs::write(&pointer, format!("{{\"crc32c\":{crc},\"pointer\":{newer}}}\n")).expect("written");
    let said = Server::try_start(&data, &[]).err().expect("refused");
    assert!(said.contains("newer") || said.contains("99"), "{said}");
}
