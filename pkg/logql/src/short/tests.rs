//! Tests of the short form.

use super::*;
use proptest::prelude::*;

fn not(name: &str, op: Op) -> Filter {
    Filter::test(name, op).not()
}

#[test]
fn queries_mean_what_they_say() {
    let service = || Filter::eq("service", "apsouth-1");
    let warn = || Filter::eq("level", "warn");
    let contains = |text: &str| Filter::contains(text);
    let number = |name: &str, comparison, number| Filter::test(name, Op::Number(comparison, number));
    let (lt, le, gt, ge) = (Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge);
    for (text, expected) in [
        ("", Filter::All),
        ("  \n", Filter::All),
        ("service=apsouth-1&level=warn", Filter::And(vec![service(), warn()])),
        ("service = apsouth-1 AND level = warn", Filter::And(vec![service(), warn()])),
        ("service=apsouth-1 and level='warn'", Filter::And(vec![service(), warn()])),
        ("service==apsouth-1 && level=\"warn\"", Filter::And(vec![service(), warn()])),
        ("service=apsouth-1|level=warn", Filter::Or(vec![service(), warn()])),
        ("service=apsouth-1 Or level=warn", Filter::Or(vec![service(), warn()])),
        ("service=apsouth-1 || level=warn", Filter::Or(vec![service(), warn()])),
        ("level=warn | service=apsouth-1 & level=warn", Filter::Or(vec![warn(), Filter::And(vec![service(), warn()])])),
        (
            "(level=warn | service=apsouth-1) & level=warn",
            Filter::And(vec![Filter::Or(vec![warn(), service()]), warn()]),
        ),
        ("((level=warn))", warn()),
        ("message CONTAINS timeout", contains("timeout")),
        ("message contains \"timed out\"", contains("timed out")),
        ("message CONTAINS \"a \\\"b\\\" \\\\ \\n\"", contains("a \"b\" \\ \n")),
        ("message CONTAINS 'it\\'s'", contains("it's")),
        ("path=/x?a=1!~", Filter::eq("path", "/x?a=1!~")),
        ("\"my field\"=x", Filter::eq("my field", "x")),
        ("größe=ü", Filter::eq("größe", "ü")),
        ("a.b-c:d@e/f=1", Filter::eq("a.b-c:d@e/f", "1")),
        ("a=\"\"", Filter::eq("a", "")),
        ("a!=b", not("a", Op::Eq("b".to_owned()))),
        ("a=~\"b.*\"", Filter::test("a", Op::Regex(Pattern::whole("b.*")))),
        ("a=~'\\d+\\.'", Filter::test("a", Op::Regex(Pattern::whole("\\d+\\.")))),
        ("a!~b.*", not("a", Op::Regex(Pattern::whole("b.*")))),
        ("NOT a=b", not("a", Op::Eq("b".to_owned()))),
        ("not not a=b", not("a", Op::Eq("b".to_owned())).not()),
        ("!(a=b)", not("a", Op::Eq("b".to_owned()))),
        ("NOT(level=warn|level=warn)", Filter::Or(vec![warn(), warn()]).not()),
        ("not=5", Filter::eq("not", "5")),
        ("and=and&or=or", Filter::And(vec![Filter::eq("and", "and"), Filter::eq("or", "or")])),
        ("contains CONTAINS contains", Filter::test("contains", Op::Contains("contains".to_owned()))),
        ("latency>1.5", number("latency", gt, 1.5)),
        ("latency >= -2e3", number("latency", ge, -2000.0)),
        ("latency<\"3\"", number("latency", lt, 3.0)),
        ("latency<=+4", number("latency", le, 4.0)),
        ("timestamp>=1970-01-01T00:00:01Z", Filter::test("timestamp", Op::Time(ge, 1_000_000_000))),
    ] {
        assert_eq!(parse_short(text), Ok(expected), "{text}");
    }
}

