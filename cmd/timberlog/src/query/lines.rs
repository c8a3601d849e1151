//! Lines of a LogQL log query, asked for in pages until there are as many as wanted.

use super::Arguments;
use crate::output::Printer;
use crate::progress::Progress;
use crate::shape::{Shape, quoted};
use anyhow::Result;
use serde_json::{Map, Value};
use timberlog_client::Client;
use timberlog_db::Database;
use timberlog_db::language::Labels;
use timberlog_db::language::ast::LogExpr;
use timberlog_db::query::Order;
use timberlog_db::query::logql::LogQuery;
use timberlog_types::{Error, Level, TimeRange, time};

/// Lines of one request.
const PAGE_LINES: usize = 1_000;
/// Lines of one request where many have one time: as many as a server answers.
const PAGE_LINES_MAX: usize = 5_000;
/// Where a line tells its level, the first one that is there.
const LEVELS: [&str; 2] = ["detected_level", "level"];
/// Where a line tells its service.
const SERVICES: [&str; 2] = ["service", "service_name"];

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    timestamp: i64,
    text: String,
    /// Those of the stream and those that the pipeline made.
    labels: Map<String, Value>,
    /// Structured metadata.
    fields: Map<String, Value>,
}

/// Lines in order, and what could not be read.
#[derive(Default)]
pub struct Found {
    lines: Vec<Line>,
    missing: Vec<String>,
}

/// Asks a server, or a database, for the first lines of a range.
pub trait Source {
    /// At most `limit` lines of a range, in the order of the query.
    fn lines(&self, range: TimeRange, limit: usize) -> Result<Found>;
}

/// A server.
pub struct Remote<'a> {
    pub client: &'a Client,
    pub text: &'a str,
    pub order: Order,
}

/// A database.
pub struct Local<'a> {
    pub database: &'a Database,
    pub arguments: &'a Arguments,
    pub expr: &'a LogExpr,
}

/// Prints lines.
pub fn print(arguments: &Arguments, source: &dyn Source) -> Result<()> {
    let mut printer = Printer::stdout(arguments.output);
    let mut progress = Progress::start();
    let pages = Pages { order: arguments.order(), range: arguments.range()?, limit: arguments.limit };
    pages.each(source, &mut |line| {
        progress.saw_record();
        printer.record(&line.shape())
    })?;
    progress.stop();
    printer.finish()?;
    Ok(())
}

struct Pages {
    order: Order,
    range: TimeRange,
    /// 0 is all.
    limit: usize,
}

impl Pages {
    /// Calls `each` with every line once. A page begins with the time at which the one before ended,
    /// since more lines may have it, and lines that were seen are passed over.
    fn each(mut self, source: &dyn Source, each: &mut dyn FnMut(&Line) -> Result<()>) -> Result<()> {
        let mut left = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut seen: Vec<Line> = Vec::new();
        let mut size = PAGE_LINES;
        let mut told = Vec::new();
        loop {
            let wanted = left.saturating_add(seen.len()).min(size);
            let Found { lines, missing } = source.lines(self.range, wanted)?;
            for missing in missing {
                if !told.contains(&missing) {
                    eprintln!("missing: {missing}");
                    told.push(missing);
                }
            }
            let mut passed = seen.clone();
            let mut is_new = false;
            for line in &lines {
                if let Some(at) = passed.iter().position(|other| other == line) {
                    passed.swap_remove(at);
                    continue;
                }
                is_new = true;
                each(line)?;
                left -= 1;
                if left == 0 {
                    return Ok(());
                }
            }
            let Some(edge) = lines.last().map(|line| line.timestamp).filter(|_| lines.len() >= wanted) else {
                return Ok(());
            };
            match self.order {
                Order::NewestFirst => self.range.end = edge,
                Order::OldestFirst => self.range.start = edge,
            }
            if !is_new && wanted >= PAGE_LINES_MAX {
                let time = time::format_rfc3339(edge);
                return Err(Error::invalid(format!(
                    "more than {PAGE_LINES_MAX} lines of one time, {time}: they cannot be paged through; narrow the query"
                ))
                .into());
            }
            seen = lines.into_iter().filter(|line| line.timestamp == edge).collect();
            // So many of one time leave too little room.
            size = if seen.len() > PAGE_LINES / 2 { PAGE_LINES_MAX } else { PAGE_LINES };
        }
    }
}

