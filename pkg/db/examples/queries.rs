//! Measures queries inside one process: CPU and wall time of each query of the benchmarks' table, warm, over a folder of
//! segments that the first run makes; with deletes that are live, if they are asked for.
//!
//!     cargo run --release --package timberlog-db --example queries -- /tmp/new-folder [file of JSON lines] [deletes] [rounds] \
//!         [a part of the query's name]
//!
//! Without a file, 1,000,000 made-up records of one day. Prints a line a query: the name, the median in ms of wall time,
//! the mean in ms of CPU time, and what was found.

use std::path::Path;
use std::time::Instant;
use timberlog_db::filter::{Filter, Op, Pattern};
use timberlog_db::query::{Aggregation, Query, aggregate, page};
use timberlog_db::types::time::{self, HOUR_NS, SECOND_NS};
use timberlog_db::types::{Error, ErrorKind, Result, Tenant, TimeRange};
use timberlog_db::{Database, Env, Hidden, Hide, Options, Progress, Snapshot, Upto};
use timberlog_ingest::demo::Traffic;
use timberlog_ingest::{DecodeOptions, Decoder, Limits, NoStreamLimit};

const RECORDS: usize = 1_000_000;
const RECORDS_PER_FLUSH: usize = 64_000;

enum Question {
    Page(Box<Query>),
    Counts(Box<Aggregation>),
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().ok_or_else(|| Error::invalid("name a folder"))?;
    let number = |at: usize, default| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (deletes, rounds): (usize, usize) = (number(2, 0), number(3, 15));
    let is_new = !Path::new(folder).join("manifest.json").exists();
    let options = Options { background: false, ..Options::new(folder) };
    let database = Database::open(options, Env::real(), &Progress::default())?;
    if is_new {
        fill(&database, arguments.get(1).filter(|file| *file != "-").map(String::as_str))?;
    }
    let snapshot = with_deletes(database.snapshot(&Tenant::default()), deletes)?;
    let middle = page(&snapshot, &Query { limit: 500_000, ..newest() })?.records.pop();
    let middle = middle.ok_or_else(|| Error::invalid("no records"))?;
    let last = page(&snapshot, &newest())?.records.first().map_or(0, |record| record.timestamp);
    let trace = middle.fields.iter().find(|(name, ..)| name == "trace_id").map_or("", |(.., text)| text);
    let part = arguments.get(4).map_or("", String::as_str);
    for (name, question) in questions(trace, &middle.service, last).into_iter().filter(|(name, _)| name.contains(part))
    {
        let (mut times, mut cpu, mut found) = (Vec::new(), 0.0, 0);
        for round in 0..=rounds {
            let (started, before) = (Instant::now(), cpu_seconds()?);
            found = ask(&snapshot, &question)?;
            if round > 0 {
                times.push(started.elapsed().as_secs_f64() * 1e3);
                cpu += cpu_seconds()? - before;
            }
        }
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        println!("{name:<48} {median:>9.3} ms wall {:>9.3} ms CPU {found:>9} found", cpu * 1e3 / rounds.max(1) as f64);
    }
    database.close()
}

fn newest() -> Query {
    Query::new(Tenant::default())
}

fn questions(trace: &str, service: &str, last: i64) -> Vec<(&'static str, Question)> {
    let counts = |filter| Aggregation { filter, ..Aggregation::new(Tenant::default()) };
    let by = |name: &str, step| Aggregation { by: vec![name.to_owned()], step, ..counts(Filter::All) };
    let regex = Filter::test("message", Op::Regex(Pattern::search("[0-9]{3} ?ms|timed? ?out")));
    let errors = Filter::eq("level", "error").and(Filter::eq("service", service));
    let hour = TimeRange { start: last - HOUR_NS, end: last };
    let counted = |aggregation| Question::Counts(Box::new(aggregation));
    let paged = |query| Question::Page(Box::new(query));
    vec![
        ("one trace id", paged(Query { filter: Filter::eq("trace_id", trace), limit: 1_000, ..newest() })),
        ("last 100 errors of a service within an hour", paged(Query { filter: errors, range: hour, ..newest() })),
        ("last 100 records of anything", paged(newest())),
        ("count by level", counted(by("level", None))),
        ("count by host", counted(by("host", None))),
        ("histogram by 10 minutes and level", counted(by("level", Some(600 * SECOND_NS)))),
        ("count of `authentication failure`", counted(counts(Filter::contains("authentication failure")))),
        ("count of substring `error`", counted(counts(Filter::contains("error")))),
        ("count of a rare substring (`38101a0b`)", counted(counts(Filter::contains("38101a0b")))),
        ("count by `[0-9]{3} ?ms|timed? ?out`", counted(counts(regex))),
    ]
}

/// What was found: the sum of counts, or the number of records.
fn ask(snapshot: &Snapshot, question: &Question) -> Result<u64> {
    match question {
        Question::Page(query) => page(snapshot, query).map(|page| page.records.len() as u64),
        Question::Counts(counts) => {
            aggregate(snapshot, counts).map(|groups| groups.groups.iter().map(|group| group.count).sum())
        }
    }
}

/// Deletes of single requests: each names a service, a level and a text that hardly any record has.
fn with_deletes(mut snapshot: Snapshot, count: usize) -> Result<Snapshot> {
    let mut hides = Vec::with_capacity(count);
    for number in 0..count {
        let filter = Filter::eq("service", ["hdfs-a", "spark-b", "linux-c", "checkout"][number % 4])
            .and(Filter::contains(format!("request {number:08x} of the customer")));
        let filter = std::sync::Arc::new(timberlog_db::filter::Compiled::new(&filter)?);
        let (selector, name) = (String::new(), format!("delete {number}"));
        hides.push(std::sync::Arc::new(Hide { filter, selector, range: TimeRange::ALL, name, upto: Upto::Always }));
    }
    if count > 0 {
        snapshot.hidden = std::sync::Arc::new(Hidden::new(i64::MIN, hides));
    }
    Ok(snapshot)
}

fn fill(database: &Database, file: Option<&str>) -> Result<()> {
    let start = time::parse(b"2026-01-01T00:00:00Z").map_err(|error| Error::invalid(error.to_string()))?;
    let mut text = Vec::new();
    match file {
        Some(file) => text = std::fs::read(file).map_err(|error| Error::io("read the records", &error))?,
        None => Traffic::new(1).records(RECORDS, start, time::DAY_NS / RECORDS as i64, &mut text),
    }
    let (labels, limits) = (["service".to_owned()], Limits { max_future_ns: i64::MAX, ..Limits::default() });
    let options = DecodeOptions {
        now_ns: start,
        keep_from_ns: i64::MIN,
        stream_labels: &labels,
        default_service: "",
        strict: false,
        limits: &limits,
        streams: &NoStreamLimit,
    };
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    let mut decoder = Decoder::new();
    for some in lines.chunks(RECORDS_PER_FLUSH) {
        for lines in some.chunks(1_000) {
            if let Some(batch) = decoder.json(&lines.concat(), &options)?.batch {
                database.append(&Tenant::default(), batch, None)?;
            }
        }
        database.flush()?;
    }
    Ok(())
}

/// CPU time of the process, of all its threads.
fn cpu_seconds() -> Result<f64> {
    let failed = || Error::new(ErrorKind::Unavailable, "`/proc/self/schedstat` cannot be read");
    let tasks = std::fs::read_dir("/proc/self/task").map_err(|_| failed())?;
    let of = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    Ok(tasks.flatten().filter_map(of).sum::<f64>() / 1e9)
}
