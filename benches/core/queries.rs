//! The query set over HTTP: cold, by a fresh process on files that are not in the page cache, and warm.

use crate::facts::{Facts, LITERALS, REGEX};
use crate::files::evict;
use crate::process::Process;
use crate::report::median;
use crate::{Bench, ingest};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

pub const HOUR_NS: i64 = 3_600_000_000_000;
/// Warm requests whose median is a round.
pub const WARM: usize = 15;
/// Requests before they count.
pub const WARMING: usize = 3;
const COLD: &str = "Queries, cold";
/// Without merges beside the queries.
pub const FLAGS: [&str; 2] = ["--compaction", "off"];

/// A question, and how many records or how large a sum of counts the answer must have.
pub struct Query {
    pub name: String,
    pub body: Value,
    pub expected: Option<u64>,
}

/// The query set of a corpus.
pub fn set(facts: &Facts) -> Vec<Query> {
    let errors = json!({"and": [{"field": "level", "eq": "error"}, {"field": "service", "eq": facts.service}]});
    let hour = json!({"filter": errors, "limit": 100, "start": (facts.newest - HOUR_NS).to_string(), "end": facts.newest.to_string()});
    let count = |filter: Value| json!({"filter": filter, "aggregate": {}});
    let contains = |text: &str| count(json!({"field": "message", "contains": text}));
    let query = |name: &str, body: Value, expected| Query { name: name.to_owned(), body, expected };
    vec![
        query("one trace id", trace(facts), Some(facts.traces.min(1000))),
        query("last 100 errors of a service within an hour", hour, None),
        query("last 100 records of anything", json!({"limit": 100}), Some(facts.records.min(100))),
        query("count by level", json!({"aggregate": {"by": ["level"]}}), Some(facts.records)),
        query("count by host", json!({"aggregate": {"by": ["host"]}}), Some(facts.records)),
        query(
            "histogram by 10 minutes and level",
            json!({"aggregate": {"by": ["level"], "step": "10m"}}),
            Some(facts.records),
        ),
        query(&format!("count of `{}`", LITERALS[0]), contains(LITERALS[0]), Some(facts.literals[0])),
        query(&format!("count of substring `{}`", LITERALS[1]), contains(LITERALS[1]), Some(facts.literals[1])),
        query("count of a rare substring (8 hex digits)", contains(&facts.rare), Some(facts.rares)),
        query(
            &format!("count by `{}`", REGEX.replace('|', r"\|")),
            count(json!({"field": "message", "regex": REGEX})),
            Some(facts.regexes),
        ),
    ]
}

fn trace(facts: &Facts) -> Value {
    json!({"filter": {"field": "trace_id", "eq": facts.trace}, "limit": 1000})
}

/// Cold, warm, and warm without the chunk cache.
pub fn all(bench: &mut Bench<'_>) {
    let data = bench.stored();
    let queries = set(&bench.scale.facts);
    for _ in bench.rounds() {
        all_cold(bench, &data, &queries);
    }
    let no_cache = [&FLAGS[..], &["--cache-bytes", "0"]].concat();
    for (part, flags) in [("Queries, warm", &FLAGS[..]), ("Queries, warm, without a chunk cache", &no_cache)] {
        for _ in bench.rounds() {
            let server = Process::start(&data, flags);
            let (before, fsyncs) = (server.usage(), server.fsyncs());
            for query in &queries {
                warm(bench, &server, part, query);
            }
            let used = server.usage().since(&before);
            bench.scale.cost(part, "peak memory", "MB", used.memory_bytes as f64 / 1e6);
            bench.scale.disk(part, "", &used, Some(server.fsyncs() - fsyncs));
        }
    }
}

