//! VictoriaLogs beside us: the same records, in turn, and queries of the same meaning, whose answers must be as large as ours.
//!
//! It answers before its data is on disk (it writes out every few seconds), we after: the table has to be read with that.

use crate::facts::{Facts, LITERALS, REGEX};
use crate::files::sealed_bytes;
use crate::load::{Connection, Load, Protocol, Sent};
use crate::process::{Process, Usage, stop};
use crate::queries::{FLAGS, HOUR_NS, Query, WARM, WARMING, ask, set};
use crate::report::{Better, median};
use crate::{Bench, ingest};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use timberlog_types::Error;

const INGESTION: &str = "VictoriaLogs beside us: ingestion over HTTP";
const QUERIES: &str = "VictoriaLogs beside us: queries, warm";
/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn measure(bench: &mut Bench<'_>) {
    let Some(binary) = bench.options.peer_victorialogs.clone() else {
        bench.scale.skip("A peer", "`--peer-victorialogs` names no binary");
        return;
    };
    let mut stored = PathBuf::new();
    for round in bench.rounds() {
        let (ours, theirs) = (bench.empty("ours"), bench.empty(&format!("theirs-{round}")));
        let server = Process::start(&ours, &[]);
        let sent = ingest::load(bench, Protocol::Http).run(&server, bench.corpus.bodies(bench.options.batch));
        ingested(bench, "TimberLog", &sent, server.stop(), &ours);
        let peer = Peer::start(&binary, &theirs);
        let bodies = bench.corpus.bodies(bench.options.batch);
        let load = Load { rate: None, ..ingest::load(bench, Protocol::Http) };
        let sent = load.run_over(&|| peer.connection(), bodies);
        ingested(bench, "VictoriaLogs", &sent, peer.stop(), &theirs);
        let _ = std::fs::remove_dir_all(std::mem::replace(&mut stored, theirs));
        let _ = std::fs::remove_dir_all(ours);
    }
    let (ours, theirs) = (Process::start(&bench.stored(), &FLAGS), Peer::start(&binary, &stored));
    let queries = set(&bench.scale.facts);
    for _ in bench.rounds() {
        for (query, logsql) in queries.iter().zip(in_logsql(&bench.scale.facts)) {
            in_turn(bench, query, &logsql, &ours, &theirs);
        }
    }
    for (name, usage) in [("TimberLog", ours.usage()), ("VictoriaLogs", theirs.stop())] {
        bench.scale.cost(QUERIES, &format!("peak memory: {name}"), "MB", usage.memory_bytes as f64 / 1e6);
    }
    let _ = std::fs::remove_dir_all(stored);
}

fn ingested(bench: &mut Bench<'_>, name: &str, sent: &Sent, usage: Usage, data: &Path) {
    let records = bench.corpus.records as f64;
    let scale = &mut bench.scale;
    let rate = sent.records as f64 / sent.seconds;
    scale.add(INGESTION, &format!("records a second: {name}"), "", Better::Higher, rate);
    scale.cost(INGESTION, &format!("server until all is sealed: {name}"), "s CPU", usage.cpu_seconds);
    scale.cost(INGESTION, &format!("size of a record: {name}"), "B", sealed_bytes(data) as f64 / records);
    scale.cost(INGESTION, &format!("peak memory: {name}"), "MB", usage.memory_bytes as f64 / 1e6);
}

fn in_turn(bench: &mut Bench<'_>, query: &Query, logsql: &LogsQl, ours: &Process, theirs: &Peer) {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..WARMING + WARM {
        let (our_time, our_found, _) = ask(ours, &query.body);
        let (their_time, their_found) = theirs.ask(logsql);
        bench.scale.check(&format!("{}, by VictoriaLogs", query.name), their_found, our_found);
        if round >= WARMING {
            times[0].push(our_time);
            times[1].push(their_time);
        }
    }
    let [ours, theirs] = times.map(|times| median(&times));
    let name = &query.name;
    bench.scale.cost(QUERIES, &format!("{name}: TimberLog"), "ms", ours);
    bench.scale.cost(QUERIES, &format!("{name}: VictoriaLogs"), "ms", theirs);
    bench.scale.cost(QUERIES, &format!("{name}: ours beside theirs"), "×", ours / theirs);
}

