//! Patterns over buffer and segments against counts of the same lines.

use super::{PATTERNS_MAX, Patterns};
use crate::logql::{Options, compute, patterns};
use crate::tests::{Plain, START, World, plain};
use proptest::prelude::*;
use std::collections::BTreeMap;
use timberlog_logql::ast::{Expr, LogExpr, MetricExpr};
use timberlog_logql::evaluate::{Steps, Value};
use timberlog_logql::{Labels, parse};
use timberlog_types::TimeRange;
use timberlog_types::time::{DAY_NS, SECOND_NS};

const QUERIES: &[&str] = &[
    r#"{service_name=~".+"}"#,
    r#"{host="h1"} != "error""#,
    r#"{service_name=~".+"} | logfmt | user != "" or level="ERROR""#,
];

fn log(text: &str) -> LogExpr {
    match parse(text) {
        Ok(Expr::Log(log)) => log,
        other => panic!("{text}: {other:?}"),
    }
}

fn found(world: &World, text: &str, range: TimeRange, step_ns: i64) -> Patterns {
    patterns(&world.snapshot(), &log(text), range, step_ns, &Options::default()).unwrap()
}

fn lines_of(patterns: &Patterns) -> u64 {
    patterns.patterns.iter().flat_map(|pattern| &pattern.samples).map(|&(_, lines)| lines).sum()
}

/// What a metric query counts up to `end`, by labels.
fn counted(world: &World, text: &str, end: i64, range_s: i64) -> BTreeMap<Labels, f64> {
    let metric: MetricExpr = match parse(&text.replace("RANGE", &format!("[{range_s}s]"))) {
        Ok(Expr::Metric(metric)) => metric,
        other => panic!("{text}: {other:?}"),
    };
    let steps = Steps { start_ns: end, end_ns: end, step_ns: 0 };
    match compute(&world.snapshot(), &metric, steps, &Options::default()).unwrap().value {
        Value::Vector(samples) => samples.into_iter().map(|sample| (sample.labels, sample.value)).collect(),
        other => panic!("{text}: {other:?}"),
    }
}

/// A line of one of a few forms, as programs write them.
fn written() -> impl Strategy<Value = String> {
    (0..6, 0..2_000_u32, prop::sample::select(vec!["ann", "bob", "eve"])).prop_map(|(form, n, who)| match form {
        0 => format!("user {who} logged in from 10.0.0.{n} after {n} ms"),
        1 => format!(r#"level=info msg="took {n} ms" user={who} path=/a/{n}/b"#),
        2 => format!(r#"{{"n":{n},"msg":"<{who}> read \"{n}\" rows","t":"2026-01-01T00:00:{n}Z"}}"#),
        3 => format!("[{n}]  GET /users/{n}?q={who} HTTP/1.1 \t<{n}>"),
        4 => format!("plain {who} é{n}é {}", "x ".repeat(n as usize % 120)),
        _ => "started".to_owned(),
    })
}

fn worded() -> impl Strategy<Value = Plain> {
    (plain(), prop::option::weighted(0.8, written())).prop_map(|(plain, line)| match line {
        Some(message) => Plain { message, ..plain },
        None => plain,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_line_is_counted_once_wherever_it_is(
        flushed in prop::collection::vec(worded(), 0..80),
        buffered in prop::collection::vec(worded(), 0..30),
        (from_s, span_s) in (0..3_000_i64, 1..4_000_i64),
        step_ns in prop::sample::select(vec![10 * SECOND_NS, 37 * SECOND_NS, DAY_NS]),
    ) {
        let mut world = World::new();
        world.append(&flushed);
        world.storage.flush().unwrap();
        world.append(&buffered);
        let (start, end) = (START + from_s * SECOND_NS, START + (from_s + span_s) * SECOND_NS);
        let range = TimeRange { start: start + 1, end };
        let before: Vec<Patterns> = QUERIES.iter().map(|text| found(&world, text, range, step_ns)).collect();
        for (text, before) in QUERIES.iter().zip(&before) {
            let metric = format!("sum by (detected_level) (count_over_time({text} RANGE))");
            let mut by_level: BTreeMap<Labels, f64> = BTreeMap::new();
            for (labels, count) in counted(&world, &metric, end, span_s) {
                let level = if super::LEVELS.contains(&labels.get("detected_level")) { labels.get("detected_level") } else { "unknown" };
                *by_level.entry(Labels::new([("level".to_owned(), level.to_owned())])).or_default() += count;
            }
            let mut levels: BTreeMap<Labels, f64> = BTreeMap::new();
            for pattern in &before.patterns {
                let labels = Labels::new([("level".to_owned(), pattern.level.to_owned())]);
                *levels.entry(labels).or_default() += pattern.samples.iter().map(|&(_, lines)| lines as f64).sum::<f64>();
                for pair in pattern.samples.windows(2) {
                    prop_assert!(pair[0].0 < pair[1].0);
                }
                for (begin, _) in &pattern.samples {
                    prop_assert!(begin % step_ns == 0 && *begin <= end && begin + step_ns > start);
                }
            }
            prop_assert_eq!(before.lines_left_out, 0);
            prop_assert_eq!(levels, by_level, "{}", text);
        }
        world.storage.flush().unwrap();
        for (text, before) in QUERIES.iter().zip(&before) {
            let after = found(&world, text, range, step_ns);
            prop_assert_eq!(&before.patterns, &after.patterns, "{}", text);
        }
    }

    #[test]
    fn lines_of_a_pattern_match_it(lines in prop::collection::vec((plain(), written()), 1..60)) {
        let mut world = World::new();
        let lines: Vec<Plain> = lines.into_iter().map(|(plain, message)| Plain { message, level: None, ..plain }).collect();
        world.append(&lines);
        world.storage.flush().unwrap();
        for pattern in found(&world, QUERIES[0], TimeRange::ALL, DAY_NS).patterns {
            let lines: u64 = pattern.samples.iter().map(|&(_, lines)| lines).sum();
            let quoted = serde_json::to_string(&pattern.pattern).unwrap();
            let metric = format!(r#"sum(count_over_time({{service_name=~".+"}} |> {quoted} RANGE))"#);
            let matched = counted(&world, &metric, START + 10 * DAY_NS, 20 * 86_400);
            let matched = matched.values().sum::<f64>();
            prop_assert!(matched >= lines as f64, "{} matches {} of {}", pattern.pattern, matched, lines);
        }
    }
}

#[test]
fn rare_patterns_are_left_out_and_counted() {
    let mut world = World::new();
    let word = |n: usize| format!("{} {}", "a ".repeat(n % 30), "b-".repeat(n));
    let lines: Vec<Plain> = (0..PATTERNS_MAX + 50)
        .flat_map(|n| {
            let plain = Plain {
                timestamp: START + n as i64,
                level: None,
                service: "s",
                label: None,
                host: None,
                size: None,
                trace: 0,
                message: word(n),
            };
            vec![plain; if n % 2 == 0 { 2 } else { 1 }]
        })
        .collect();
    world.append(&lines);
    let found = found(&world, QUERIES[0], TimeRange::ALL, DAY_NS);
    assert!(found.patterns.len() <= PATTERNS_MAX);
    assert_eq!(lines_of(&found) + found.lines_left_out, lines.len() as u64);
}
