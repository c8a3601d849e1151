//! Invariants: what is carried over from window to window is what computing it anew gives, totals
//! give what points give, and limits hold.

use proptest::prelude::*;

use super::fixture::metric;
use super::memory::{Form, Memory};
use crate::Labels;
use crate::ast::RangeOp;
use crate::evaluate::{EvaluateError, EvaluateLimits, Steps, Value, evaluate};

const SECOND: i64 = 1_000_000_000;

fn memory(form: Form, series: usize, samples: &[(i64, f64)]) -> Memory {
    let mut memory = Memory::new(form);
    for number in 0..series {
        let labels = Labels::new([("app".to_owned(), "a".to_owned()), ("n".to_owned(), format!("{number:03}"))]);
        let points = samples.iter().filter(|&&(at, _)| at % series as i64 == number as i64);
        memory.series.push((labels, points.map(|&(at, value)| (at * SECOND / 4, value)).collect()));
    }
    memory
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-5..50_i32).prop_map(f64::from),
        4 => -1e3..1e3_f64,
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0)],
    ]
}

const QUERIES: [&str; 14] = [
    "count_over_time({app=\"a\"}[RANGE])",
    "rate({app=\"a\"}[RANGE])",
    "bytes_over_time({app=\"a\"}[RANGE])",
    "sum_over_time({app=\"a\"} | unwrap v [RANGE])",
    "avg_over_time({app=\"a\"} | unwrap v [RANGE])",
    "min_over_time({app=\"a\"} | unwrap v [RANGE])",
    "max_over_time({app=\"a\"} | unwrap v [RANGE])",
    "first_over_time({app=\"a\"} | unwrap v [RANGE])",
    "last_over_time({app=\"a\"} | unwrap v [RANGE])",
    "stddev_over_time({app=\"a\"} | unwrap v [RANGE])",
    "quantile_over_time(0.3, {app=\"a\"} | unwrap v [RANGE])",
    "rate_counter({app=\"a\"} | unwrap v [RANGE])",
    "absent_over_time({app=\"a\"}[RANGE])",
    "topk(2, sum by (n) (rate({app=\"a\"}[RANGE]))) or on() vector(0)",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A range query is the instant queries of its steps.
    #[test]
    fn a_range_is_its_steps(
        mut samples in prop::collection::vec((0..200_i64, value()), 0..60),
        query in prop::sample::select(&QUERIES[..]),
        range in 1..40_i64,
        step in 1..30_i64,
        start in 0..20_i64,
        series in 1..4_usize,
    ) {
        samples.sort_by_key(|&(at, _)| at);
        let tree = metric(&query.replace("RANGE", &format!("{}ms", range * 250)));
        let (start_ns, end_ns, step_ns) = (start * SECOND / 4, 55 * SECOND, step * SECOND / 4);
        let mut leaves = memory(Form::Points, series, &samples);
        let limits = EvaluateLimits::default();
        let Value::Matrix(matrix) = evaluate(&tree, Steps { start_ns, end_ns, step_ns }, &mut leaves, &limits).unwrap()
        else { panic!("no matrix") };
        let mut found: Vec<(Labels, i64, u64)> = matrix
            .into_iter()
            .flat_map(|series| series.points.into_iter().map(move |(at, value)| (series.labels.clone(), at, bits(value))))
            .collect();
        let mut expected = Vec::new();
        let mut at = start_ns;
        while at <= end_ns {
            let steps = Steps { start_ns: at, end_ns: at, step_ns: 0 };
            let Value::Vector(vector) = evaluate(&tree, steps, &mut leaves, &limits).unwrap() else { panic!("no vector") };
            expected.extend(vector.into_iter().map(|sample| (sample.labels, at, bits(sample.value))));
            at += step_ns;
        }
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }

    /// Totals give what points give.
    #[test]
    fn totals_are_points(
        mut samples in prop::collection::vec((0..200_i64, (0..500_u32).prop_map(f64::from)), 0..60),
        query in prop::sample::select(&[
            "count_over_time({app=\"a\"}[RANGE])",
            "rate({app=\"a\"}[RANGE])",
            "sum by (n) (bytes_over_time({app=\"a\"}[RANGE] offset 3s))",
            "sum(bytes_rate({app=\"a\"}[RANGE])) / sum(rate({app=\"a\"}[RANGE]))",
        ][..]),
        range in 1..40_i64,
        step in 1..30_i64,
    ) {
        samples.sort_by_key(|&(at, _)| at);
        let tree = metric(&query.replace("RANGE", &format!("{}ms", range * 250)));
        let steps = Steps { start_ns: SECOND, end_ns: 55 * SECOND, step_ns: step * SECOND / 4 };
        let limits = EvaluateLimits::default();
        let [points, totals] = [Form::Points, Form::Totals]
            .map(|form| evaluate(&tree, steps, &mut memory(form, 2, &samples), &limits).unwrap());
        prop_assert_eq!(points, totals);
    }

    /// Whole powers are the products that repeated squaring gives.
    #[test]
    fn powers_are_near(base in -50.0..50.0_f64, exponent in -20..20_i32) {
        let tree = metric("1 ^ 1");
        let crate::ast::MetricExpr::Literal(one) = tree else { return Ok(()) };
        prop_assert_eq!(one, 1.0);
        let power = super::super::arithmetic::apply(crate::ast::BinaryOp::Pow, base, f64::from(exponent));
        let expected = base.powi(exponent);
        prop_assert!(power == expected || ((power - expected) / expected).abs() < 1e-13, "{power} {expected}");
    }
}

fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

fn ask(
    query: &str,
    steps: Steps,
    memory: &mut Memory,
    limits: &EvaluateLimits,
) -> Result<Value, EvaluateError<String>> {
    evaluate(&metric(query), steps, memory, limits)
}

const INSTANT: Steps = Steps { start_ns: 50 * SECOND, end_ns: 50 * SECOND, step_ns: 0 };
const RANGE: Steps = Steps { start_ns: 0, end_ns: 50 * SECOND, step_ns: SECOND };

fn many_series() -> Memory {
    let samples: Vec<(i64, f64)> = (0..40).map(|at| (at, 1.0)).collect();
    memory(Form::Points, 40, &samples)
}

/// Series are counted after the outermost aggregation, over all steps together.
#[test]
fn series_are_limited() {
    let limits = EvaluateLimits { series_max: 39, ..EvaluateLimits::default() };
    let too_many = Err(EvaluateError::TooManySeries { max: 39 });
    for steps in [INSTANT, RANGE] {
        let each = "count_over_time({app=\"a\"}[1m])";
        assert_eq!(ask(each, steps, &mut many_series(), &limits), too_many);
        assert!(ask(&format!("sum({each})"), steps, &mut many_series(), &limits).is_ok());
        assert!(ask(&format!("topk(39, {each})"), steps, &mut many_series(), &limits).is_ok());
        let limits = EvaluateLimits { series_max: 40, ..limits };
        assert!(ask(each, steps, &mut many_series(), &limits).is_ok());
        let limits = EvaluateLimits { series_max: 0, ..limits };
        assert!(ask(each, steps, &mut many_series(), &limits).is_ok());
    }
    // One series at a time, and each step another.
    let short = "count_over_time({app=\"a\"}[250ms])";
    let steps = Steps { step_ns: SECOND / 4, ..RANGE };
    assert_eq!(ask(short, steps, &mut many_series(), &limits), too_many);
    let error = ask(short, steps, &mut many_series(), &limits).unwrap_err().to_string();
    assert_eq!(
        error,
        "maximum number of series (39) reached for a single query; consider reducing query cardinality by adding more \
         specific stream selectors, reducing the time range, or aggregating results with functions like sum(), \
         count() or topk()"
    );
}

#[test]
fn memory_is_limited() {
    let query = "sum(count_over_time({app=\"a\"}[1m]))";
    let limits = EvaluateLimits { memory_max_bytes: 1 << 20, ..EvaluateLimits::default() };
    assert!(ask(query, RANGE, &mut many_series(), &limits).is_ok());
    let limits = EvaluateLimits { memory_max_bytes: 1_000, ..limits };
    assert_eq!(ask(query, RANGE, &mut many_series(), &limits), Err(EvaluateError::Memory { max_bytes: 1_000 }));
}

