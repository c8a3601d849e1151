//! `kill -9` while everything goes on at once: HTTP and gRPC, flushes, merges, deletes, the tier. Against a folder, and
//! against a real S3 server where there is one (`TIMBERLOG_S3_TEST`, see `.ci/s3-server`).

use super::{BATCH, Ledger, engine, message, poll, verify};
use crate::server::{Data, PATIENCE, Server, timberlog};
use crate::tier::make_bucket;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use timberlog_proto::v1::timber_log_client::TimberLogClient;
use timberlog_proto::v1::{AppendRequest, Field, Record, Value, value::Kind};
use timberlog_types::{Error, ErrorKind};

/// How often the server is killed; `TIMBERLOG_KILLS=200` is the long form.
fn kills() -> u64 {
    std::env::var("TIMBERLOG_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

const FLAGS: [&str; 18] = [
    "--wal-file-bytes",
    "512KiB",
    "--flush-bytes",
    "256KiB",
    "--flush-interval",
    "300ms",
    "--buffer-bytes-max",
    "8MiB",
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
];

/// What was deleted, and what may have been.
#[derive(Default)]
pub struct Deletes {
    pub acknowledged: BTreeSet<u64>,
    pub unknown: BTreeSet<u64>,
}

/// Sends batches over HTTP until the server is gone.
fn over_http(server: &Server, ledger: &Ledger) {
    while is_there(ledger.send(server)) {}
}

fn is_there<T>(answer: Result<T, Error>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) => matches!(error.kind, ErrorKind::Overloaded { .. }),
    }
}

/// Sends batches over one gRPC stream after the other until the server is gone, eight at a time.
fn over_grpc(server: &Server, ledger: &Ledger) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let endpoint = tonic::transport::Endpoint::from_shared(server.grpc.clone()).expect("an address");
        let Ok(channel) = endpoint.connect().await else { return };
        let mut client = TimberLogClient::new(channel);
        loop {
            let batches: Vec<u64> = (0..8).map(|_| ledger.take()).collect();
            let mut waiting = batches.iter();
            let requests: Vec<AppendRequest> = batches.iter().map(|&batch| request(batch)).collect();
            let gone = || Err::<(), _>(Error::internal("gone"));
            let mut answers = match client.append(futures_util::stream::iter(requests)).await {
                Ok(answers) => answers.into_inner(),
                Err(_) => return batches.iter().for_each(|&batch| ledger.note(batch, &gone())),
            };
            while let Ok(Some(answer)) = answers.message().await {
                let Some(&batch) = waiting.next() else { break };
                let is_stored = answer.error.is_none() && u64::from(answer.accepted) == BATCH;
                ledger.note(batch, &is_stored.then_some(()).ok_or_else(|| Error::internal("refused")));
            }
            let rest: Vec<u64> = waiting.copied().collect();
            rest.iter().for_each(|&batch| ledger.note(batch, &gone()));
            if !rest.is_empty() {
                return;
            }
        }
    });
}

/// A batch for gRPC.
pub fn request(batch: u64) -> AppendRequest {
    let record = |id: u64| Record {
        service: format!("s{}", id % 3),
        labels: [("service".to_owned(), format!("s{}", id % 3))].into(),
        message: message(id),
        fields: vec![Field {
            name: "batch".into(),
            value: Some(Value { kind: Some(Kind::Text(format!("b{batch}"))) }),
        }],
        ..Record::default()
    };
    let encoded = |id| record(id).encode_to_vec().into();
    AppendRequest { records: (batch * BATCH..(batch + 1) * BATCH).map(encoded).collect(), ..AppendRequest::default() }
}

/// Deletes batches that were acknowledged, now and then, until the server is gone.
fn delete(server: &Server, ledger: &Ledger, deletes: &Mutex<Deletes>) {
    loop {
        std::thread::sleep(Duration::from_millis(90));
        let batch = {
            let deletes = deletes.lock().expect("no thread panicked");
            let acknowledged = ledger.acknowledged.lock().expect("no thread panicked");
            let is_new = |batch: &&u64| !deletes.acknowledged.contains(batch) && !deletes.unknown.contains(batch);
            acknowledged.iter().rev().filter(is_new).nth(acknowledged.len() / 3).copied()
        };
        let Some(batch) = batch else { continue };
        let query = format!("{{service=~\"s.*\"}} | batch=\"b{batch}\"");
        let answer = server.client().loki("/loki/api/v1/delete", &[("query", &query), ("start", "1000000000")]);
        let mut deletes = deletes.lock().expect("no thread panicked");
        match answer {
            // Without content, which the client takes for an error.
            Err(error) if error.message.starts_with("the server answered 204") => {
                deletes.acknowledged.insert(batch);
            }
            Ok(answer) => panic!("{query}: {answer}"),
            Err(error) if error.message.contains("the server answered") => panic!("{query}: {error}"),
            Err(_) => {
                deletes.unknown.insert(batch);
                return;
            }
        }
    }
}

