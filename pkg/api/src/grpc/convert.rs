//! Between messages of the wire and the words of the database.

use timberlog_db::filter::{Comparison, Filter, Op, Pattern, Target, Test};
use timberlog_db::query::{Page, Record};
use timberlog_ingest::Decoded;
use timberlog_proto::v1;
use timberlog_types::{Error, Result, ValueKind};

/// How deep a filter may be nested; the evaluator has its own limit, this one is for this file.
const FILTER_DEPTH_MAX: usize = timberlog_db::filter::DEPTH_MAX;

/// Says that nothing of a batch was stored, and why its first record was not.
pub fn all_refused(decoded: &Decoded) -> String {
    let (index, reason) = decoded.refused.first().map_or((0, ""), |refused| (refused.index, refused.reason.as_str()));
    format!("nothing was stored: {} records were refused, the first at index {index}: {reason}", decoded.refused_total)
}

/// A record of an answer.
pub fn record(record: Record) -> v1::Record {
    use v1::value::Kind;
    let field = |(name, kind, text): (String, ValueKind, String)| {
        let kind = match kind {
            ValueKind::String => Kind::Text(text),
            ValueKind::Number => Kind::Number(text),
            ValueKind::Bool => Kind::Boolean(text == "true"),
            ValueKind::Null => Kind::Null(true),
            ValueKind::Json => Kind::Json(text),
        };
        v1::Field { name, value: Some(v1::Value { kind: Some(kind) }) }
    };
    v1::Record {
        timestamp_ns: Some(record.timestamp),
        level: record.level_spelling,
        service: record.service,
        message: record.message,
        labels: record.labels.into_iter().collect(),
        fields: record.fields.into_iter().map(field).collect(),
    }
}

/// A page as an answer.
pub fn query_response(page: Page, is_last: bool) -> v1::QueryResponse {
    let statistics = &page.statistics;
    v1::QueryResponse {
        next: if is_last { page.next.map_or_else(String::new, |cursor| cursor.to_string()) } else { String::new() },
        statistics: Some(v1::Statistics {
            segments: statistics.segments,
            segments_read: statistics.segments_read,
            blocks: statistics.blocks,
            blocks_read: statistics.blocks_read,
            rows_scanned: statistics.rows_scanned,
            rows_matched: statistics.rows_matched,
            bytes_read: statistics.bytes_read,
            elapsed_ns: statistics.elapsed_ns,
            object_gets: statistics.object_gets,
            object_bytes: statistics.object_bytes,
            rows_hidden: statistics.rows_hidden,
        }),
        missing: page.missing,
        records: page.records.into_iter().map(record).collect(),
    }
}

/// The filter of a request.
pub fn filter(filter: Option<&v1::Filter>) -> Result<Filter> {
    let Some(filter) = filter else { return Ok(Filter::All) };
    let filter = of_filter(filter, 0)?;
    filter.check()?;
    Ok(filter)
}

fn of_filter(filter: &v1::Filter, depth: usize) -> Result<Filter> {
    use v1::filter::Kind;
    if depth >= FILTER_DEPTH_MAX {
        return Err(Error::invalid(format!("filter is nested deeper than {FILTER_DEPTH_MAX}")));
    }
    let list =
        |list: &v1::FilterList| list.filters.iter().map(|part| of_filter(part, depth + 1)).collect::<Result<Vec<_>>>();
    match &filter.kind {
        None => Ok(Filter::All),
        Some(Kind::And(parts)) => list(parts).map(Filter::And),
        Some(Kind::Or(parts)) => list(parts).map(Filter::Or),
        Some(Kind::Not(part)) => of_filter(part, depth + 1).map(Filter::not),
        Some(Kind::Test(test)) => of_test(test),
        Some(Kind::Json(text)) => {
            let value = serde_json::from_str(text).map_err(|error| Error::invalid(format!("filter: {error}")))?;
            Ok(Filter::from_json(&value)?)
        }
    }
}

fn of_test(test: &v1::Test) -> Result<Filter> {
    use v1::test::Op as Wire;
    let Some(op) = &test.op else {
        return Err(Error::invalid(format!("filter: the test of `{}` has no operator", test.name.escape_default())));
    };
    let op = match op {
        Wire::Eq(text) => Op::Eq(text.clone()),
        Wire::In(list) => Op::In(list.values.clone()),
        Wire::Prefix(text) => Op::Prefix(text.clone()),
        Wire::Regex(text) => Op::Regex(Pattern::search(text.as_str())),
        Wire::RegexFull(text) => Op::Regex(Pattern::whole(text.as_str())),
        Wire::Exists(true) => Op::Exists,
        Wire::Exists(false) => return Ok(Filter::test(&test.name, Op::Exists).not()),
        Wire::Lt(number) => Op::Number(Comparison::Lt, *number),
        Wire::Le(number) => Op::Number(Comparison::Le, *number),
        Wire::Gt(number) => Op::Number(Comparison::Gt, *number),
        Wire::Ge(number) => Op::Number(Comparison::Ge, *number),
        Wire::EqNumber(number) => Op::Number(Comparison::Eq, *number),
        Wire::Contains(text) => Op::Contains(text.clone()),
        Wire::ContainsNocase(text) => Op::ContainsNoCase(text.clone()),
        Wire::Token(text) => Op::Token(text.clone()),
        Wire::TokenNocase(text) => Op::TokenNoCase(text.clone()),
    };
    Ok(Filter::Test(Test { target: Target::named(&test.name), op }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_filter_is_refused() {
        let mut nested = v1::Filter { kind: None };
        for _ in 0..200 {
            nested = v1::Filter { kind: Some(v1::filter::Kind::Not(Box::new(nested))) };
        }
        assert!(filter(Some(&nested)).is_err());
    }
}
