//! Everything at once: appends of every kind, queries, a tail, deletes, backups, by a thread each, until they are told to end.
//! Notes what was sent and what became of it. Errors are no failure here; answers that never come, and answers that are
//! wrong, are.

use super::weather::Weather;
use crate::kernel::kills::{Deletes, request};
use crate::kernel::{BATCH, Ledger, message};
use crate::server::{PATIENCE, Server, timberlog};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use timberlog_proto::v1::timber_log_client::TimberLogClient;
use timberlog_proto::v1::{AppendRequest, TailRequest};
use timberlog_types::{Error, Result};

/// How long records of the retention's end are still there when they are sent.
const EXPIRES_IN: Duration = Duration::from_secs(2);
/// The retention that the servers are told.
pub const RETENTION: Duration = Duration::from_secs(7 * 86_400);
/// How long after an answer that was an error the next try comes.
const PAUSE: Duration = Duration::from_millis(15);
/// One of so many batches may be deleted; the others are always there.
const DELETABLE: u64 = 4;

/// What was sent over the lives of one data directory.
#[derive(Default)]
pub struct Sent {
    pub ledger: Ledger,
    pub deletes: Mutex<Deletes>,
    /// Batches that expire, and when they have, in nanoseconds since 1970.
    pub expiring: Mutex<BTreeMap<u64, u64>>,
    producers: [Mutex<Producer>; 3],
    pub backups: AtomicU64,
}

/// Who sends each batch again, under its number, until it is answered.
#[derive(Default)]
struct Producer {
    number: u64,
    pending: Option<u64>,
}

/// A server under load.
pub struct Load<'a> {
    pub server: &'a Server,
    pub sent: &'a Sent,
    pub weather: &'a Weather,
    pub is_over: &'a AtomicBool,
}

/// Calls, and holds against a hang: whatever fails, an answer comes.
fn answered<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let answer = call();
    let took = started.elapsed();
    assert!(took < PATIENCE - Duration::from_secs(5), "{what} took {took:?}");
    answer
}

pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}

/// A batch as JSON lines, of now or of another time.
fn lines(batch: u64, time_ns: Option<u64>) -> Vec<u8> {
    let line = |id: u64| {
        let mut record =
            json!({"message": message(id), "service": format!("s{}", id % 3), "batch": format!("b{batch}")});
        if let Some(ns) = time_ns {
            let ns = i64::try_from(ns).expect("before 2262");
            record["timestamp"] = timberlog_types::time::format_rfc3339(ns).into();
        }
        record.to_string() + "\n"
    };
    (batch * BATCH..(batch + 1) * BATCH).map(line).collect::<String>().into_bytes()
}

impl Sent {
    /// Sends the batch of a producer that is not known to be stored, or a new one.
    fn send_next(&self, server: &Server, which: usize) -> Result<()> {
        let mut producer = self.producers[which].lock().expect("no thread panicked");
        if producer.pending.is_none() {
            producer.number += 1;
            producer.pending = Some(self.ledger.take());
        }
        let batch = producer.pending.expect("there is one");
        let name = format!("sender-{which}");
        let key = Some((name.as_str(), producer.number));
        let answer = answered("an append", || server.client().ingest(&lines(batch, None), key));
        let answer = answer.map(|answer| assert_eq!(answer.accepted, BATCH));
        self.ledger.note(batch, &answer);
        if answer.is_ok() {
            producer.pending = None;
        }
        answer
    }

    /// Sends again whatever a producer does not know to be stored.
    pub fn send_rest(&self, server: &Server) {
        for which in 0..self.producers.len() {
            self.send_next(server, which).unwrap_or_else(|error| panic!("{error}; it said: {}", server.said()));
        }
    }

