//! LogQL over buffer and segments against a naive run over every record by itself.

mod fields;

use super::{LogQuery, Options, TailFilter, compute, entries, label_names, label_values, series, stats};
use crate::request::{Order, QueryLimits};
use crate::tests::{Plain, START, World, plain};
use proptest::prelude::*;
use std::collections::BTreeMap;
use timberlog_logql::ast::{Expr, LogExpr};
use timberlog_logql::evaluate::{Steps, Value};
use timberlog_logql::{Labels, parse};
use timberlog_types::time::SECOND_NS;
use timberlog_types::{RowSet, TimeRange};

fn log(text: &str) -> LogExpr {
    match parse(text) {
        Ok(Expr::Log(log)) => log,
        other => panic!("{text}: {other:?}"),
    }
}

fn query(text: &str, range: TimeRange, order: Order) -> LogQuery {
    LogQuery { expr: log(text), range, order, limit: usize::MAX, interval_ns: 0, options: Options::default() }
}

/// Time, line and all labels of the lines that a query lets through, oldest first.
fn naive(world: &World, text: &str, range: TimeRange) -> Vec<(i64, String, Labels)> {
    let filter = TailFilter::new(&log(text), true).unwrap();
    let mut records: Vec<_> = world.records.iter().collect();
    records.sort_by_key(|(batch, _)| (batch.timestamp(0), batch.stream_hash(0)));
    let mut found = Vec::new();
    for (batch, _) in records.into_iter().filter(|(batch, _)| range.contains(batch.timestamp(0))) {
        let entries = filter.entries(batch, RowSet::all(batch.rows()), 0).unwrap();
        found.extend(entries.iter().map(|e| (e.timestamp, e.line.clone(), e.labels())));
    }
    found
}

const LOG_QUERIES: &[&str] = &[
    r#"{service_name=~".+"}"#,
    r#"{host="h1"}"#,
    r#"{service_name=~".+", host!="h1"} |= "error""#,
    r#"{service_name=~".+", host=~"h.+|"} |~ "[0-9]+" != "node01""#,
    r#"{service_name=~".+"} | level="ERROR""#,
    r#"{service_name=~".+"} | level=~"(?i)error|loud" | host!="h2""#,
    r#"{service_name=~".+"} | host="" or host_extracted="h3""#,
    r#"{service_name=~".+"} | detected_level="error""#,
    r#"{service_name=~".+"} | size > 20"#,
    r#"{service_name=~".+"} |= "user" | logfmt | user != "" | line_format "{{.user}} {{.host}}" |= "7""#,
    r#"{service_name=~".+"} | label_format level="{{.level}}x" | level="ERRORx""#,
    r#"{service_name=~".+"} | json | __error__ != """#,
    r#"{service_name=~".+"} | drop host | host="""#,
];

