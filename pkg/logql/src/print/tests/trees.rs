//! Trees as the parser builds them, at random.

use crate::ast::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

pub(super) fn expr() -> impl Strategy<Value = Expr> {
    prop_oneof![log().prop_map(Expr::Log), metric().prop_map(Expr::Metric)]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "x[a-z0-9_]{0,6}",
        "_[A-Z]{1,3}",
        select(vec!["sum", "rate", "ip", "bytes", "größe", "@", "!", "~"]).prop_map(String::from)
    ]
}

fn names() -> impl Strategy<Value = Vec<String>> {
    vec(name(), 0..3)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{0,8}",
        "\\PC{0,6}",
        select(vec!["a\"b\\", "\n\t\u{7f}\0", "`", "{{.a}}", "é\u{301}"]).prop_map(String::from)
    ]
}

fn regex() -> impl Strategy<Value = String> {
    select(vec!["a.+", ".*", "b|c", "foo.*", "(?i)x`y", r"\d+\.\d", "[a-z]{2}", "", "^a$"]).prop_map(String::from)
}

fn matcher() -> impl Strategy<Value = LabelMatcher> {
    let plain = (name(), select(vec![MatchOp::Eq, MatchOp::Ne]), text());
    let regex = (name(), select(vec![MatchOp::Regex, MatchOp::NotRegex]), regex());
    let plain = plain.prop_map(|(name, op, value)| LabelMatcher { name, op, value });
    prop_oneof![plain, regex.prop_map(|(name, op, value)| LabelMatcher { name, op, value })]
}

fn log() -> impl Strategy<Value = LogExpr> {
    let first = "[a-z]{1,5}".prop_map(|value| LabelMatcher { name: "app".to_owned(), op: MatchOp::Eq, value });
    (first, vec(matcher(), 0..3), vec(stage(), 0..5)).prop_map(|(first, mut selector, stages)| {
        selector.insert(0, first);
        LogExpr { selector, stages: apart(stages) }
    })
}

/// Without a name in front of an operator that would be taken for its matcher: `| keep a != "b"`.
fn apart(stages: Vec<Stage>) -> Vec<Stage> {
    let mut out = Vec::new();
    for stage in stages {
        let ends_in_name = match out.last() {
            Some(Stage::Drop(picks) | Stage::Keep(picks)) => matches!(picks.last(), Some(LabelPick::Name(_))),
            _ => false,
        };
        let is_line = matches!(&stage, Stage::Line(line) if matches!(line.op, LineOp::NotContains | LineOp::NotRegex));
        if ends_in_name && is_line {
            out.push(Stage::Unpack);
        }
        out.push(stage);
    }
    out
}

fn stage() -> impl Strategy<Value = Stage> {
    let extraction = (name(), text()).prop_map(|(name, expression)| Extraction { name, expression });
    let extractions = vec(extraction, 0..3).boxed();
    let format = (name(), prop_oneof![name().prop_map(FormatValue::Rename), text().prop_map(FormatValue::Template)]);
    let format = format.prop_map(|(name, value)| LabelFormat { name, value });
    let pick = prop_oneof![name().prop_map(LabelPick::Name), matcher().prop_map(LabelPick::Matcher)];
    let picks = vec(pick, 1..3).boxed();
    prop_oneof![
        3 => line().prop_map(Stage::Line),
        1 => extractions.clone().prop_map(Stage::Json),
        1 => (any::<bool>(), any::<bool>(), extractions).prop_map(|(strict, keep_empty, extractions)| {
            Stage::Logfmt { strict, keep_empty, extractions }
        }),
        1 => Just(Stage::Regexp(r"(?P<a>\w+) (?P<b>.)".to_owned())),
        1 => Just(Stage::Pattern("<a> <_> \"<b>\"".to_owned())),
        1 => Just(Stage::Unpack),
        1 => Just(Stage::Decolorize),
        3 => label_filter().prop_map(Stage::LabelFilter),
        1 => text().prop_map(Stage::LineFormat),
        1 => vec(format, 1..3).prop_map(Stage::LabelFormat),
        1 => picks.clone().prop_map(Stage::Drop),
        1 => picks.prop_map(Stage::Keep),
    ]
}

