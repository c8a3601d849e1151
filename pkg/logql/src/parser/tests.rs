//! Tests of the parser: queries and what Loki makes of them, as data.
//!
//! `accepted.txt` and `refused.txt` hold a query and Loki's answer to it a line: the query as
//! `format_query` prints it, or the error. `⏎ ⇥ ␍ ␡ ␟` stand for characters that would not be seen.

use super::*;
use crate::ast::{BinaryOp, LabelFilter, LineMatch, MetricExpr, RangeOp, Stage};
use crate::pretty;
use proptest::prelude::*;

fn cases(text: &'static str) -> Vec<(String, String)> {
    let plain = |text: &str| {
        [('⏎', "\n"), ('⇥', "\t"), ('␍', "\r"), ('␡', "\u{7f}"), ('␟', "\u{feff}")]
            .iter()
            .fold(text.to_owned(), |text, &(sign, plain)| text.replace(sign, plain))
    };
    let cases = text.lines().map(|line| line.split_once(" ⇒ ").unwrap_or_else(|| panic!("no case: {line}")));
    cases.map(|(query, answer)| (plain(query), plain(answer))).collect()
}

#[test]
fn queries_are_read_as_by_loki() {
    let cases = cases(include_str!("tests/accepted.txt"));
    assert!(cases.len() > 450);
    for (query, expected) in cases {
        let expr = parse(&query).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(pretty(&expr), expected, "{query}");
        if !matches!(expr, Expr::Metric(MetricExpr::Literal(value)) if !value.is_finite()) {
            assert_eq!(parse(&expr.to_string()).as_ref(), Ok(&expr), "{query}");
        }
    }
}

#[test]
fn errors_are_those_of_loki() {
    let cases = cases(include_str!("tests/refused.txt"));
    assert!(cases.len() > 400);
    for (query, expected) in cases {
        let error = parse(&query).err().unwrap_or_else(|| panic!("accepted: {query}"));
        assert_eq!(error.to_string(), expected, "{query}");
    }
}

#[test]
fn errors_name_their_place() {
    let error = parse("{a=\"b\"}\n  | json b=").unwrap_err();
    assert_eq!((error.line(), error.column()), (2, 12));
    assert_eq!(error.message(), "syntax error: unexpected $end, expecting STRING");
    let error = parse("rate({a=\"b\"} | json)").unwrap_err();
    assert_eq!((error.line(), error.column()), (1, 20));
}