/// The source is asked during the evaluation whether to go on, and its no ends it.
#[test]
fn an_evaluation_can_be_called_off() {
    let query = "count_over_time({app=\"a\"}[1m])";
    let steps = Steps { step_ns: SECOND / 100, ..RANGE };
    let limits = EvaluateLimits { points_per_series_max: 0, ..EvaluateLimits::default() };
    for checks_left in [0, 1, 3] {
        let mut memory = Memory { checks_left: Some(checks_left), ..many_series() };
        let called_off = Err(EvaluateError::Leaves("called off".to_owned()));
        assert_eq!(ask(query, steps, &mut memory, &limits), called_off);
    }
}

/// Groupings go down to the leaves where that gives the same numbers, and only there; leaves that
/// differ in their operation only are read once.
#[test]
fn groupings_are_handed_down() {
    let asked = |query: &str| {
        let mut memory = many_series();
        ask(query, INSTANT, &mut memory, &EvaluateLimits::default()).unwrap();
        memory
            .asked
            .into_iter()
            .map(|(op, grouping)| {
                let grouping = grouping.map(|grouping| {
                    let word = if grouping.without { "without" } else { "by" };
                    format!("{word} ({})", grouping.names.join(","))
                });
                (op, grouping.unwrap_or_default())
            })
            .collect::<Vec<_>>()
    };
    let once = |op, grouping: &str| vec![(op, grouping.to_owned())];
    assert_eq!(asked("sum(rate({app=\"a\"}[1m]))"), once(RangeOp::Rate, "by ()"));
    assert_eq!(asked("sum by (n) (rate({app=\"a\"}[1m]))"), once(RangeOp::Rate, "by (n)"));
    assert_eq!(asked("sum without (n) (bytes_rate({app=\"a\"}[1m]))"), once(RangeOp::BytesRate, "without (n)"));
    assert_eq!(asked("sum(sum_over_time({app=\"a\"} | unwrap v [1m]))"), once(RangeOp::SumOverTime, "by ()"));
    assert_eq!(asked("sum(max_over_time({app=\"a\"} | unwrap v [1m]))"), once(RangeOp::MaxOverTime, ""));
    assert_eq!(asked("sum(max_over_time({app=\"a\"} | unwrap v [1m]) by (n))"), once(RangeOp::MaxOverTime, "by (n)"));
    assert_eq!(asked("max(rate({app=\"a\"}[1m]))"), once(RangeOp::Rate, ""));
    assert_eq!(asked("count by (n) (rate({app=\"a\"}[1m]))"), once(RangeOp::Rate, ""));
    assert_eq!(asked("sum by (n) (sum by (n, app) (rate({app=\"a\"}[1m])))"), once(RangeOp::Rate, "by (n,app)"));
    assert_eq!(asked("absent_over_time({app=\"a\"}[1m])"), once(RangeOp::AbsentOverTime, "by ()"));
    assert_eq!(
        asked("sum(rate({app=\"a\"}[1m])) / sum(count_over_time({app=\"a\"}[1m]))"),
        once(RangeOp::Rate, "by ()")
    );
    assert_eq!(asked("sum(rate({app=\"a\"}[1m])) / sum by (n) (rate({app=\"a\"}[1m]))").len(), 2);
    assert_eq!(asked("sum(rate({app=\"a\"}[1m])) / sum(rate({app=\"a\"}[2m]))").len(), 2);
    assert_eq!(asked("sum(rate({app=\"a\"}[1m])) / sum(bytes_rate({app=\"a\"}[1m]))").len(), 2);
}

/// Times at the ends of what 64 bits hold are errors, not wrapped.
#[test]
fn times_out_of_range_are_refused() {
    let limits = EvaluateLimits::default();
    for (start_ns, end_ns, step_ns) in
        [(i64::MIN, i64::MIN, 0), (i64::MIN, i64::MAX, i64::MAX), (i64::MIN + 5, i64::MIN + 5, 0)]
    {
        let steps = Steps { start_ns, end_ns, step_ns };
        let answer = ask("count_over_time({app=\"a\"}[1m])", steps, &mut many_series(), &limits);
        assert_eq!(answer, Err(EvaluateError::TimeOutOfRange));
    }
    let steps = Steps { start_ns: i64::MAX, end_ns: i64::MAX, step_ns: 0 };
    let answer = ask("count_over_time({app=\"a\"}[1m] offset -1h)", steps, &mut many_series(), &limits);
    assert_eq!(answer, Err(EvaluateError::TimeOutOfRange));
    assert!(ask("count_over_time({app=\"a\"}[1m])", steps, &mut many_series(), &limits).is_ok());
}
