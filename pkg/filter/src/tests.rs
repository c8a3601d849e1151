//! The evaluator against an interpreter that looks at one record at a time.

use crate::{
    BatchColumns, Comparison, Compiled, CompiledTest, Filter, Op, PATTERN_BYTES_MAX, Pattern, Target, Test, Verdict,
    evaluate,
};
use proptest::prelude::*;
use timberlog_types::{Batch, BatchBuilder, Level, RowSet, ValueKind};

#[derive(Clone, Debug)]
struct Plain {
    timestamp: i64,
    level: Option<&'static str>,
    service: &'static str,
    labels: Vec<(&'static str, &'static str)>,
    fields: Vec<(&'static str, ValueKind, &'static str)>,
    message: String,
}

fn batch(records: &[Plain]) -> Batch {
    let mut builder = BatchBuilder::new();
    for record in records {
        let stream = builder.stream(record.service, &record.labels).unwrap();
        let level = builder.level(record.level).unwrap();
        for &(name, kind, value) in &record.fields {
            builder.field(name, kind, value.as_bytes()).unwrap();
        }
        builder.finish_row(record.timestamp, stream, level, record.message.as_bytes()).unwrap();
    }
    builder.finish().unwrap()
}

fn matches(filter: &Filter, record: &Plain) -> bool {
    match filter {
        Filter::All => true,
        Filter::None => false,
        Filter::And(parts) => parts.iter().all(|part| matches(part, record)),
        Filter::Or(parts) => parts.iter().any(|part| matches(part, record)),
        Filter::Not(part) => !matches(part, record),
        Filter::Test(test) => matches_test(test, record),
    }
}

fn matches_test(test: &Test, record: &Plain) -> bool {
    match &test.target {
        Target::Timestamp => match &test.op {
            Op::Time(comparison, at) => comparison.holds(record.timestamp, *at),
            Op::Number(comparison, at) => comparison.holds(record.timestamp as f64, *at),
            _ => true,
        },
        Target::Level | Target::Spelling => matches_level(&test.op, record.level),
        Target::Service | Target::Stream => matches_text(&test.op, record.service),
        Target::Message => matches_text(&test.op, &record.message),
        Target::Name(name) => {
            let label = record.labels.iter().find(|label| label.0 == name).map(|label| (ValueKind::String, label.1));
            let field = record.fields.iter().find(|field| field.0 == name).map(|field| (field.1, field.2));
            match (label.or(field), &test.op) {
                (value, Op::Exists) => value.is_some_and(|(kind, _)| kind != ValueKind::Null),
                (value, Op::Number(..)) => value.is_some_and(|(kind, text)| {
                    matches!(kind, ValueKind::Number | ValueKind::String) && matches_text(&test.op, text)
                }),
                (value, op) => matches_text(op, value.map_or("", |(_, text)| text)),
            }
        }
    }
}

fn matches_level(op: &Op, spelling: Option<&str>) -> bool {
    let level = Level::normalise(spelling.unwrap_or_default());
    let is = |text: &String| match Level::parse(text) {
        Some(asked) => asked == level,
        None => text.eq_ignore_ascii_case(spelling.unwrap_or_default()),
    };
    match op {
        Op::Eq(text) => is(text),
        Op::In(texts) => texts.iter().any(is),
        Op::Exists => spelling.is_some(),
        Op::Number(..) | Op::Time(..) | Op::Holds(_) => false,
        Op::Regex(pattern) => {
            let pattern = Pattern { text: pattern.text.to_lowercase(), ..pattern.clone() };
            matches_text(&Op::Regex(pattern), level.as_str())
        }
        Op::Prefix(text) => level.as_str().starts_with(&text.to_lowercase()),
        Op::Contains(text) | Op::ContainsNoCase(text) => level.as_str().contains(&text.to_lowercase()),
        Op::Token(text) | Op::TokenNoCase(text) => matches_text(&Op::Token(text.to_lowercase()), level.as_str()),
    }
}