#[test]
fn negative_line_filters_have_one_alternative() {
    let log = parse_log(r#"{a="b"} != "c" or ip("1.1.1.1") |= "d" or "e""#).unwrap();
    let alternatives: Vec<usize> = log
        .stages
        .iter()
        .map(|stage| match stage {
            Stage::Line(filter) => filter.alternatives.len(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(alternatives, [1, 1, 2]);
    let Some(Stage::Line(filter)) = log.stages.get(1) else { panic!("{log}") };
    assert_eq!(filter.alternatives, [LineMatch::Ip("1.1.1.1".to_owned())]);
}

#[test]
fn ranges_and_offsets_are_in_ns() {
    let Expr::Metric(MetricExpr::Range(range)) = parse(r#"rate({a="b"} | json [1m30s] offset -24h)"#).unwrap() else {
        panic!("no range aggregation");
    };
    assert_eq!((range.op, range.range_ns, range.offset_ns), (RangeOp::Rate, 90_000_000_000, -86_400_000_000_000));
    assert_eq!(range.log.stages, [Stage::Json(Vec::new())]);
}

#[test]
fn operators_group_by_precedence() {
    let binary = |text: &str| match parse(text) {
        Ok(Expr::Metric(MetricExpr::Binary(binary))) => *binary,
        other => panic!("{text}: {other:?}"),
    };
    let is_op = |expr: &MetricExpr, op| matches!(expr, MetricExpr::Binary(binary) if binary.op == op);
    assert!(is_op(&binary("vector(1) + vector(2) * vector(3)").right, BinaryOp::Mul));
    assert!(is_op(&binary("vector(1) - vector(2) + vector(3)").left, BinaryOp::Sub));
    assert!(is_op(&binary("vector(1) ^ vector(2) ^ vector(3)").right, BinaryOp::Pow));
    assert!(is_op(&binary("vector(1) or vector(2) unless vector(3)").right, BinaryOp::Unless));
    assert!(is_op(&binary("vector(1) < vector(2) and vector(3)").left, BinaryOp::Lt));
    let both = binary("vector(1) == bool on (a) group_left (b) vector(2)");
    assert!(both.return_bool && both.matching.is_some_and(|matching| matching.on && matching.include == ["b"]));
}

#[test]
fn selectors_may_select_everything() {
    for (text, expected) in [("{}", Some(0)), (r#"{a=~".*"}"#, Some(1)), (r#"({a="b", c!="d"})"#, Some(2))] {
        assert_eq!(parse_selector(text).ok().map(|matchers| matchers.len()), expected, "{text}");
    }
    for text in [r#"{a="b"} |= "c""#, r#"rate({a="b"}[5m])"#, "1"] {
        assert_eq!(parse_selector(text).unwrap_err().to_string(), "only label matchers are supported", "{text}");
    }
    assert_eq!(parse_selector("{a=}").unwrap_err().column(), 4);
    assert_eq!(parse_log("1").unwrap_err().to_string(), "only log selector is supported");
    assert!(parse_log("{}").unwrap_err().to_string().starts_with("parse error : queries require at least one"));
}

#[test]
fn size_and_depth_are_limited() {
    let nested = |open: &str, inner: &str, close: &str, times: usize| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    let chain = |first: &str, next: &str, times: usize| format!("{first}{}", next.repeat(times));
    let log = r#"{a="b"}"#;
    for (text, accepted) in [
        (nested("(", "1", ")", 250), true),
        (nested("(", "1", ")", 50_000), false),
        (nested("(", "1", "", 100_000), false),
        (nested("sum(", "vector(1)", ")", 120), true),
        (nested("sum(", "vector(1)", ")", 10_000), false),
        (nested("label_replace(", "vector(1)", r#","a","b","c","d")"#, 3_000), false),
        (format!("rate({}[5m])", nested("(", log, "", 20_000)), false),
        (chain("vector(1)", "+vector(1)", 120), true),
        (chain("vector(1)", "+vector(1)", 10_000), false),
        (chain("vector(1)", "^vector(1)", 120), true),
        (chain("vector(1)", "^vector(1)", 10_000), false),
        (chain("1", "+1", 60_000), true),
        (chain("1", "^1", 60_000), false),
        (format!("{log}|{}", nested("(", "a=1", ")", 200)), true),
        (format!("{log}|{}", nested("(", "a=1", ")", 40_000)), false),
        (format!("{log}|{}", chain("a=1", ",a=1", 120)), true),
        (format!("{log}|{}", chain("a=1", ",a=1", 20_000)), false),
        (format!("{log}|{}", chain("a=1", " or a=1", 15_000)), false),
        (format!("{log}|{}", nested("(a=1,a=1,", "a=1", ")", 100)), false),
        (format!("{log}{}", "|=`a`".repeat(20_000)), true),
        (format!("{log}{}", "|json".repeat(20_000)), true),
        (format!("{{{}}}", [r#"a="b""#; 20_000].join(",")), true),
        (format!("{log}{}", " ".repeat(QUERY_BYTES_MAX)), false),
        (r#"{a=~"(?:\\pL{1000}){1000}"}"#.to_owned(), false),
        (format!(r#"{{a=~"{}"}}"#, "(".repeat(30_000)), false),
    ] {
        let start: String = text.chars().take(40).collect();
        match parse(&text) {
            Ok(expr) => {
                assert!(accepted, "accepted: {start}");
                if text.len() < 10_000 {
                    assert_eq!(parse(&expr.to_string()).as_ref(), Ok(&expr), "{start}");
                    assert_eq!(parse(&pretty(&expr)).as_ref(), Ok(&expr), "{start}");
                }
            }
            Err(error) => assert!(!accepted, "refused: {start}: {error}"),
        }
    }
    let regexes = format!("{{{}}}", [r#"a=~"\\pL{4}""#; 1_000].join(","));
    let error = parse(&regexes).unwrap_err();
    assert!(error.message().contains("compile to more than") && error.column() > 100, "{error}");
    let error = parse(&chain("vector(1)", "+vector(1)", 1_000)).unwrap_err();
    assert!(error.message().ends_with("nested deeper than 128 levels") && error.column() > 1_000, "{error}");
}

#[test]
fn joined_label_filters_nest_to_the_right() {
    let log = parse_log(r#"{a="b"} | c=1 or d=2, e=3 and f=4 g=5"#).unwrap();
    let Some(Stage::LabelFilter(LabelFilter::Or(_, right))) = log.stages.first() else { panic!("{log}") };
    assert_eq!(right.to_string(), "( d==2 , ( e==3 , ( f==4 , g==5 ) ) )");
}

const WORDS: [&str; 60] = [
    "{",
    "}",
    "(",
    ")",
    "[5m]",
    "[",
    "a",
    "sum",
    "rate",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "bool",
    "or",
    "and",
    "unless",
    "|",
    "|=",
    "!=",
    "=~",
    "!~",
    "|~",
    "|>",
    "!>",
    "=",
    "==",
    ">",
    ">=",
    "<",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    ",",
    "\"s\"",
    "`r`",
    "5",
    "1.5",
    "5m",
    "-5m",
    "10MB",
    "json",
    "logfmt",
    "unwrap",
    "offset",
    "ip",
    "drop",
    "label_format",
    "line_format",
    "vector",
    "topk",
    "label_replace",
    "#",
    "\n",
    "{a=\"b\"}",
    "--strict",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn what_is_read_prints_as_what_is_read_the_same(
        words in proptest::collection::vec(proptest::sample::select(&WORDS[..]), 0..25)
    ) {
        let text = words.join(" ");
        if let Ok(expr) = parse(&text) {
            let printed = expr.to_string();
            let is_number = matches!(expr, Expr::Metric(MetricExpr::Literal(_)));
            prop_assert!(is_number || parse(&printed).as_ref() == Ok(&expr), "{} printed {}", text, printed);
        }
    }
}