impl Source for Remote<'_> {
    fn lines(&self, range: TimeRange, limit: usize) -> Result<Found> {
        let (start, end) = (super::loki_time(range.start), super::loki_time(range.end.saturating_add(1)));
        let direction = match self.order {
            Order::NewestFirst => "backward",
            Order::OldestFirst => "forward",
        };
        let form = [
            ("query", self.text),
            ("start", &start),
            ("end", &end),
            ("limit", &limit.to_string()),
            ("direction", direction),
            // It has no say in lines, but is checked with the range.
            ("step", "100y"),
        ];
        let answer = self.client.loki("/loki/api/v1/query_range", &form)?;
        let mut found = Found { lines: Vec::new(), missing: super::warnings(&answer) };
        for stream in answer["data"]["result"].as_array().into_iter().flatten() {
            for value in stream["values"].as_array().into_iter().flatten() {
                let (Some(timestamp), Some(text)) =
                    (value[0].as_str().and_then(|text| text.parse().ok()), value[1].as_str())
                else {
                    return Err(Error::internal("the server's answer has a line without a time or a text").into());
                };
                let labels = |value: &Value| value.as_object().cloned().unwrap_or_default();
                let mut all = labels(&stream["stream"]);
                all.extend(labels(&value[2]["parsed"]));
                let fields = labels(&value[2]["structuredMetadata"]);
                found.lines.push(Line { timestamp, text: text.to_owned(), labels: all, fields });
            }
        }
        match self.order {
            Order::NewestFirst => found.lines.sort_by_key(|line| std::cmp::Reverse(line.timestamp)),
            Order::OldestFirst => found.lines.sort_by_key(|line| line.timestamp),
        }
        Ok(found)
    }
}

impl Source for Local<'_> {
    fn lines(&self, range: TimeRange, limit: usize) -> Result<Found> {
        let query = LogQuery {
            expr: self.expr.clone(),
            range,
            order: self.arguments.order(),
            limit,
            interval_ns: 0,
            options: super::options(),
        };
        let found = self.database.log_query(&self.arguments.target.tenant()?, &query)?;
        let labels = |labels: &Labels| labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let lines = found.entries.into_iter().map(|entry| {
            let mut all: Map<String, Value> = labels(&entry.stream);
            all.extend(labels(&entry.parsed));
            Line { timestamp: entry.timestamp, text: entry.line, labels: all, fields: labels(&entry.metadata) }
        });
        Ok(Found { lines: lines.collect(), missing: found.missing })
    }
}

impl Line {
    /// A line of `tail`, all of whose labels stand together.
    pub fn of_tail(timestamp: i64, text: String, labels: Map<String, Value>) -> Self {
        Self { timestamp, text, labels, fields: Map::new() }
    }

    /// In the shape of records.
    pub fn shape(&self) -> Shape {
        let told = |names: [&str; 2]| {
            let mut found = names.iter().filter_map(|name| self.fields.get(*name).or_else(|| self.labels.get(*name)));
            found.find_map(Value::as_str).unwrap_or_default()
        };
        let texts = |(name, value): (&String, &Value)| (name.clone(), value.as_str().unwrap_or_default().to_owned());
        Shape {
            fields: self.fields.iter().map(texts).map(|(name, text)| (name, quoted(&text))).collect(),
            labels: self.labels.iter().map(texts).collect(),
            level: Level::normalise(told(LEVELS)).as_str().to_owned(),
            level_text: None,
            message: self.text.clone(),
            service: told(SERVICES).to_owned(),
            timestamp: time::format_rfc3339(self.timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines by their times, in order of arrival.
    struct Stored(Vec<(i64, usize)>, Order);

    impl Source for Stored {
        fn lines(&self, range: TimeRange, limit: usize) -> Result<Found> {
            let mut kept: Vec<(i64, usize)> =
                self.0.iter().copied().filter(|&(time, _)| time >= range.start && time <= range.end).collect();
            kept.sort_by_key(|&(time, _)| if self.1 == Order::NewestFirst { -time } else { time });
            let line = |(time, number): (i64, usize)| Line::of_tail(time, number.to_string(), Map::new());
            Ok(Found { lines: kept.into_iter().take(limit).map(line).collect(), missing: Vec::new() })
        }
    }

    fn all(times: impl Fn(usize) -> i64, count: usize, limit: usize, order: Order) -> Result<Vec<usize>> {
        let stored = Stored((0..count).map(|number| (times(number), number)).collect(), order);
        let mut found = Vec::new();
        Pages { order, range: TimeRange::ALL, limit }.each(&stored, &mut |line| {
            found.push(line.text.parse()?);
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn pages_give_every_line_once() {
        for order in [Order::NewestFirst, Order::OldestFirst] {
            for ties in [1, 7, 600, 999, 1_000, 1_500, 4_000] {
                let mut found = all(|number| (number / ties) as i64, 9_001, 0, order).unwrap();
                found.sort_unstable();
                assert_eq!(found, (0..9_001).collect::<Vec<_>>(), "{ties} {order:?}");
                assert_eq!(all(|number| (number / ties) as i64, 9_001, 2_345, order).unwrap().len(), 2_345);
            }
        }
        assert!(all(|_| 0, 5_001, 0, Order::NewestFirst).is_err(), "it ends, and says why");
        assert_eq!(all(|_| 0, 0, 0, Order::NewestFirst).unwrap(), [0; 0]);
    }
}
