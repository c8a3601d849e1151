//! Results as Loki writes them: lines grouped by their labels, numbers as text, times in seconds.

use super::asked::Categories;
use crate::http::answer::put;
use std::collections::BTreeMap;
use std::io::Write as _;
use timberlog_db::language::Labels;
use timberlog_db::language::evaluate::Value;
use timberlog_db::query::logql::Entry;

const MS_NS: i64 = 1_000_000;

/// Writes lines, grouped by their labels. Streams come in the order of their labels as text, the
/// lines of one in the order of the answer.
pub fn put_streams(out: &mut Vec<u8>, entries: &[Entry], categories: Categories) {
    let mut streams: BTreeMap<String, (Labels, Vec<&Entry>)> = BTreeMap::new();
    for entry in entries {
        let labels = labels_of(entry, categories);
        streams.entry(labels.to_string()).or_insert_with(|| (labels, Vec::new())).1.push(entry);
    }
    put_groups(out, streams.values().map(|(labels, entries)| (labels, entries.iter().copied())), categories);
}

/// Writes lines in their order: a stream ends where a line has other labels than the one before it, and may come again.
/// Clients of a tail show lines in the order in which they read them.
pub fn put_runs(out: &mut Vec<u8>, entries: &[Entry], categories: Categories) {
    let labelled: Vec<(Labels, &Entry)> = entries.iter().map(|entry| (labels_of(entry, categories), entry)).collect();
    let runs = labelled.chunk_by(|one, next| one.0 == next.0);
    let runs = runs.filter_map(|run| Some((&run.first()?.0, run.iter().map(|(_, entry)| *entry))));
    put_groups(out, runs, categories);
}

/// The labels of a line that are those of its stream in an answer.
fn labels_of(entry: &Entry, categories: Categories) -> Labels {
    match categories {
        Categories::Merged => entry.labels(),
        Categories::Apart => entry.stream.clone(),
    }
}

fn put_groups<'a, I>(out: &mut Vec<u8>, groups: impl Iterator<Item = (&'a Labels, I)>, categories: Categories)
where
    I: Iterator<Item = &'a Entry>,
{
    out.push(b'[');
    for (index, (labels, entries)) in groups.enumerate() {
        comma(out, index);
        out.extend_from_slice(b"{\"stream\":");
        put_labels(out, labels);
        out.extend_from_slice(b",\"values\":[");
        for (index, entry) in entries.enumerate() {
            comma(out, index);
            put_entry(out, entry, categories);
        }
        out.extend_from_slice(b"]}");
    }
    out.push(b']');
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry, categories: Categories) {
    let _ = write!(out, "[\"{}\",", entry.timestamp);
    put(out, &entry.line);
    if categories == Categories::Apart {
        out.extend_from_slice(b",{");
        let parts = [("structuredMetadata", &entry.metadata), ("parsed", &entry.parsed)];
        for (index, (name, labels)) in parts.into_iter().filter(|(_, labels)| !labels.is_empty()).enumerate() {
            comma(out, index);
            put(out, name);
            out.push(b':');
            put_labels(out, labels);
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// Writes numbers; what kind they are, and how many series.
pub fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Scalar { timestamp_ns, value } => {
            // In ms here, and only here.
            let _ = write!(out, "[{},\"", timestamp_ns / MS_NS);
            put_number(out, *value);
            out.extend_from_slice(b"\"]");
        }
        Value::Vector(samples) => {
            out.push(b'[');
            for (index, sample) in samples.iter().enumerate() {
                comma(out, index);
                out.extend_from_slice(b"{\"metric\":");
                put_labels(out, &sample.labels);
                out.extend_from_slice(b",\"value\":");
                put_point(out, sample.timestamp_ns, sample.value);
                out.push(b'}');
            }
            out.push(b']');
        }
        Value::Matrix(series) => {
            out.push(b'[');
            for (index, one) in series.iter().enumerate() {
                comma(out, index);
                out.extend_from_slice(b"{\"metric\":");
                put_labels(out, &one.labels);
                out.extend_from_slice(b",\"values\":[");
                for (index, &(timestamp_ns, value)) in one.points.iter().enumerate() {
                    comma(out, index);
                    put_point(out, timestamp_ns, value);
                }
                out.extend_from_slice(b"]}");
            }
            out.push(b']');
        }
    }
}

/// Loki's name of a kind of numbers, and how many series there are.
pub fn kind_of(value: &Value) -> (&'static str, usize) {
    match value {
        Value::Scalar { .. } => ("scalar", 1),
        Value::Vector(samples) => ("vector", samples.len()),
        Value::Matrix(series) => ("matrix", series.len()),
    }
}

/// Writes `[seconds,"number"]`.
pub fn put_point(out: &mut Vec<u8>, timestamp_ns: i64, value: f64) {
    let _ = write!(out, "[{},\"", (timestamp_ns / MS_NS) as f64 / 1e3);
    put_number(out, value);
    out.extend_from_slice(b"\"]");
}

/// Writes a number without an exponent, with as many digits as it needs.
fn put_number(out: &mut Vec<u8>, value: f64) {
    let _ = match value {
        f64::INFINITY => out.write_all(b"+Inf"),
        f64::NEG_INFINITY => out.write_all(b"-Inf"),
        value => write!(out, "{value}"),
    };
}

/// Writes labels as an object.
pub fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (index, (name, value)) in labels.iter().enumerate() {
        comma(out, index);
        put(out, name);
        out.push(b':');
        put(out, value);
    }
    out.push(b'}');
}

