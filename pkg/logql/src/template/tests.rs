//! Templates against what Loki's formatter gave for them, the limits, and no panic for any text.
//!
//! `tests/outputs.txt` and `tests/errors.txt` hold the facts: `> template`, then `= output`,
//! `! error of rendering` or `? error of parsing`; `\n`, `\\` and `\xNN` stand for bytes.

use super::*;
use proptest::prelude::*;

struct Line {
    labels: &'static [(&'static str, &'static str)],
    line: &'static [u8],
    now_ns: i64,
}

impl Context for Line {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn line(&self) -> &[u8] {
        self.line
    }

    fn timestamp_ns(&self) -> i64 {
        1_656_353_124_120_000_000
    }

    fn now_ns(&self) -> i64 {
        self.now_ns
    }

    fn for_each_label<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a str)) {
        self.labels.iter().for_each(|(name, value)| visit(name, value));
    }
}

const LABELS: &[(&str, &str)] = &[
    ("foo", "blip"),
    ("bar", "BLop"),
    ("num", "42"),
    ("neg", "-7"),
    ("flt", "3.75"),
    ("esc", "a b&c=\"d\"<e>'f'"),
    ("uni", "Hello, 世界"),
    ("empty", ""),
    ("json", r#"{"a":1,"b":[1,2,"x",null,{"c":true}],"s":"t\u00e9","n":null,"o":{"k":"v"}}"#),
    ("arr", r#"[{"query":"q1"},{"query":"q2"}]"#),
    ("url", "%2Fa+b%3D"),
    ("ts", "1679577215"),
    ("date", "2023-03-10T01:32:40.340485723Z"),
    ("sp", "  x y  "),
    ("lines", "a\nb\nc"),
    ("size", "3 kB"),
    ("dur", "3m10s"),
    ("b64", "Zm9vYmE"),
];

const LINE: Line = Line { labels: LABELS, line: b"the line", now_ns: 1_700_000_000_123_456_789 };

fn render_over(context: &dyn Context, template: &str) -> Result<Vec<u8>, String> {
    let mut out = b"kept".to_vec();
    let template = Template::parse(template).map_err(|error| format!("? {error}"))?;
    let result = template.render(context, &mut out);
    assert!(out.starts_with(b"kept"));
    match result {
        Ok(()) => Ok(out.split_off(4)),
        Err(error) => {
            assert_eq!(out, b"kept");
            Err(format!("! {error}"))
        }
    }
}

fn render(template: &str) -> Result<Vec<u8>, String> {
    render_over(&LINE, template)
}

fn text(template: &str) -> String {
    String::from_utf8(render(template).unwrap()).unwrap()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match (byte, behind) {
            (b'\\', [b'n', behind @ ..]) => {
                out.push(b'\n');
                rest = behind;
            }
            (b'\\', [b'x', high, low, behind @ ..]) => {
                let digits = [*high, *low];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                rest = behind;
            }
            (b'\\', [byte, behind @ ..]) => {
                out.push(*byte);
                rest = behind;
            }
            (byte, _) => out.push(*byte),
        }
    }
    out
}

fn check(facts: &str) {
    let mut lines = facts.lines();
    let (mut count, mut wrong) = (0, Vec::new());
    while let (Some(template), Some(wanted)) = (lines.next(), lines.next()) {
        let template = String::from_utf8(unescape(template.strip_prefix("> ").unwrap())).unwrap();
        let wanted = unescape(wanted);
        let given = match render(&template) {
            Ok(out) => [b"= ", out.as_slice()].concat(),
            Err(error) => error.into_bytes(),
        };
        count += 1;
        if given != wanted {
            let (given, wanted) = (String::from_utf8_lossy(&given), String::from_utf8_lossy(&wanted));
            wrong.push(format!("{template:?}\n  gives {given:?}\n  wants {wanted:?}"));
        }
    }
    assert!(count > 100 && wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn outputs_are_those_of_loki() {
    check(include_str!("tests/outputs.txt"));
}

#[test]
fn errors_are_those_of_loki() {
    check(include_str!("tests/errors.txt"));
}

#[test]
fn the_clock_is_the_contexts() {
    assert_eq!(text("{{ now | unixEpochNanos }}"), "1700000000123456789");
    assert_eq!(text(r#"{{ now | date "2006-01-02" }} {{ date "2006" .foo }}"#), "2023-11-14 2023");
    assert_eq!(text("{{ now }}"), "2023-11-14 22:13:20.123456789 +0000 UTC");
}

#[test]
fn label_templates_are_called_label_in_errors() {
    let template = Template::parse_label(r#"{{replace "test" .foo}}"#).unwrap();
    let error = template.render(&LINE, &mut Vec::new()).unwrap_err().to_string();
    let wanted =
        r#"template: label:1:2: executing "label" at <replace>: wrong number of args for replace: want 3 got 2"#;
    assert_eq!(error, wanted);
    assert_eq!(Template::parse_label("{{").unwrap_err().to_string(), "template: label:1: unclosed action");
}

#[test]
fn plain_templates_give_what_the_walk_gives() {
    for template in ["{{.foo}}", "a{{.foo | upper}}{{.bar|lower}}{{__line__}}b", "{{.missing}}", "{{.uni | ToUpper}}"] {
        let parsed = Template::parse(template).unwrap();
        assert!(parsed.pieces.is_some(), "{template}");
        let mut walked = Vec::new();
        evaluate::render(&parsed.trees, template, &LINE, &mut walked).unwrap();
        assert_eq!(render(template).unwrap(), walked, "{template}");
    }
    assert_eq!(Template::parse("{{.foo}}").unwrap().only_field(), Some("foo"));
    for template in ["{{.foo}} ", "{{.foo | upper}}", "{{.foo.bar}}", "{{__line__}}", "foo", "{{$x := .foo}}"] {
        assert_eq!(Template::parse(template).unwrap().only_field(), None, "{template}");
    }
}

#[test]
fn fields_are_the_labels_that_are_named() {
    let names = |template: &str| match Template::parse(template).unwrap().fields() {
        Fields::Names(names) => names.join(","),
        Fields::All => "*".to_owned(),
    };
    for (template, wanted) in [
        ("{{.foo}} and {{.bar}} {{.foo}}", "foo,bar"),
        ("{{ .foo | ToUpper | .buzz }} and {{.bar}}", "foo,buzz,bar"),
        (r#"{{ regexReplaceAllLiteral "(p)" .foo "${1}" }}"#, "foo"),
        (r#"{{ if .foo | hasSuffix "Ip" }}{{.bar}}{{else if .c}}{{.d}}{{else}}{{.e}}{{end}}"#, "foo,bar,c,d,e"),
        (r#"{{with .foo}}{{printf "%q" .}}{{else}}{{ .buzz | lower }}{{end}}"#, "foo,buzz"),
        ("{{ (index (fromJson .j) 0).x }}{{ $.y }}", "j,y"),
        ("plain {{ __line__ }}", ""),
        ("{{.}}", "*"),
        ("{{ $ }}", "*"),
        ("{{ range $k, $v := . }}{{$k}}{{end}}", "*"),
        (r#"{{ define "a" }}{{ . }}{{ end }}{{ template "a" $ }}"#, "*"),
        (r#"{{ index . "foo" }}"#, "*"),
    ] {
        assert_eq!(names(template), wanted, "{template}");
    }
}

/// What is wrong with a template that must be refused or fail.
fn refusal(template: &str) -> String {
    match render(template) {
        Ok(out) => panic!("{} gives {} bytes", template.chars().take(80).collect::<String>(), out.len()),
        Err(error) => error,
    }
}

#[test]
fn a_template_has_limits() {
    assert!(refusal(&"x".repeat(TEMPLATE_BYTES_MAX + 1)).contains("more than 65536 bytes"));
    let parentheses = |depth: usize| format!("{{{{ {}.foo{} }}}}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(text(&parentheses(TEMPLATE_NESTING_MAX)), "blip");
    assert!(refusal(&parentheses(TEMPLATE_NESTING_MAX + 1)).contains("nested more than"));
    let controls = |depth: usize| format!("{}x{}", "{{ if true }}".repeat(depth), "{{ end }}".repeat(depth));
    assert_eq!(text(&controls(TEMPLATE_NESTING_MAX)), "x");
    assert!(refusal(&controls(TEMPLATE_NESTING_MAX + 1)).contains("nested more than"));
    // `else if` is a list, not a nest.
    let many = format!("{{{{ if .no }}}}a{}{{{{ end }}}}", "{{ else if .no }}b".repeat(500) + "{{ else }}c");
    assert_eq!(text(&many), "c");
}

#[test]
fn a_rendering_has_limits() {
    for (template, wanted) in [
        ("{{ range 999999999999 }}{{ end }}", "more than 1000000 steps"),
        ("{{ range 99999 }}{{ range 99999 }}x{{ end }}{{ end }}", "more than 1000000 steps"),
        (r#"{{ repeat 999999999999 "a" }}"#, "error calling repeat: more than 1000000 steps"),
        (r#"{{ repeat 9223372036854775807 "ab" }}"#, "error calling repeat: more than 1000000 steps"),
        (r#"{{ repeat 20000000 "a" }}"#, "error calling repeat: a value of more than 16777216 bytes"),
        (r#"{{ range 99 }}{{ repeat 1000000 "a" }}{{ end }}"#, "more than 1"),
        (r#"{{ $x := repeat 99999 "a" }}{{ replace "a" $x $x }}"#, "error calling replace"),
        (r#"{{ $x := repeat 9999 "\n" }}{{ indent 99999 $x }}"#, "error calling indent"),
        (r#"{{ $x := repeat 9999 "a" }}{{ regexReplaceAll "a" $x $x }}"#, "error calling regexReplaceAll"),
        (r#"{{ alignRight 999999999999 .foo }}"#, "error calling alignRight"),
        (r#"{{ printf (repeat 99 "%[1]*[1]d") 999999 }}"#, "more than 1"),
        (r#"{{ range 9999 }}{{ count (printf "a{%d}" .) "b" }}{{ end }}"#, "more than 1000000 steps"),
        (r#"{{ define "r" }}{{ template "r" }}{{ end }}{{ template "r" }}"#, "exceeded maximum template depth (64)"),
        (
            r#"{{ define "r" }}{{ if true }}{{ if true }}{{ template "r" }}{{ end }}{{ end }}{{ end }}{{ template "r" }}"#,
            "nested more than 100 deep",
        ),
    ] {
        let error = refusal(template);
        assert!(error.contains(wanted), "{template}: {error}");
    }
}

#[test]
fn whatever_is_printed_ends() {
    let values = [
        "1.5",
        "3",
        "true",
        "nil",
        ".foo",
        "__timestamp__",
        "'x'",
        r#"(duration "1s")"#,
        "__timestamp__.Month",
        "__timestamp__.Weekday",
        "(fromJson `[1,{\"a\":null}]`)",
        ".",
    ];
    let line = Line { labels: LABELS, line: b"a", now_ns: 0 };
    for value in values {
        for flags in ["", "#", "+", " ", "0", "-", "#+ 0", "9.2", "#9.2", "#-9.2"] {
            for verb in "vTtbcdoOqxXUeEfFgGsp!".chars() {
                let template = format!("{{{{ printf \"%{flags}{verb}\" {value} }}}}");
                let _ = render_over(&line, &template);
            }
        }
    }
}

#[test]
fn what_is_no_utf8_passes() {
    let line = Line { labels: LABELS, line: b"a\xffb \xe4", now_ns: 0 };
    let over = |template: &str| render_over(&line, template).unwrap();
    assert_eq!(over("{{ __line__ }}"), b"a\xffb \xe4");
    assert_eq!(over("{{ __line__ | upper }}"), "A\u{fffd}B \u{fffd}".as_bytes());
    assert_eq!(over(r#"{{ printf "%q %x" __line__ __line__ }}"#), br#""a\xffb \xe4" 61ff6220e4"#);
    assert_eq!(over(r#"{{ trimAll "a" __line__ }}"#), b"\xffb \xe4");
    assert_eq!(over(r#"{{ replace "" "-" __line__ }}"#), b"-a-\xff-b- -\xe4-");
    assert_eq!(over("{{ alignRight 7 __line__ }}"), b"  a\xffb \xe4");
}

/// Templates of the pieces that templates are made of, in any order.
fn scrambled() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "{{",
        "}}",
        " ",
        "{{- ",
        " -}}",
        "if ",
        "else ",
        "end",
        "range ",
        "with ",
        "$x",
        ":=",
        "=",
        ".foo",
        ".",
        "|",
        "(",
        ")",
        "\"a\"",
        "`b`",
        "'c'",
        "1",
        "-2.5",
        "0x",
        "printf ",
        "\"%5.2v%[2]*d\" ",
        "trunc ",
        "substr ",
        "index ",
        "slice ",
        "fromJson ",
        ".json",
        "regexReplaceAll ",
        "__line__",
        "now",
        ".Year",
        "define ",
        "template ",
        "block ",
        "break",
        "continue",
        "nil ",
        "true ",
        "世",
        "\n",
        "/*",
        "*/",
        ",",
        "eq ",
        "toDate ",
        "\"2006-01-02\" ",
        "add ",
        "divf ",
        "{{end}}",
        "{{else}}",
        "urldecode ",
        "b64dec ",
        "99999999999999999999",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

/// Actions that parse: a function over values of all kinds.
fn calls() -> impl Strategy<Value = String> {
    let functions: Vec<&str> = vec![
        "Replace",
        "Trim",
        "regexReplaceAll",
        "count",
        "urldecode",
        "bytes",
        "duration",
        "toDateInZone",
        "unixToTime",
        "alignLeft",
        "alignRight",
        "b64dec",
        "title",
        "trunc",
        "substr",
        "indent",
        "replace",
        "repeat",
        "trimAll",
        "int",
        "float64",
        "add",
        "sub",
        "mul",
        "div",
        "mod",
        "addf",
        "divf",
        "max",
        "minf",
        "round",
        "fromJson",
        "date",
        "toDate",
        "default",
        "and",
        "eq",
        "lt",
        "len",
        "index",
        "slice",
        "print",
        "printf",
        "js",
        "html",
        "call",
    ];
    let values: Vec<&str> = vec![
        ".foo",
        ".uni",
        ".json",
        "(fromJson .json)",
        "(fromJson .json).b",
        "(fromJson .json).n",
        ".",
        "nil",
        "true",
        "0",
        "-1",
        "3",
        "9223372036854775807",
        "-9223372036854775808",
        "1.5",
        "1e300",
        "\"\"",
        "\"a\"",
        "\"%*.*[3]q\"",
        "\"世\"",
        "\"\\xff\"",
        "now",
        "(now.Sub __timestamp__)",
        "now.Month",
        "\"2006-01-02T15:04:05.999Z07:00\"",
        "\"Europe/Berlin\"",
        "\"x*\"",
        "\"${1}\"",
        "(index .foo 1)",
    ];
    let arguments = prop::collection::vec(prop::sample::select(values), 0..5);
    let call = (prop::sample::select(functions), arguments)
        .prop_map(|(function, arguments)| format!("{function} {}", arguments.join(" ")));
    prop::collection::vec(call, 1..4).prop_map(|calls| format!("{{{{ {} }}}}", calls.join(" | ")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_template_panics(template in prop_oneof![scrambled(), calls(), any::<String>()]) {
        let _ = render(&template);
    }

    #[test]
    fn a_layout_reads_what_it_prints(ns in any::<i64>()) {
        let layout = b"2006-01-02T15:04:05.000000000Z07:00";
        let shown = time::Time::from_ns(ns).format(layout);
        let read = time::Time::parse(layout, &shown, time::Zone::Utc).unwrap();
        prop_assert_eq!(read.unix_nanos(), ns);
    }

    #[test]
    fn base64_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        prop_assert_eq!(base64::decode(&base64::encode(&bytes)), Ok(bytes));
    }
}