const GROUPINGS: &[&str] = &[
    "",
    "by ()",
    "by (level)",
    "by (host, level)",
    "by (detected_level)",
    "by (service_name)",
    "by (size, nope)",
    "without (number, trace)",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn entries_are_those_of_a_naive_run(
        flushed in prop::collection::vec(plain(), 0..60),
        buffered in prop::collection::vec(plain(), 0..20),
        end in prop_oneof![Just(i64::MAX), (0..3 * 3_600 * SECOND_NS).prop_map(|ns| START + ns)],
        order in prop_oneof![Just(Order::NewestFirst), Just(Order::OldestFirst)],
    ) {
        let world = world(&flushed, &buffered);
        let range = TimeRange { start: i64::MIN, end };
        for text in LOG_QUERIES {
            let mut expected = naive(&world, text, range);
            if order == Order::NewestFirst {
                expected.reverse();
            }
            let all = entries(&world.snapshot(), &query(text, range, order)).unwrap();
            let found: Vec<_> = all.entries.iter().map(|e| (e.timestamp, e.line.clone(), e.labels())).collect();
            prop_assert_eq!(&found, &expected, "{}", text);
            let few = entries(&world.snapshot(), &LogQuery { limit: 3, ..query(text, range, order) }).unwrap();
            let found: Vec<_> = few.entries.iter().map(|e| (e.timestamp, e.line.clone(), e.labels())).collect();
            prop_assert_eq!(&found[..], &expected[..expected.len().min(3)], "{}", text);
        }
    }

    #[test]
    fn windows_count_what_a_naive_run_counts(
        flushed in prop::collection::vec(plain(), 0..60),
        buffered in prop::collection::vec(plain(), 0..20),
        (range_s, step_s) in (1..4000_i64, 1..4000_i64),
        offset in prop::sample::select(vec!["", " offset 7s", " offset -11s"]),
        op in prop::sample::select(vec!["count_over_time", "bytes_over_time"]),
    ) {
        let world = world(&flushed, &buffered);
        let steps = Steps { start_ns: START + 5 * SECOND_NS, end_ns: START + 9_000 * SECOND_NS, step_ns: step_s * SECOND_NS };
        let shift = match offset { "" => 0, " offset 7s" => -7, _ => 11 } * SECOND_NS;
        for text in LOG_QUERIES {
            let lines = naive(&world, text, TimeRange::ALL);
            for grouping in GROUPINGS {
                let metric = format!("sum {grouping} ({op}({text} [{range_s}s]{offset}))");
                let Ok(Expr::Metric(expr)) = parse(&metric) else { panic!("{metric}") };
                let computed = compute(&world.snapshot(), &expr, steps, &Options::default());
                // A line with an error fails the query, as in Loki.
                let in_a_window = |time: i64| {
                    let mut ends = (0..).map(|n| steps.start_ns + n * steps.step_ns).take_while(|end| *end <= steps.end_ns);
                    ends.any(|end| end + shift - range_s * SECOND_NS < time && time <= end + shift)
                };
                let has_error = lines.iter().any(|(time, _, labels)| !labels.get("__error__").is_empty() && in_a_window(*time));
                if has_error && computed.is_err() {
                    continue;
                }
                let Value::Matrix(matrix) = computed.unwrap().value else { panic!("no matrix") };
                let found: BTreeMap<Labels, Vec<(i64, f64)>> =
                    matrix.into_iter().map(|series| (series.labels, series.points)).collect();
                let mut expected: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
                let mut end = steps.start_ns;
                while end <= steps.end_ns {
                    let window = (end + shift - range_s * SECOND_NS, end + shift);
                    for (_, line, labels) in lines.iter().filter(|(time, ..)| window.0 < *time && *time <= window.1) {
                        let points = expected.entry(grouped(labels, grouping)).or_default();
                        let amount = if op == "bytes_over_time" { line.len() as f64 } else { 1.0 };
                        match points.last_mut() {
                            Some((time, total)) if *time == end => *total += amount,
                            _ => points.push((end, amount)),
                        }
                    }
                    end += steps.step_ns;
                }
                prop_assert_eq!(found, expected, "{}", metric);
            }
        }
    }
}

fn world(flushed: &[Plain], buffered: &[Plain]) -> World {
    let mut world = World::new();
    world.append(flushed);
    world.storage.flush().unwrap();
    world.append(buffered);
    world
}

fn grouped(labels: &Labels, grouping: &str) -> Labels {
    let names: Vec<&str> = grouping
        .split_once('(')
        .map(|(_, names)| names.trim_end_matches(')').split(", ").collect())
        .unwrap_or_default();
    let mut labels = labels.clone();
    let without = grouping.starts_with("without");
    labels.retain(|name| names.contains(&name) != without);
    labels
}

fn record(service: &'static str, label: Option<&'static str>, message: &str) -> Plain {
    Plain {
        timestamp: START,
        level: Some("info"),
        service,
        label,
        host: Some("field"),
        size: None,
        trace: 1,
        message: message.to_owned(),
    }
}