fn comma(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timberlog_db::language::evaluate::{MatrixSeries, VectorSample};

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[track_caller]
    fn check(expected: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn numbers_are_written_as_loki_does() {
        for (value, text) in [
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (1.0 / 3.0, "0.3333333333333333"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (-0.0, "-0"),
            (2.0, "2"),
        ] {
            check(text, |out| put_number(out, value));
        }
        check("[1700000000.123,\"1\"]", |out| put_point(out, 1_700_000_000_123_999_999, 1.0));
        check("[1700000000,\"1\"]", |out| put_point(out, 1_700_000_000_000_000_000, 1.0));
    }

    #[test]
    fn each_kind_has_its_shape() {
        let web = labels(&[("app", "web")]);
        check("[1500,\"2\"]", |out| put_value(out, &Value::Scalar { timestamp_ns: 1_500_000_000, value: 2.0 }));
        let sample = VectorSample { labels: web.clone(), timestamp_ns: 1_500_000_000, value: 2.5 };
        check(r#"[{"metric":{"app":"web"},"value":[1.5,"2.5"]}]"#, |out| put_value(out, &Value::Vector(vec![sample])));
        let series = MatrixSeries { labels: web, points: vec![(0, 1.0), (60_000_000_000, 2.0)] };
        check(r#"[{"metric":{"app":"web"},"values":[[0,"1"],[60,"2"]]}]"#, |out| {
            put_value(out, &Value::Matrix(vec![series]));
        });
        check("[]", |out| put_value(out, &Value::Matrix(Vec::new())));
    }

    #[test]
    fn lines_are_grouped_by_all_labels_or_by_those_of_the_stream() {
        let entry = |timestamp, line: &str, parsed: &[(&str, &str)]| Entry {
            timestamp,
            line: line.to_owned(),
            stream: labels(&[("app", "web")]),
            metadata: labels(&[("trace", "t")]),
            parsed: labels(parsed),
        };
        let entries = [entry(3, "c", &[]), entry(2, "b\"", &[("a", "1")]), entry(1, "a", &[])];
        check(
            r#"[{"stream":{"a":"1","app":"web","trace":"t"},"values":[["2","b\""]]},{"stream":{"app":"web","trace":"t"},"values":[["3","c"],["1","a"]]}]"#,
            |out| put_streams(out, &entries, Categories::Merged),
        );
        check(
            r#"[{"stream":{"app":"web"},"values":[["3","c",{"structuredMetadata":{"trace":"t"}}],["2","b\"",{"structuredMetadata":{"trace":"t"},"parsed":{"a":"1"}}],["1","a",{"structuredMetadata":{"trace":"t"}}]]}]"#,
            |out| put_streams(out, &entries, Categories::Apart),
        );
    }
}
