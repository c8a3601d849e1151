//! Tests of the printers. `laid_out.txt` holds queries (`# …`) and what Loki's `format_query` makes
//! of them.

mod trees;

use crate::{parse, pretty};
use proptest::prelude::*;

#[test]
fn long_queries_are_laid_out_as_by_loki() {
    let mut cases = 0;
    for case in include_str!("tests/laid_out.txt").trim_end().split("\n\n") {
        let (query, expected) = case.strip_prefix("# ").and_then(|case| case.split_once('\n')).unwrap();
        let expr = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(pretty(&expr), expected, "{query}");
        assert_eq!(parse(expected).as_ref(), Ok(&expr), "{query}");
        cases += 1;
    }
    assert_eq!(cases, 20);
}

#[test]
fn nothing_is_lost_where_loki_loses_it() {
    for (query, printed) in [
        (r#"{a="b"} | c > 1234B"#, r#"{a="b"} | c>1234B"#),
        (r#"{a="b"} | c > 2.5KiB"#, r#"{a="b"} | c>2560B"#),
        (r#"{a="b"} | c > 0kB"#, r#"{a="b"} | c>0kB"#),
        (r#"{a="b"} | c > -0.0"#, r#"{a="b"} | c>-0.0"#),
        ("vector(1.23456789)", "vector(1.23456789)"),
        ("vector(1e-9)", "vector(1e-09)"),
        ("vector(1) + -0.0", "(vector(1.000000) + -0.0)"),
        ("vector(1) + on () vector(2)", "(vector(1.000000) + on ()  vector(2.000000))"),
        (
            "vector(1) + ignoring () group_left vector(2)",
            "(vector(1.000000) + ignoring () group_left vector(2.000000))",
        ),
        (
            "vector(1) + on (a) group_left () (vector(2) + vector(3))",
            "(vector(1.000000) + on (a) group_left () (vector(2.000000) + vector(3.000000)))",
        ),
        (r#"{'a'="b"}"#, r#"{'a'="b"}"#),
        (r#"{! ="b"} | json!"#, r#"{! ="b"} | json ! ="!""#),
        (r#"{a="b"} | label_format ! = ~, c=!"#, r#"{a="b"} | label_format ! = ~,c=!"#),
        (r#"{a="b"} | ! > 5 | drop ! =~ "c.+""#, r#"{a="b"} | ! >5 | drop ! =~"c.+""#),
    ] {
        let expr = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(expr.to_string(), printed);
        assert_eq!(parse(printed).as_ref(), Ok(&expr), "{query}");
    }
    let long = r#"sum(rate({app="checkout", env="production"} |= "a rather long text" or "b" [5m]))"#;
    for query in [
        format!("({long} + {long}) * {long}"),
        format!("{long} - ({long} - {long})"),
        format!("({long} ^ {long}) ^ {long}"),
        format!("{long} / on () group_left () ({long} + {long})"),
        format!("avg_over_time({{a=\"b\"}} |= `{long}` | unwrap c [5m] offset 1ns) by ()"),
        format!("{{a=\"b\"}} |= `{long}` or `{long}` or ip(`1.1.1.1`) |~ `{long}`"),
    ] {
        let expr = parse(&query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let laid_out = pretty(&expr);
        assert!(laid_out.contains('\n'));
        assert_eq!(parse(&laid_out).as_ref(), Ok(&expr), "{laid_out}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_printed_is_read_as_the_same_tree(expr in trees::expr()) {
        let printed = expr.to_string();
        prop_assert_eq!(parse(&printed), Ok(expr.clone()), "{}", printed);
        let laid_out = pretty(&expr);
        prop_assert_eq!(parse(&laid_out), Ok(expr.clone()), "{}", laid_out);
        prop_assert_eq!(parse(&printed).map(|expr| expr.to_string()), Ok(printed));
    }
}