fn line() -> impl Strategy<Value = LineFilter> {
    let alternative = prop_oneof![text().prop_map(LineMatch::Text), text().prop_map(LineMatch::Ip)].boxed();
    let positive = select(vec![LineOp::Contains, LineOp::Regex, LineOp::Pattern]);
    let negative = select(vec![LineOp::NotContains, LineOp::NotRegex, LineOp::NotPattern]);
    let positive = (positive, vec(alternative.clone(), 1..4));
    let negative = (negative, vec(alternative, 1));
    prop_oneof![positive, negative].prop_map(|(op, alternatives)| LineFilter { op, alternatives })
}

fn label_filter() -> impl Strategy<Value = LabelFilter> {
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
    let op = select(vec![Eq, Ne, Gt, Ge, Lt, Le]).boxed();
    let bytes = prop_oneof![0..5_000u64, any::<u32>().prop_map(|bytes| u64::from(bytes) * 1_000)];
    let leaf = prop_oneof![
        matcher().prop_map(LabelFilter::Text),
        (name(), op.clone(), number()).prop_map(|(name, op, value)| LabelFilter::Number { name, op, value }),
        (name(), op.clone(), any::<i64>()).prop_map(|(name, op, ns)| LabelFilter::Duration { name, op, ns }),
        (name(), op, bytes).prop_map(|(name, op, bytes)| LabelFilter::Bytes { name, op, bytes }),
        (name(), any::<bool>(), text()).prop_map(|(name, negated, pattern)| LabelFilter::Ip { name, negated, pattern }),
    ];
    leaf.prop_recursive(4, 8, 2, |inner| {
        (any::<bool>(), inner.clone(), inner).prop_map(|(and, left, right)| {
            let (left, right) = (Box::new(left), Box::new(right));
            if and { LabelFilter::And(left, right) } else { LabelFilter::Or(left, right) }
        })
    })
}

fn number() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, ZERO};
    prop_oneof![
        (-1_000i32..1_000).prop_map(f64::from),
        (-1_000_000i32..1_000_000).prop_map(|number| f64::from(number) / 1_000.0),
        POSITIVE | NEGATIVE | NORMAL | ZERO,
    ]
}

fn grouping() -> impl Strategy<Value = Grouping> {
    (any::<bool>(), names()).prop_map(|(without, names)| Grouping { without, names })
}

fn range() -> impl Strategy<Value = MetricExpr> {
    use RangeOp::*;
    let ops = vec![
        CountOverTime,
        Rate,
        BytesOverTime,
        BytesRate,
        AbsentOverTime,
        SumOverTime,
        AvgOverTime,
        MinOverTime,
        MaxOverTime,
        FirstOverTime,
        LastOverTime,
        StddevOverTime,
        StdvarOverTime,
        QuantileOverTime,
        RateCounter,
    ];
    use Conversion::{Bytes, Duration, DurationSeconds, Number};
    let conversion = select(vec![Number, Duration, DurationSeconds, Bytes]);
    let unwrap = (name(), conversion, vec(label_filter(), 0..2)).prop_map(|(name, conversion, filters)| Unwrap {
        name,
        conversion,
        filters,
    });
    let offset = prop_oneof![Just(0), any::<i64>(), (-100i64..100).prop_map(|minutes| minutes * 60_000_000_000)];
    let length = 0..10_000_000_000i64;
    (select(ops), log(), of(unwrap), length, offset, of(grouping()), number()).prop_map(
        |(op, log, unwrap, ms, offset_ns, grouping, number)| {
            let unwrap = unwrap.filter(|_| op.takes_values());
            let op = if unwrap.is_some() || op.takes_lines() { op } else { CountOverTime };
            let parameter = Some(number.abs()).filter(|_| op == QuantileOverTime);
            let grouping = grouping.filter(|_| op.takes_grouping());
            let range_ns = ms * 1_000_000 % (9_000_000_000 * 1_000_000);
            MetricExpr::Range(Box::new(RangeAggregation { op, parameter, log, unwrap, range_ns, offset_ns, grouping }))
        },
    )
}

