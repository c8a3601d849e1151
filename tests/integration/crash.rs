//! `kill -9` under load, again and again on one directory: what was acknowledged is there once,
//! what was not is there as a whole or not at all.

use crate::server::{Data, Server};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

const CONNECTIONS: u64 = 4;
const BATCH: u64 = 50;

/// How often the server is killed; `TIMBERLOG_KILLS=50 cargo test kill` is the long form.
fn kills() -> u64 {
    std::env::var("TIMBERLOG_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

#[derive(Default)]
struct Sent {
    acknowledged: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    // A small buffer, so that kills hit flushes and commits too.
    let flags = ["--flush-bytes", "256KiB", "--buffer-bytes-max", "4MiB", "--wal-file-bytes", "1MiB"];
    let data = Data::new();
    let sent = Mutex::new(Sent::default());
    for round in 0..kills() {
        let server = Server::start(&data, &flags);
        std::thread::scope(|scope| {
            for connection in 0..CONNECTIONS {
                let (server, sent) = (&server, &sent);
                scope.spawn(move || load(server, round, connection, sent));
            }
            std::thread::sleep(Duration::from_millis(100 + 137 * (round % 5)));
            let pid = server.pid().to_string();
            std::process::Command::new("kill").args(["-9", &pid]).status().expect("kill runs");
        });
        drop(server);
    }
    let server = Server::start(&data, &flags);
    check(&server, &sent.into_inner().expect("no thread panicked"));
}

/// Sends batches until the server is gone. Batch `b` holds the records `b·BATCH .. (b+1)·BATCH`.
fn load(server: &Server, round: u64, connection: u64, sent: &Mutex<Sent>) {
    let client = server.client();
    for number in 0.. {
        let batch = (round * CONNECTIONS + connection) * 1_000_000 + number;
        let lines: String = (batch * BATCH..(batch + 1) * BATCH)
            .map(|id| {
                format!(
                    "{{\"message\":\"record {id} of the load\",\"service\":\"s{}\",\"level\":\"info\",\"id\":{id}}}\n",
                    id % 7
                )
            })
            .collect();
        let answer = client.ingest(lines.as_bytes(), None);
        let mut sent = sent.lock().expect("no thread panicked");
        match answer {
            Ok(answer) => {
                assert_eq!(answer.accepted, BATCH);
                sent.acknowledged.insert(batch);
            }
            Err(_) => {
                sent.unknown.insert(batch);
                return;
            }
        }
    }
}

fn check(server: &Server, sent: &Sent) {
    assert!(sent.acknowledged.len() > 20, "the load was no load: {}", sent.acknowledged.len());
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    server
        .client()
        .lines("/api/v1/export", &json!({}), &mut |line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON lines");
            let id = record["fields"]["id"].as_u64().expect("an id");
            assert_eq!(record["message"], format!("record {id} of the load"));
            *found.entry(id).or_default() += 1;
            Ok(())
        })
        .expect("an export");
    for &batch in &sent.acknowledged {
        for id in batch * BATCH..(batch + 1) * BATCH {
            assert_eq!(found.remove(&id), Some(1), "record {id} was acknowledged");
        }
    }
    for &batch in &sent.unknown {
        let ids = batch * BATCH..(batch + 1) * BATCH;
        let there = ids.filter(|id| found.remove(id).inspect(|&times| assert_eq!(times, 1)).is_some()).count() as u64;
        assert!(there == 0 || there == BATCH, "{there} of {BATCH} records of a batch that was not acknowledged");
    }
    assert!(found.is_empty(), "records that nobody sent: {found:?}");
}