fn matches_text(op: &Op, value: &str) -> bool {
    let tokens = |text: &str, value: &str| {
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        value.match_indices(text).any(|(at, _)| {
            !is_word(value[..at].chars().next_back()) && !is_word(value[at + text.len()..].chars().next())
        })
    };
    match op {
        Op::Eq(text) => value == text,
        Op::In(texts) => texts.iter().any(|text| text == value),
        Op::Prefix(text) => value.starts_with(text),
        Op::Exists => !value.is_empty(),
        Op::Contains(text) => value.contains(text),
        Op::ContainsNoCase(text) => value.to_ascii_lowercase().contains(&text.to_ascii_lowercase()),
        Op::Token(text) => tokens(text, value),
        Op::TokenNoCase(text) => tokens(&text.to_ascii_lowercase(), &value.to_ascii_lowercase()),
        Op::Number(comparison, number) => value.parse::<f64>().is_ok_and(|value| comparison.holds(value, *number)),
        Op::Time(..) | Op::Holds(_) => false,
        // A different implementation of the few patterns below.
        Op::Regex(pattern) => match (pattern.text.as_str(), pattern.anchored) {
            ("a|b", false) => value.contains(['a', 'b']),
            ("a|b", true) => value == "a" || value == "b",
            (r"\d", false) => value.bytes().any(|byte| byte.is_ascii_digit()),
            (r"\d", true) => value.len() == 1 && value.bytes().all(|byte| byte.is_ascii_digit()),
            (".*", _) => true,
            other => unreachable!("{other:?}"),
        },
    }
}

fn record() -> impl Strategy<Value = Plain> {
    let text = || prop::sample::select(vec!["", "a", "b", "ab", "1", "2.5", "-3"]);
    let kind = prop::sample::select(vec![ValueKind::String, ValueKind::Number, ValueKind::Bool, ValueKind::Null]);
    let message = prop::collection::vec(prop::sample::select(vec!["a", "B", "1", " ", "err", "ä", "-"]), 0..6);
    let level = prop::option::of(prop::sample::select(vec!["info", "INFO", "Warning", "loud", "unknown"]));
    let fields = (prop::option::of((kind.clone(), text())), prop::option::of((kind, text())));
    (0..6_i64, level, text(), prop::option::of(text()), fields, message).prop_map(
        |(timestamp, level, service, label, (x, y), message)| Plain {
            timestamp,
            level,
            service,
            labels: label.map(|label| ("x", label)).into_iter().collect(),
            fields: [("x", x), ("y", y)]
                .into_iter()
                .filter_map(|(name, value)| {
                    value.map(|(kind, text)| (name, kind, if kind == ValueKind::Null { "" } else { text }))
                })
                .collect(),
            message: message.concat(),
        },
    )
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop::sample::select(vec![Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge, Comparison::Eq])
}

fn filter() -> impl Strategy<Value = Filter> {
    let text = || {
        prop::sample::select(vec!["", "a", "b", "1", "A", "err", "warn", "INFO", "loud", "in"]).prop_map(str::to_owned)
    };
    let op = prop_oneof![
        text().prop_map(Op::Eq),
        prop::collection::vec(text(), 0..3).prop_map(Op::In),
        text().prop_map(Op::Prefix),
        text().prop_map(Op::Contains),
        text().prop_map(Op::ContainsNoCase),
        text().prop_filter("a token has text", |text| !text.is_empty()).prop_map(Op::Token),
        text().prop_filter("a token has text", |text| !text.is_empty()).prop_map(Op::TokenNoCase),
        Just(Op::Exists),
        (prop::sample::select(vec!["a|b", r"\d", ".*"]), any::<bool>())
            .prop_map(|(text, anchored)| Op::Regex(Pattern { text: text.to_owned(), anchored })),
        (comparison(), prop::sample::select(vec![-3.0, 1.0, 2.5]))
            .prop_map(|(comparison, to)| Op::Number(comparison, to)),
    ];
    let name = prop::sample::select(vec!["level", "service", "message", "x", "y", "z"]);
    let time = (comparison(), -1..7_i64).prop_map(|(comparison, at)| Op::Time(comparison, at));
    let time_number = (comparison(), prop::sample::select(vec![-1e300, -0.5, 2.0, 2.5, 1e300]))
        .prop_map(|(comparison, at)| Op::Number(comparison, at));
    let leaf = prop_oneof![
        8 => (name, op).prop_map(|(name, op)| Filter::test(name, op)),
        1 => prop_oneof![time, time_number].prop_map(|op| Filter::test("timestamp", op)),
        1 => prop_oneof![Just(Filter::All), Just(Filter::None)],
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::Or),
            inner.prop_map(Filter::not),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_evaluator_agrees_with_the_interpreter(
        records in prop::collection::vec(record(), 1..80),
        filter in filter(),
        seed in any::<u64>(),
    ) {
        let batch = batch(&records);
        let compiled = Compiled::new(&filter).unwrap();
        let within = RowSet::from_fn(records.len(), |row| seed >> (row % 64) & 1 == 1 || seed % 3 == 0);
        let found = evaluate(&compiled, &BatchColumns::new(&batch), within.clone()).unwrap();
        let expected = RowSet::from_fn(records.len(), |row| within.contains(row) && matches(&filter, &records[row]));
        prop_assert_eq!(&found, &expected, "{:?} {:?}", filter, records);
        // The normalised tree means the same.
        let again = Compiled::new(&compiled.to_filter()).unwrap();
        prop_assert_eq!(evaluate(&again, &BatchColumns::new(&batch), within).unwrap(), expected);
    }

    #[test]
    fn json_means_the_same_filter(filter in filter()) {
        let has_coarse_time = format!("{filter:?}").contains("Timestamp, op: Number");
        prop_assume!(!has_coarse_time);
        let text = serde_json::to_string(&filter).unwrap();
        let read: Filter = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read, filter);
    }
}

