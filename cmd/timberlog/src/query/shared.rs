//! `timberlog query --local`: the server answers what it holds itself, and this process reads the cold segments from the
//! object store. The records and their order are those of the server's own answer.

use super::Arguments;
use crate::output::Printer;
use crate::progress::Progress;
use crate::shape::{Shape, parts};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use timberlog_db::filter::{Compiled, Filter};
use timberlog_db::query::logql::delete_filter;
use timberlog_db::query::{Cursor, Merge, Page, Query, Rank, Ranked, Record, Statistics, page_ranked};
use timberlog_db::{Env, Hidden, Hide, Snapshot, Upto};
use timberlog_objects::SignedStore;
use timberlog_types::{Day, Error, ErrorKind, Level, Result as Kept, TimeRange};

const PATH: &str = "/api/v1/search/plan";
/// Records of a page.
const PAGE_RECORDS: usize = 1_000;

/// A server's plan.
#[derive(Deserialize)]
struct Plan {
    hot: Vec<Line>,
    hot_ranks: Vec<(String, u64)>,
    next: Option<String>,
    segments: Vec<Cold>,
    hidden: Gone,
    missing: Vec<String>,
}

/// A record.
#[derive(Deserialize)]
struct Line {
    timestamp: i64,
    line: String,
    labels: BTreeMap<String, String>,
    service: String,
    level: String,
    level_text: Option<String>,
    fields: BTreeMap<String, Box<RawValue>>,
}

/// A segment.
#[derive(Deserialize)]
struct Cold {
    id: String,
    day: String,
    url: String,
    index_url: String,
    entry: timberlog_db::SegmentEntry,
}

/// What is deleted or expired.
#[derive(Deserialize)]
struct Gone {
    before: Option<i64>,
    deletes: Vec<Delete>,
}

#[derive(Deserialize)]
struct Delete {
    name: String,
    query: String,
    start: i64,
    end: i64,
    seq: Option<u64>,
}

/// Asks and prints.
pub fn run(arguments: &Arguments, filter: &Filter, query: &Query) -> Result<()> {
    let client = arguments.target.client()?;
    let mut left = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    let mut body = arguments.body()?;
    body["filter"] = filter.to_json();
    let page = left.min(PAGE_RECORDS);
    body["limit"] = page.into();
    let mut progress = Progress::start();
    let ask = |body: &Value| -> Kept<Plan> {
        let answer = client.bytes(PATH, body)?;
        serde_json::from_slice(&answer)
            .map_err(|error| Error::internal(format!("the server's plan is not one that this version knows: {error}")))
    };
    let first = ask(&body)?;
    let cold = snapshot(&first)?;
    body["cold"] = first.segments.iter().map(|segment| segment.id.clone()).collect();
    let mut first = Some(first);
    let hot = |cursor: Option<Cursor>| match (cursor, first.take()) {
        (None, Some(first)) => first.ranked(),
        (cursor, _) => {
            body["cursor"] = cursor.map(|cursor| cursor.to_string()).into();
            ask(&body)?.ranked()
        }
    };
    let of_cold = |cursor| page_ranked(&cold, &Query { cursor, limit: page, ..query.clone() });
    let mut merge = Merge::new(query.order, Box::new(hot), Box::new(of_cold));
    let mut printer = Printer::stdout(arguments.output);
    while left > 0
        && let Some(record) = merge.next_record()?
    {
        progress.saw_record();
        printer.record(&Shape::of(&record))?;
        left -= 1;
    }
    for missing in merge.missing() {
        eprintln!("missing: {missing}");
    }
    progress.stop();
    printer.finish()?;
    Ok(())
}

/// The cold segments of a plan.
fn snapshot(plan: &Plan) -> Result<Snapshot> {
    let (mut urls, mut segments) = (HashMap::new(), Vec::new());
    for segment in &plan.segments {
        let index = segment.entry.index_object.as_ref().context("the server names a segment without its index")?;
        urls.insert(segment.entry.log.path.clone(), segment.url.clone());
        urls.insert(index.path.clone(), segment.index_url.clone());
        let day = Day::parse(&segment.day).with_context(|| format!("`{}` is no day", segment.day))?;
        segments.push((day, segment.entry.clone()));
    }
    let hide = |delete: &Delete| -> Result<Arc<Hide>> {
        let filter = Arc::new(Compiled::new(&delete_filter(&delete.query)?)?);
        let range = TimeRange { start: delete.start, end: delete.end };
        Ok(Arc::new(Hide {
            filter,
            selector: delete.query.clone(),
            range,
            name: delete.name.clone(),
            upto: delete.seq.map_or(Upto::Always, Upto::Seq),
        }))
    };
    let hides = plan.hidden.deletes.iter().map(hide).collect::<Result<Vec<_>>>()?;
    let hidden = Hidden::new(plan.hidden.before.unwrap_or(i64::MIN), hides);
    let store = Arc::new(SignedStore::new(urls)?);
    Ok(timberlog_db::snapshot_of(&Env::real(), store, segments, hidden)?)
}

impl Plan {
    fn ranked(self) -> Kept<Ranked> {
        if self.hot.len() != self.hot_ranks.len() {
            return Err(Error::internal("the server's plan has not as many ranks as records"));
        }
        let rank = |(line, (stream, seq)): (&Line, &(String, u64))| {
            let stream =
                u64::from_str_radix(stream, 16).map_err(|_| Error::internal("the hash of a stream is none"))?;
            Ok(Rank { timestamp: line.timestamp, stream, seq: *seq })
        };
        let ranks = self.hot.iter().zip(&self.hot_ranks).map(rank).collect::<Kept<_>>()?;
        let next = self.next.as_deref().map(Cursor::parse).transpose();
        let next = next.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        let records = self.hot.into_iter().map(Line::record).collect();
        let page = Page { records, next, statistics: Statistics::default(), missing: self.missing };
        Ok(Ranked { page, ranks })
    }
}

impl Line {
    fn record(self) -> Record {
        let field = |(name, value): (String, Box<RawValue>)| {
            let (kind, text) = parts(&value);
            (name, kind, text)
        };
        Record {
            timestamp: self.timestamp,
            level: Level::ALL.into_iter().find(|level| level.as_str() == self.level).unwrap_or(Level::Unknown),
            level_spelling: self.level_text,
            service: self.service,
            message: self.line,
            labels: self.labels.into_iter().collect(),
            fields: self.fields.into_iter().map(field).collect(),
        }
    }
}