/// Each in a process of its own. What a start syncs is asked of one without a query: a request for metrics in front of
/// a query would warm what it needs.
fn all_cold(bench: &mut Bench<'_>, data: &Path, queries: &[Query]) {
    let of_start = Process::start(data, &FLAGS).fsyncs();
    let (mut written, mut fsyncs) = (0, 0);
    for query in queries {
        let (of_query, with_start) = cold(bench, data, query);
        written += of_query;
        fsyncs += with_start as i64 - of_start as i64;
    }
    bench.scale.cost(COLD, "written to disk", "MB", written as f64 / 1e6);
    bench.scale.cost(COLD, "fsyncs beyond those of the starts", "", fsyncs as f64);
}

/// One trace with an index of its own.
pub fn indexed(bench: &mut Bench<'_>) {
    let data = bench.empty("indexed");
    let flags = ["--index", "trace_id"];
    let part = "One trace id with an index of its own";
    let sealed = ingest::store(bench, &data, &flags);
    bench.scale.cost(part, "server until all is sealed", "s CPU", sealed.cpu_seconds);
    let size = crate::files::sealed_bytes(&data) as f64 / bench.corpus.records as f64;
    bench.scale.cost(part, "size of a record", "B", size);
    let facts = &bench.scale.facts;
    let query = Query { name: "warm".to_owned(), body: trace(facts), expected: Some(facts.traces.min(1000)) };
    for _ in bench.rounds() {
        let server = Process::start(&data, &[&FLAGS[..], &flags].concat());
        warm(bench, &server, part, &query);
    }
    let _ = std::fs::remove_dir_all(data);
}

/// The first question to a fresh process, and what it used for it; the bytes that it wrote, and the fsyncs of the process.
fn cold(bench: &mut Bench<'_>, data: &Path, query: &Query) -> (u64, u64) {
    evict(data);
    let server = Process::start(data, &FLAGS);
    let (before, cpu) = (server.usage(), server.threads_seconds());
    let (time, found, _) = ask(&server, &query.body);
    let cpu = server.threads_seconds() - cpu;
    let used = server.usage().since(&before);
    let (name, scale) = (&query.name, &mut bench.scale);
    scale.cost(COLD, name, "ms", time);
    scale.cost(COLD, &format!("{name}: CPU"), "ms", cpu * 1e3);
    scale.cost(COLD, &format!("{name}: peak memory"), "MB", used.memory_bytes as f64 / 1e6);
    scale.cost(COLD, &format!("{name}: read from disk"), "MB", used.read_bytes as f64 / 1e6);
    check(bench, query, found);
    (used.written_bytes, server.fsyncs())
}

fn warm(bench: &mut Bench<'_>, server: &Process, part: &str, query: &Query) {
    for _ in 0..WARMING {
        ask(server, &query.body);
    }
    let before = server.threads_seconds();
    let mut times = Vec::new();
    for _ in 0..WARM {
        let (time, found, _) = ask(server, &query.body);
        times.push(time);
        check(bench, query, found);
    }
    let cpu = (server.threads_seconds() - before) / WARM as f64;
    bench.scale.cost(part, &query.name, "ms", median(&times));
    bench.scale.cost(part, &format!("{}: CPU", query.name), "ms", cpu * 1e3);
}

fn check(bench: &mut Bench<'_>, query: &Query, found: u64) {
    if let Some(expected) = query.expected {
        bench.scale.check(&query.name, found, expected);
    }
}

/// Asks on a connection of its own; the time in ms until the answer is there whole, what was found, and the answer.
pub fn ask(server: &Process, body: &Value) -> (f64, u64, Value) {
    let client = server.client();
    let started = Instant::now();
    let answer = client.bytes("/api/v1/query", body).expect("an answer");
    let time = started.elapsed().as_secs_f64() * 1e3;
    let answer = serde_json::from_slice(&answer).expect("an answer in JSON");
    (time, found(&answer), answer)
}

/// The sum of counts, or the number of records.
pub fn found(answer: &Value) -> u64 {
    let data = answer["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let counted: Option<u64> = data.iter().map(|group| group["count"].as_u64()).sum();
    counted.filter(|_| !data.is_empty()).unwrap_or(data.len() as u64)
}