    /// Sends the next batch, of now.
    pub fn send(&self, server: &Server) -> Result<()> {
        let batch = self.ledger.take();
        let answer = answered("an append", || server.client().ingest(&lines(batch, None), None));
        let answer = answer.map(|answer| assert_eq!(answer.accepted, BATCH));
        self.ledger.note(batch, &answer);
        answer
    }

    /// Who has seen a record knows that its batch is stored.
    fn seen(&self, batch: u64) {
        if !self.expiring.lock().expect("no thread panicked").contains_key(&batch) {
            self.ledger.note(batch, &Ok(()));
        }
    }

    fn pick(&self, number: usize, is_right: impl Fn(u64) -> bool) -> Option<u64> {
        let acknowledged = self.ledger.acknowledged.lock().expect("no thread panicked");
        let right: Vec<u64> = acknowledged.iter().copied().filter(|&batch| is_right(batch)).collect();
        right.get(number % right.len().max(1)).copied()
    }
}

impl Load<'_> {
    /// Goes on with everything until it is over.
    pub fn run<'scope>(&'scope self, scope: &'scope std::thread::Scope<'scope, '_>, with_backups: bool) {
        scope.spawn(|| self.while_on(|_| self.sent.send(self.server)));
        for which in 0..2 {
            scope.spawn(move || self.while_on(|_| self.sent.send_next(self.server, which)));
        }
        scope.spawn(|| self.over_grpc(8));
        scope.spawn(|| self.over_grpc(1));
        scope.spawn(|| self.while_on(|turn| self.expiring(turn)));
        scope.spawn(|| self.while_on(|turn| self.ask(turn)));
        scope.spawn(|| self.while_on(|turn| self.delete(turn)));
        scope.spawn(|| self.tail());
        if with_backups {
            scope.spawn(|| self.while_on(|_| self.back_up()));
        }
    }

    fn is_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }

    fn while_on(&self, mut act: impl FnMut(usize) -> Result<()>) {
        let mut turn = 0;
        while self.is_on() {
            if act(turn).is_err() {
                std::thread::sleep(PAUSE);
            }
            turn += 1;
        }
    }

    /// A batch that expires soon.
    fn expiring(&self, _: usize) -> Result<()> {
        let batch = self.sent.ledger.take();
        let expires = now_ns() + EXPIRES_IN.as_nanos() as u64;
        self.sent.expiring.lock().expect("no thread panicked").insert(batch, expires);
        let body = lines(batch, Some(expires - RETENTION.as_nanos() as u64));
        let answer = answered("an append", || self.server.client().ingest(&body, None));
        std::thread::sleep(PAUSE * 10);
        answer.map(drop)
    }

    /// Counts the records of a batch that was acknowledged: they are there, once, or the answer says what is missing.
    fn ask(&self, turn: usize) -> Result<()> {
        let deletes = |batch: u64| batch.is_multiple_of(DELETABLE);
        let Some(batch) = self.sent.pick(turn * 7919, |batch| !deletes(batch)) else { return Ok(()) };
        let question = json!({"filter": {"field": "batch", "eq": format!("b{batch}")}, "aggregate": {}});
        let answer = answered("a query", || self.server.client().post("/api/v1/query", &question))?;
        let count = answer["data"][0]["count"].as_u64().unwrap_or_default();
        let is_told = answer["missing"].as_array().is_some_and(|missing| !missing.is_empty());
        assert!(count == BATCH || (is_told && count < BATCH), "{count} records of batch {batch}: {answer}");
        Ok(())
    }

    /// Deletes a batch that was acknowledged.
    fn delete(&self, turn: usize) -> Result<()> {
        std::thread::sleep(PAUSE * 10);
        let known = |batch: u64| {
            let deletes = self.sent.deletes.lock().expect("no thread panicked");
            deletes.acknowledged.contains(&batch) || deletes.unknown.contains(&batch)
        };
        let picked = self.sent.pick(turn * 7919, |batch| batch.is_multiple_of(DELETABLE) && !known(batch));
        let Some(batch) = picked else { return Ok(()) };
        let query = format!("{{service=~\"s.*\"}} | batch=\"b{batch}\"");
        let form = [("query", query.as_str()), ("start", "1000000000")];
        let answer = answered("a delete", || self.server.client().loki("/loki/api/v1/delete", &form));
        let mut deletes = self.sent.deletes.lock().expect("no thread panicked");
        match answer {
            // Without content, which the client takes for an error.
            Err(error) if error.message.starts_with("the server answered 204") => {
                deletes.acknowledged.insert(batch);
                Ok(())
            }
            Ok(answer) => panic!("{query}: {answer}"),
            Err(error) => {
                assert!(!error.message.contains("the server answered 4"), "{query}: {error}");
                deletes.unknown.insert(batch);
                Err(error)
            }
        }
    }

    fn back_up(&self) -> Result<()> {
        let mut command = timberlog(&["backup", "create", "--addr", &self.server.http, "--store"]);
        command.arg(format!("file://{}", self.weather.beside("backups").display())).envs(self.weather.environment());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
        answered("a backup", || {
            // It waits for a server that is gone; this one does not come back.
            while self.is_on() && child.try_wait().expect("a child").is_none() {
                std::thread::sleep(PAUSE);
            }
        });
        let _ = child.kill();
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{said}");
        if !output.status.success() {
            return Err(Error::internal(said));
        }
        self.sent.backups.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sends batches over one gRPC stream after the other, so many under way at a time.
    fn over_grpc(&self, at_once: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let endpoint = tonic::transport::Endpoint::from_shared(self.server.grpc.clone()).expect("an address");
            let mut client = TimberLogClient::new(endpoint.connect_lazy());
            while self.is_on() {
                let batches: Vec<u64> = (0..at_once).map(|_| self.sent.ledger.take()).collect();
                let requests: Vec<AppendRequest> = batches.iter().map(|&batch| request(batch)).collect();
                let mut waiting = batches.iter();
                let exchange = async {
                    let mut answers = client.append(futures_util::stream::iter(requests)).await?.into_inner();
                    while let Some(answer) = answers.message().await? {
                        let Some(&batch) = waiting.next() else { break };
                        let is_stored = answer.error.is_none() && u64::from(answer.accepted) == BATCH;
                        let result = is_stored.then_some(()).ok_or_else(|| Error::internal("refused"));
                        self.sent.ledger.note(batch, &result);
                    }
                    Ok::<_, tonic::Status>(())
                };
                let ended = tokio::time::timeout(PATIENCE, exchange).await.expect("an answer over gRPC");
                let rest: Vec<u64> = waiting.copied().collect();
                for &batch in &rest {
                    self.sent.ledger.note::<()>(batch, &Err(Error::internal("gone")));
                }
                if ended.is_err() || !rest.is_empty() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
    }

    /// Follows what is stored: who has seen a record sees it for ever, and nobody sees one twice.
    fn tail(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut seen = BTreeSet::new();
        runtime.block_on(async {
            let endpoint = tonic::transport::Endpoint::from_shared(self.server.grpc.clone()).expect("an address");
            let mut client = TimberLogClient::new(endpoint.connect_lazy());
            while self.is_on() {
                let Ok(answer) = client.tail(TailRequest::default()).await else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                let mut answers = answer.into_inner();
                while self.is_on() {
                    let next = tokio::time::timeout(PAUSE * 10, answers.message()).await;
                    let Ok(next) = next else { continue };
                    let Ok(Some(answer)) = next else { break };
                    for record in answer.records {
                        let id = record.message.split(' ').nth(1).and_then(|id| id.parse::<u64>().ok());
                        let id = id.unwrap_or_else(|| panic!("no record: {record:?}"));
                        assert!(seen.insert(id), "a tail shows record {id} twice");
                        self.sent.seen(id / BATCH);
                    }
                }
            }
        });
    }
}