/// A query in its language, and the newest records that are wanted of what it finds.
struct LogsQl {
    query: String,
    limit: Option<u32>,
}

/// The query set in its language, in the order of [`set`]. Regular expressions of plain text find what our substrings find:
/// its phrases end at words.
fn in_logsql(facts: &Facts) -> Vec<LogsQl> {
    let records = |query: String, limit| LogsQl { query, limit: Some(limit) };
    let count = |query: String| LogsQl { query, limit: None };
    let contains = |text: &str| count(format!("_msg:~\"{text}\" | stats count() as n"));
    let (Facts { trace, service, newest, .. }, start) = (facts, facts.newest - HOUR_NS);
    // Both ends are in it, in ns.
    let hour = format!(
        "_time:[{}, {}]",
        timberlog_types::time::format_rfc3339(start),
        timberlog_types::time::format_rfc3339(*newest)
    );
    vec![
        records(format!("trace_id:=\"{trace}\""), 1000),
        records(format!("{hour} {{service=\"{service}\"}} level:=error"), 100),
        records("*".to_owned(), 100),
        count("* | stats by (level) count() as n".to_owned()),
        count("* | stats by (host) count() as n".to_owned()),
        count("* | stats by (_time:10m, level) count() as n".to_owned()),
        contains(LITERALS[0]),
        contains(LITERALS[1]),
        contains(&facts.rare),
        contains(REGEX),
    ]
}

/// Its process.
struct Peer {
    child: Child,
    http: String,
}

impl Peer {
    fn start(binary: &Path, data: &Path) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port").to_string();
        let child = Command::new(binary)
            .arg(format!("-storageDataPath={}", data.display()))
            .arg(format!("-httpListenAddr={address}"))
            .args(["-retentionPeriod=100y", "-loggerLevel=ERROR"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("run `{}`: {error}", binary.display()));
        let peer = Self { child, http: format!("http://{address}") };
        let started = Instant::now();
        while ureq::get(format!("{}/health", peer.http)).call().is_err() {
            assert!(started.elapsed() < PATIENCE, "`{}` does not get ready", binary.display());
            std::thread::sleep(Duration::from_millis(10));
        }
        peer
    }

    fn connection(&self) -> Sender {
        let place = "insert/jsonline?_stream_fields=service&_time_field=timestamp&_msg_field=message";
        Sender { agent: ureq::Agent::new_with_defaults(), url: format!("{}/{place}", self.http) }
    }

    /// The time in ms, and the sum of counts or the number of records.
    fn ask(&self, LogsQl { query, limit }: &LogsQl) -> (f64, u64) {
        let agent = ureq::Agent::new_with_defaults();
        let mut form = vec![("query", query.clone())];
        form.extend(limit.map(|limit| ("limit", limit.to_string())));
        let started = Instant::now();
        let answer = agent.post(format!("{}/select/logsql/query", self.http)).send_form(form).expect("an answer");
        let text = answer.into_body().into_with_config().limit(1 << 30).read_to_string().expect("an answer");
        let time = started.elapsed().as_secs_f64() * 1e3;
        let line = |line: &str| {
            let record: Value = serde_json::from_str(line).expect("JSON lines");
            record["n"].as_str().map_or(1, |count| count.parse().expect("a count"))
        };
        (time, text.lines().map(line).sum())
    }

    fn stop(self) -> Usage {
        stop(&self.child)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection of the load.
struct Sender {
    agent: ureq::Agent,
    url: String,
}

impl Connection for Sender {
    type Request = Vec<u8>;

    fn prepare(&self, body: Vec<u8>) -> Vec<u8> {
        body
    }

    fn send(&mut self, body: &Vec<u8>) -> Result<u64, Error> {
        let sent = self.agent.post(&self.url).content_type("application/stream+json").send(body.as_slice());
        let mut answer = sent.map_err(|error| Error::invalid(error.to_string()))?;
        let _ = answer.body_mut().read_to_string();
        Ok(body.iter().filter(|&&byte| byte == b'\n').count() as u64)
    }
}