proptest! {
    /// A block may hold a match of a filter where what is known of the block alone does not say that it holds none.
    #[test]
    fn blocks_together_are_judged_as_each_alone(filter in filter(), known in prop::collection::vec(any::<u32>(), 64)) {
        let compiled = Compiled::new(&filter).unwrap();
        let may_pass = |test: &CompiledTest| known.get(test.id()).copied().unwrap_or(u32::MAX);
        let together = compiled.may_match_of(&mut |test| may_pass(test));
        for block in 0..32 {
            let verdict = compiled.judge(&mut |test| match may_pass(test) & (1 << block) {
                0 => Verdict::Never,
                _ => Verdict::Maybe,
            });
            prop_assert_eq!(together & (1 << block) != 0, verdict != Verdict::Never);
        }
    }
}

#[test]
fn json_errors_name_the_path() {
    for (json, expected) in [
        (
            r#"{"and":[{"field":"a","eq":"x"},{"not":{"field":"a","like":"x"}}]}"#,
            "`filter.and[1].not.like`: unknown operator",
        ),
        (r#"{"field":"a"}"#, "`filter`: an operator is missing"),
        (r#"{"field":1,"eq":"x"}"#, "`filter.field`"),
        (r#"{"and":[],"or":[]}"#, "`filter`: expected"),
        (r#"{"xor":[]}"#, "`filter.xor`: unknown key"),
        (r#"[]"#, "`filter`: expected an object"),
        (r#"{"or":[{"field":"n","lt":"x"}]}"#, "`filter.or[0].lt`: `x` is no number"),
        (r#"{"field":"timestamp","ge":"yesterday"}"#, "`filter.ge`"),
        (r#"{"field":"message","in":["a",[]]}"#, "`filter.in[1]`"),
        (r#"{"field":"timestamp","contains":"1"}"#, "`filter`: a timestamp can be compared"),
    ] {
        let error = Filter::from_json(&serde_json::from_str(json).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{json}: {error}");
    }
}

#[test]
fn several_operators_of_one_field_must_all_hold() {
    let json = serde_json::json!({"field": "n", "ge": 1, "lt": 5});
    let expected = [Op::Number(Comparison::Ge, 1.0), Op::Number(Comparison::Lt, 5.0)];
    assert_eq!(
        Filter::from_json(&json).unwrap(),
        Filter::And(expected.into_iter().map(|op| Filter::test("n", op)).collect())
    );
}

#[test]
fn trees_beyond_the_limits_are_refused() {
    let mut deep = Filter::eq("a", "b");
    for _ in 0..63 {
        deep = deep.not();
    }
    assert!(Compiled::new(&deep).is_ok());
    assert!(Compiled::new(&deep.not()).is_err());
    let many = |count: usize| Filter::Or((0..count).map(|n| Filter::eq("a", n.to_string())).collect());
    assert!(Compiled::new(&many(1000)).is_ok());
    assert!(Compiled::new(&many(1001)).is_err());
    let list = |count: usize| Filter::test("a", Op::In((0..count).map(|n| n.to_string()).collect()));
    assert!(Compiled::new(&Filter::And(vec![list(500), list(500)])).is_ok());
    assert!(Compiled::new(&Filter::And(vec![list(500), list(501)])).is_err());
    let pattern = Filter::test("a", Op::Regex(Pattern::search("a".repeat(PATTERN_BYTES_MAX + 1))));
    assert!(Compiled::new(&pattern).unwrap_err().to_string().contains("`filter`"));
}