#[test]
fn listings_see_streams_as_logql_does() {
    let mut world = world(&[record("web", Some("h1"), "a"), record("web", None, "bb")], &[]);
    world.append(&[record("db", Some("h2"), "ccc")]);
    let (snapshot, options) = (world.snapshot(), Options::default());
    assert_eq!(label_names(&snapshot, &[], TimeRange::ALL, &options).unwrap(), ["host", "service_name"]);
    let exact = Options { derived: false, ..Options::default() };
    assert_eq!(label_names(&snapshot, &[], TimeRange::ALL, &exact).unwrap(), ["host"]);
    let host =
        |selector: &str| label_values(&snapshot, "host", &log(selector).selector, TimeRange::ALL, &options).unwrap();
    assert_eq!(host(r#"{service_name=~".+"}"#), ["h1", "h2"]);
    assert_eq!(host(r#"{host!="h1",service_name=~".+"}"#), ["h2"]);
    let found = series(&snapshot, &[log(r#"{host=~".+"}"#).selector], TimeRange::ALL, &exact).unwrap();
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(texts, [r#"{host="h1"}"#, r#"{host="h2"}"#]);
    let found = stats(&snapshot, &log(r#"{host=~".+"}"#).selector, TimeRange::ALL, &options).unwrap();
    assert_eq!((found.streams, found.entries), (2, 2));
    assert!(found.bytes > 0 && found.chunks == 2, "{found:?}");
}

/// The values of an instant query at [`START`].
fn instant(world: &World, text: &str) -> Vec<f64> {
    let Ok(Expr::Metric(expr)) = parse(text) else { panic!("{text}") };
    let steps = Steps { start_ns: START, end_ns: START, step_ns: 0 };
    match compute(&world.snapshot(), &expr, steps, &Options::default()).unwrap().value {
        Value::Vector(found) => found.iter().map(|sample| sample.value).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_are_those_of_the_line_that_is_left() {
    let records: Vec<Plain> =
        ["", "", "\u{1b}[31mred\u{1b}[0m 123456"].iter().map(|line| record("web", Some("h1"), line)).collect();
    for (flushed, buffered) in [(records.as_slice(), &[][..]), (&[], &records)] {
        let world = world(flushed, buffered);
        for grouping in ["", "by (service_name, level)", "without (number)"] {
            let bytes = |pipeline: &str| {
                let text = format!("sum {grouping} (bytes_over_time({{host=\"h1\"}} {pipeline} [1h]))");
                instant(&world, &text)
            };
            assert_eq!(bytes(""), [19.0], "{grouping}");
            assert_eq!(bytes("| logfmt"), [19.0], "{grouping}");
            assert_eq!(bytes("| decolorize"), [10.0], "{grouping}");
            assert_eq!(bytes(r#"| line_format "four""#), [12.0], "{grouping}");
            // Lines without bytes are lines, and no lines are none.
            assert_eq!(bytes(r#"!~ ".""#), [0.0], "{grouping}");
            assert_eq!(bytes(r#"|= "nowhere""#), [] as [f64; 0], "{grouping}");
        }
    }
}

#[test]
fn long_lines_and_labels_end_a_query_before_they_fill_the_memory() {
    let records: Vec<Plain> = (0..1_000).map(|n| record("web", Some("h1"), &n.to_string())).collect();
    let world = world(&[], &records);
    let large = "{{ repeat 1000 (repeat 1000 __line__) }}";
    let limits = QueryLimits { memory: 16 << 20, ..QueryLimits::default() };
    let options = Options { limits, ..Options::default() };
    let long = query(&format!("{{host=\"h1\"}} | line_format `{large}`"), TimeRange::ALL, Order::OldestFirst);
    // Both end within a few lines of a batch: all of them would be 3 GB.
    let error = entries(&world.snapshot(), &LogQuery { options: options.clone(), ..long }).unwrap_err();
    assert!(error.message.contains("limit on memory"), "{error}");
    let text = format!("sum by (l) (count_over_time({{host=\"h1\"}} | label_format l=`{large}` [1h]))");
    let Ok(Expr::Metric(expr)) = parse(&text) else { panic!("{text}") };
    let steps = Steps { start_ns: START, end_ns: START, step_ns: 0 };
    let error = compute(&world.snapshot(), &expr, steps, &options).unwrap_err().to_string();
    assert!(error.contains("limit on memory"), "{error}");
}

#[test]
fn a_query_ends_when_nobody_wants_it() {
    let world = world(&[], &[]);
    let mut query = query(r#"{service_name=~".+"}"#, TimeRange::ALL, Order::NewestFirst);
    query.options.cancel.cancel();
    assert_eq!(entries(&world.snapshot(), &query).unwrap_err().message, "query was cancelled");
    query.options = Options::default();
    assert!(entries(&world.snapshot(), &query).is_ok());
}