#[test]
fn errors_name_the_column_and_what_is_expected() {
    const OPERATOR: &str = "`=`, `!=`, `=~`, `!~`, `<`, `<=`, `>`, `>=` or `CONTAINS` is expected, not ";
    const END: &str = "`&`, `|` or the end (quote a value that has spaces) is expected, not ";
    for (text, column, expected) in [
        ("service", 8, format!("{OPERATOR}the end")),
        ("service apsouth", 9, format!("{OPERATOR}`apsouth`")),
        ("service=", 9, "a value is expected, not the end".to_owned()),
        ("service=&level=warn", 9, "a value is expected, not `&`".to_owned()),
        ("a=b &", 6, "a name, `(` or `NOT` is expected, not the end".to_owned()),
        ("& a=b", 1, "a name, `(` or `NOT` is expected, not `&`".to_owned()),
        ("a=b |& c=d", 6, "a name, `(` or `NOT` is expected, not `&`".to_owned()),
        ("=b", 1, "a name, `(` or `NOT` is expected, not `=`".to_owned()),
        ("a=b c=d", 5, format!("{END}`c`")),
        ("message CONTAINS timed out", 24, format!("{END}`out`")),
        ("ä=b)", 4, format!("{END}`)`")),
        ("(a=b", 5, "`&`, `|` or `)` (quote a value that has spaces) is expected, not the end".to_owned()),
        ("a=\"b", 3, "the quote `\"` is not closed".to_owned()),
        ("a='b\\", 3, "the quote `'` is not closed".to_owned()),
        ("a>b", 3, "a number is expected, not `b`".to_owned()),
        ("a>inf", 3, "a number is expected, not `inf`".to_owned()),
        ("a>1e999", 3, "a number is expected, not `1e999`".to_owned()),
    ] {
        assert_eq!(parse_short(text), Err(ShortError { column, message: expected }), "{text}");
    }
    for (text, column, expected) in [
        ("x=1 & a=~\"(\"", 10, "unclosed group"),
        ("a=~\"(?:\\pL{1000}){1000}\"", 4, "more than"),
        ("timestamp>soon", 11, "`soon` is no time"),
        ("timestamp CONTAINS 5", 20, "can be compared"),
        (&"(".repeat(50_000), 31, "nested deeper than 30"),
        (&"!".repeat(50_000), 31, "nested deeper than 30"),
        (&vec!["a=b"; 1_001].join("|"), 1, "more than 1000 tests"),
        (&"a".repeat(SHORT_BYTES_MAX + 1), 1, "at most 65536"),
    ] {
        let error = parse_short(text).unwrap_err();
        assert!(error.message.contains(expected) && error.column == column, "{error}");
    }
}

#[test]
fn what_the_short_form_cannot_say_is_not_printed() {
    let print = |filter: Filter| print_short(&filter);
    assert_eq!(print(Filter::All).as_deref(), Some(""));
    assert_eq!(print(Filter::None), None);
    assert_eq!(print(Filter::And(vec![])), None);
    assert_eq!(print(Filter::test("a", Op::Exists)), None);
    assert_eq!(print(Filter::test("a", Op::Regex(Pattern::search("b")))), None);
    let both = Filter::And(vec![Filter::eq("a", "b c"), Filter::contains("d").not()]);
    assert_eq!(print(both).as_deref(), Some("a=\"b c\" & NOT message CONTAINS d"));
}

fn filters() -> impl Strategy<Value = Filter> {
    let text = prop_oneof![
        "[a-z.*]{0,5}",
        "\\PC{0,6}",
        proptest::sample::select(vec!["and", "NOT", "a\\b\"'\n", "1&2"]).prop_map(String::from)
    ];
    let text = text.boxed();
    let name = "[a-z]{1,6}|\\PC{1,5}|service|level|message";
    let comparisons = vec![Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge];
    let number = (proptest::sample::select(comparisons), -1e12..1e12f64);
    let op = prop_oneof![
        text.clone().prop_map(Op::Eq),
        text.prop_map(Op::Contains),
        "[a-z]{1,3}(\\.\\*|\\\\d)?".prop_map(|text| Op::Regex(Pattern::whole(text))),
        number.prop_map(|(comparison, number)| Op::Number(comparison, number)),
    ];
    let test = (name, op).prop_map(|(name, op)| Filter::test(&name, op));
    let at = any::<i64>().prop_map(|at| Filter::test("timestamp", Op::Time(Comparison::Ge, at)));
    let leaf = prop_oneof![9 => test, 1 => at];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Filter::Or),
            inner.prop_map(Filter::not),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same_filter(filter in filters()) {
        let printed = print_short(&filter).unwrap();
        prop_assert_eq!(parse_short(&printed), Ok(filter), "{}", printed);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}|([a-c]|[&|()!=~<>'\" ]|AND|NOT|CONTAINS){0,30}") {
        if let Ok(filter) = parse_short(&text) {
            let printed = print_short(&filter).unwrap();
            prop_assert_eq!(parse_short(&printed), Ok(filter), "{} printed {}", text, printed);
        }
    }
}
