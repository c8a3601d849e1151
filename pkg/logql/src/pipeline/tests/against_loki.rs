//! The tables that a Loki filled in.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::{labels, runner};
use crate::ast::{Expr, Grouping, MetricExpr, RangeOp};
use crate::units::{parse_float, print_float, quote, unquote};
use crate::{Empties, Origin, Pipeline, Runner, Wanted};

const STREAM: &[(&str, &str)] = &[("app", "web"), ("foo", "stream"), ("job", "x")];
const METADATA: &[(&str, &[u8])] = &[("pod", b"p-1"), ("meta", b"12")];

fn lines() -> Vec<String> {
    let table = include_str!("lines.txt").lines();
    table.map(|row| unquote(row.split_once(' ').unwrap().1).unwrap_or_else(|error| panic!("{row}: {error}"))).collect()
}

/// Sections of a table: a heading, and its rows without their indentation.
fn sections(table: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    table.split("\n\n").map(|section| {
        let mut rows = section.lines();
        (rows.next().unwrap_or_default(), rows.map(str::trim_start).collect())
    })
}

/// What became of a line, as `answers.txt` writes it.
fn outcome(runner: &mut Runner, line: &str) -> String {
    let text = String::from_utf8_lossy(runner.line()).into_owned();
    let mut changed: Vec<(String, String)> = Vec::new();
    let left = labels(runner);
    for name in ["app", "foo", "meta", "pod"] {
        if !left.iter().any(|(other, ..)| other == name) {
            changed.push((name.to_owned(), format!("-{name}")));
        }
    }
    for (name, value, origin) in left {
        let came = match origin {
            Origin::Stream => STREAM.contains(&(name.as_str(), value.as_str())),
            Origin::Metadata => METADATA.contains(&(name.as_str(), value.as_bytes())),
            Origin::Parsed => false,
        };
        if !came {
            let mark = if origin == Origin::Parsed { "+" } else { "~" };
            changed.push((name.clone(), format!("{mark}{name}={}", quote(&value))));
        }
    }
    changed.sort();
    let changed: Vec<String> = changed.into_iter().map(|(_, text)| text).collect();
    let text = if text == line { "=".to_owned() } else { quote(&text) };
    format!("{text} {{{}}}", changed.join(", "))
}

fn ranges(numbers: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let print = |&(from, to): &(usize, usize)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    if ranges.is_empty() { "none".to_owned() } else { ranges.iter().map(print).collect::<Vec<_>>().join(" ") }
}

/// Texts are compared without regard to how they are escaped.
fn same(left: &str, right: &str) -> bool {
    let plain = |text: &str| text.replace("\\u00", "\\x").replace("\\x07", "\\a");
    plain(left) == plain(right)
}

#[test]
fn log_queries_answer_as_loki_does() {
    let lines = lines();
    let mut wrong = String::new();
    let mut rows_seen = 0;
    for (stages, rows) in sections(include_str!("answers.txt")) {
        let mut runner = match runner(stages, Wanted::All) {
            Ok(runner) => runner,
            Err(error) => {
                rows_seen += 1;
                let expected = unquote(rows[0].strip_prefix("error ").unwrap_or(rows[0]).trim()).unwrap_or_default();
                if expected != error {
                    let _ = writeln!(wrong, "{stages}\n  expected {expected}\n  got      {error}");
                }
                continue;
            }
        };
        runner.set_stream(STREAM);
        let mut passed = Vec::new();
        let mut outcomes = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            if runner.run(0, line.as_bytes(), METADATA) {
                passed.push(number);
                outcomes.push((number, outcome(&mut runner, line)));
            }
        }
        for row in rows {
            rows_seen += 1;
            let (head, expected) = row.split_once(' ').unwrap_or((row, ""));
            let got = match head.parse::<usize>() {
                Ok(number) => outcomes.iter().find(|(other, _)| *other == number).map(|(_, text)| text.clone()),
                Err(_) => Some(ranges(&passed)),
            };
            let got = got.unwrap_or_else(|| "dropped".to_owned());
            if !same(&got, expected) {
                let _ = writeln!(wrong, "{stages} over line {head}\n  expected {expected}\n  got      {got}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(rows_seen > 800, "{rows_seen}");
}

/// What a metric query of the table counts, for each set of labels.
fn series(query: &str, lines: &[String]) -> BTreeMap<String, f64> {
    let query = query.replacen("{}", "{job=\"x\"}", 1);
    let Expr::Metric(metric) = crate::parse(&query).unwrap_or_else(|error| panic!("{query}: {error}")) else {
        panic!("{query} is a log query")
    };
    let (range, grouping) = match metric {
        MetricExpr::Range(range) => (range.clone(), range.grouping.clone()),
        MetricExpr::Vector(vector) => {
            let all = Grouping { without: false, names: Vec::new() };
            let MetricExpr::Range(range) = vector.inner else { panic!("{query} is nested") };
            (range, Some(vector.grouping.unwrap_or(all)))
        }
        _ => panic!("{query} is no aggregation"),
    };
    let wanted = match &grouping {
        Some(grouping) if !grouping.without => Wanted::Names(grouping.names.clone()),
        _ => Wanted::All,
    };
    let pipeline = Arc::new(Pipeline::new(&range.log.stages, range.unwrap.as_ref(), wanted).unwrap());
    let mut runner = pipeline.runner();
    runner.set_stream(STREAM);
    // Only what the pipeline says that it looks at.
    let needed = |name: &str| match pipeline.metadata_needed() {
        Wanted::All => true,
        Wanted::Names(names) => names.iter().any(|needed| needed == name),
    };
    let metadata: Vec<_> = METADATA.iter().copied().filter(|(name, _)| needed(name)).collect();
    let mut out = BTreeMap::new();
    let mut key = Vec::new();
    for line in lines {
        if !runner.run(0, line.as_bytes(), &metadata) {
            continue;
        }
        runner.group_key(grouping.as_ref(), Empties::Keep, &mut key);
        let mut left = Runner::key_labels(&key);
        left.set("job", "");
        // The table does not tell an empty label from none.
        let pairs = left.iter().filter(|(_, value)| !value.is_empty());
        let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", quote(value))).collect();
        let value = match (range.op, &range.unwrap) {
            (RangeOp::BytesOverTime, _) => runner.line().len() as f64,
            (_, None) => 1.0,
            (_, Some(_)) => runner.value(),
        };
        *out.entry(format!("{{{}}}", pairs.join(", "))).or_default() += value;
    }
    out
}

#[test]
fn metric_queries_count_as_loki_does() {
    let lines = lines();
    let mut wrong = String::new();
    for (query, rows) in sections(include_str!("series.txt")) {
        let print = |(labels, value): (&str, f64)| format!("{} {labels}", print_float(value));
        let got: Vec<String> =
            series(query, &lines).iter().map(|(labels, value)| print((labels.as_str(), *value))).collect();
        let mut expected: Vec<String> = Vec::new();
        for row in rows {
            let (value, labels) = row.split_once(' ').unwrap();
            expected.push(print((labels, parse_float(value).unwrap())));
        }
        expected.sort();
        let mut sorted = got.clone();
        sorted.sort();
        if sorted.len() != expected.len() || !sorted.iter().zip(&expected).all(|(left, right)| same(left, right)) {
            let _ = writeln!(wrong, "{query}\n  expected {expected:#?}\n  got {sorted:#?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