fn check(place: &str, s3: &[&str]) {
    let data = Data::new();
    let flags = [&FLAGS[..], s3, &["--tier-store", place]].concat();
    let (ledger, deletes) = (Ledger::default(), Mutex::new(Deletes::default()));
    let (mut merged, mut stored) = (false, false);
    for round in 0..kills() {
        let server = Server::start(&data, &flags);
        check_round(&server, &ledger, &deletes);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| over_http(&server, &ledger));
                scope.spawn(|| over_grpc(&server, &ledger));
            }
            scope.spawn(|| delete(&server, &ledger, &deletes));
            std::thread::sleep(Duration::from_millis(1_500 + 331 * (round % 7)));
            let deadline = Instant::now() + PATIENCE;
            loop {
                let stats = engine(&server);
                merged |= stats["compaction"]["jobs"].as_u64() > Some(0);
                stored |= stats["tier"]["segments_uploaded"].as_u64() > Some(0);
                // The last one lives until both were seen, however slow the machine is.
                if round + 1 < kills() || (merged && stored) || Instant::now() > deadline {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            super::tool("kill", &["-9", &server.pid().to_string()]).expect("a process");
        });
    }
    assert!(merged && stored, "nothing was merged, or nothing went to the store");
    let server = Server::start(&data, &flags);
    check_round(&server, &ledger, &deletes);
    poll("all is in the store", || {
        let engine = engine(&server);
        (engine["buffer_records"] == 0 && engine["tier"]["segments_stored"] == engine["segments"]).then_some(())
    });
    check_round(&server, &ledger, &deletes);
    assert!(server.stop().success());
    verify(&data.path());

    // The store alone is the database.
    let mut gc = timberlog(&["gc", "--store", place, "--yes", "--gc-grace", "1s"]);
    let gc = gc.args(s3).output().expect("it runs");
    assert!(gc.status.success(), "{}", String::from_utf8_lossy(&gc.stderr));
    let other = Data::new();
    let server = Server::start(&other, &[&flags[..], &["--from", place]].concat());
    check_round(&server, &ledger, &deletes);
}

/// Holds a server against what was sent and deleted.
fn check_round(server: &Server, ledger: &Ledger, deletes: &Mutex<Deletes>) {
    check_found(server, ledger, deletes, super::ids(server));
}

/// Holds records that a server has shown, and how often, against what was sent and deleted.
pub fn check_found(server: &Server, ledger: &Ledger, deletes: &Mutex<Deletes>, mut found: BTreeMap<u64, u64>) {
    let deletes = deletes.lock().expect("no thread panicked");
    for &batch in &deletes.acknowledged {
        let back: Vec<u64> = (batch * BATCH..(batch + 1) * BATCH).filter(|id| found.contains_key(id)).collect();
        let told = || server.client().get("/loki/api/v1/delete").map(|list| list.to_string()).unwrap_or_default();
        assert!(back.is_empty(), "batch {batch} was deleted, and there are {back:?}; deletes: {}", told());
    }
    // What may be gone is gone whole.
    for batch in deletes.acknowledged.iter().chain(&deletes.unknown) {
        let there = (batch * BATCH..(batch + 1) * BATCH).filter(|id| found.contains_key(id)).count() as u64;
        assert!(there == 0 || there == BATCH, "{there} of batch {batch}, which may be deleted");
        if there == 0 {
            found.extend((batch * BATCH..(batch + 1) * BATCH).map(|id| (id, 1)));
        }
    }
    ledger.check_found(found);
}

#[test]
fn everything_at_once_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    check(&format!("file://{}", folder.path().join("store").display()), &[]);
}

#[test]
fn everything_at_once_survives_kill_9_with_a_real_s3_server() {
    let Ok(endpoint) = std::env::var("TIMBERLOG_S3_TEST") else { return };
    make_bucket(&endpoint);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let place = format!("s3://timberlog-tests/kills-{}-{now}", std::process::id());
    check(&place, &["--s3-endpoint", &endpoint, "--s3-path-style", "--s3-region", "us-east-1"]);
}