fn metric() -> impl Strategy<Value = MetricExpr> {
    let leaf = prop_oneof![
        4 => range(),
        1 => number().prop_map(MetricExpr::Literal),
        1 => number().prop_map(|value| MetricExpr::VectorLiteral(value.abs())),
    ];
    leaf.prop_recursive(5, 10, 2, |inner| {
        let inner = inner.boxed();
        prop_oneof![vector(inner.clone()), binary(inner.clone()), binary(inner.clone()), replace(inner)]
    })
}

fn vector(inner: BoxedStrategy<MetricExpr>) -> BoxedStrategy<MetricExpr> {
    use VectorOp::*;
    let ops = vec![Sum, Avg, Min, Max, Count, Stddev, Stdvar, Topk, Bottomk, ApproxTopk, Sort, SortDesc];
    (select(ops), 1i64.., inner, of(grouping()))
        .prop_map(|(op, k, inner, grouping)| {
            let parameter = Some(k).filter(|_| matches!(op, Topk | Bottomk | ApproxTopk));
            let grouping = grouping.filter(|grouping| match op {
                ApproxTopk => false,
                Sort | SortDesc => grouping.without && grouping.names.is_empty(),
                _ => grouping.without || !grouping.names.is_empty(),
            });
            MetricExpr::Vector(Box::new(VectorAggregation { op, parameter, inner, grouping }))
        })
        .boxed()
}

fn binary(inner: BoxedStrategy<MetricExpr>) -> BoxedStrategy<MetricExpr> {
    use BinaryOp::*;
    let ops = vec![Or, And, Unless, Add, Sub, Mul, Div, Mod, Pow, Eq, Ne, Gt, Ge, Lt, Le];
    let cardinality = select(vec![Cardinality::OneToOne, Cardinality::ManyToOne, Cardinality::OneToMany]);
    let matching = (any::<bool>(), names(), cardinality, names()).prop_map(|(on, names, cardinality, include)| {
        let include = if cardinality == Cardinality::OneToOne { Vec::new() } else { include };
        VectorMatching { on, names, cardinality, include }
    });
    let plain = |matching: &VectorMatching| {
        !matching.on && matching.names.is_empty() && matching.cardinality == Cardinality::OneToOne
    };
    (select(ops), inner.clone(), inner, any::<bool>(), of(matching))
        .prop_map(move |(op, left, right, return_bool, matching)| {
            let is_literal = |side: &MetricExpr| matches!(side, MetricExpr::Literal(_));
            let no_literal = matches!(op, Or | And | Unless);
            let vector = |side: MetricExpr| if is_literal(&side) { MetricExpr::VectorLiteral(1.0) } else { side };
            let left = if no_literal || is_literal(&right) { vector(left) } else { left };
            let right = if no_literal { vector(right) } else { right };
            let matching = matching.filter(|matching| !plain(matching));
            MetricExpr::Binary(Box::new(BinaryExpr { op, left, right, return_bool, matching }))
        })
        .boxed()
}

fn replace(inner: BoxedStrategy<MetricExpr>) -> BoxedStrategy<MetricExpr> {
    (inner, text(), text(), text(), regex())
        .prop_map(|(inner, destination, replacement, source, regex)| {
            MetricExpr::LabelReplace(Box::new(LabelReplace { inner, destination, replacement, source, regex }))
        })
        .boxed()
}
