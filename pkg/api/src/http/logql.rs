//! LogQL on `POST /api/v1/query`: lines in loge's shape.

use super::answer::put;
use super::ask::Ask;
use crate::error::{ApiError, ApiResult};
use crate::options::ServerOptions;
use timberlog_db::language::Labels;
use timberlog_db::language::ast::{LineFilter, LineMatch, LineOp, LogExpr, Stage};
use timberlog_db::query::logql::{Entry, LogQuery, Options};

/// Lines in an answer when nothing is said.
const LIMIT_DEFAULT: usize = 100;
/// The most lines in an answer.
const LIMIT_MAX: usize = 5_000;

/// The query that a body with LogQL asks; its matchers and its line stand beside the selector.
pub fn question(ask: &Ask, mut expr: LogExpr, now_ns: i64, options: &ServerOptions) -> ApiResult<LogQuery> {
    let with = |key: &str, instead: &str| {
        Err(ApiError::invalid(format!("`{key}` cannot stand beside LogQL with a pipeline: {instead}")))
    };
    if ask.cursor.as_deref().is_some_and(|cursor| !cursor.is_empty()) {
        return with("cursor", "move `end` to the time of the last line");
    }
    if ask.filter.is_some() {
        return with("filter", "say it in the query");
    }
    if ask.aggregate.is_some() {
        return with("aggregate", "ask /loki/api/v1/query for count_over_time");
    }
    for matcher in &ask.matchers {
        expr.selector.push(matcher.to_logql()?);
    }
    if let Some(line) = ask.line.as_deref().filter(|line| !line.is_empty()) {
        let alternatives = vec![LineMatch::Text(line.to_owned())];
        expr.stages.insert(0, Stage::Line(LineFilter { op: LineOp::Contains, alternatives }));
    }
    let limit = match ask.limit {
        None | Some(0) => LIMIT_DEFAULT,
        Some(limit) => limit.min(LIMIT_MAX),
    };
    let options = Options { now_ns, ..options.logql() };
    Ok(LogQuery { expr, range: ask.range(now_ns)?, order: ask.order, limit, interval_ns: 0, options })
}

/// Appends lines as a JSON array of `{timestamp (ns), line, labels, fields}`.
pub fn put_entries(out: &mut Vec<u8>, entries: &[Entry]) {
    out.push(b'[');
    for (index, entry) in entries.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"timestamp\":" } else { b",{\"timestamp\":" });
        put(out, &entry.timestamp);
        out.extend_from_slice(b",\"line\":");
        put(out, &entry.line);
        // What the pipeline made stands with the labels of the stream; no name is in both.
        out.extend_from_slice(b",\"labels\":");
        put_labels(out, [&entry.stream, &entry.parsed]);
        out.extend_from_slice(b",\"fields\":");
        put_labels(out, [&entry.metadata]);
        out.push(b'}');
    }
    out.push(b']');
}

fn put_labels<const N: usize>(out: &mut Vec<u8>, labels: [&Labels; N]) {
    out.push(b'{');
    for (index, (name, value)) in labels.into_iter().flat_map(|labels| labels.iter()).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put(out, name);
        out.push(b':');
        put(out, value);
    }
    out.push(b'}');
}
