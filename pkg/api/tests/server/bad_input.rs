//! Queries that are wrong, endless or too large, over HTTP: Loki's status and text where Loki has one.

use crate::harness::{Response, Running, start};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// 2026-01-01, in s.
const DAY: i64 = 1_767_225_600;
const SELECTOR: &str = r#"{app="a"}"#;
const EMPTY_COMPATIBLE: &str = "parse error : queries require at least one regexp or equality matcher that does not \
                                have an empty-compatible value. For instance, app=~\".*\" does not meet this \
                                requirement, but app=~\".+\" will";

fn filled() -> Running {
    let server = start();
    let values: Vec<Value> = (0..5)
        .map(|at| json!([((DAY + 1) * 1_000_000_000 + at).to_string(), format!(r#"{{"n":"{at}","s":"x"}}"#)]))
        .collect();
    let body = json!({"streams": [{"stream": {"app": "a"}, "values": values}]});
    assert_eq!(server.post("/loki/api/v1/push", body.to_string()).status, 204);
    server
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn range_with(server: &Running, query: &str, more: &str) -> Response {
    // Of a name that stands there twice the first counts.
    let times = format!("start={DAY}&end={}&step=10", DAY + 60);
    server.get(&format!("/loki/api/v1/query_range?{more}&query={}&{times}", encoded(query)))
}

fn range(server: &Running, query: &str) -> Response {
    range_with(server, query, "direction=backward")
}

fn at(server: &Running, query: &str) -> Response {
    server.get(&format!("/loki/api/v1/query?time={}&query={}", DAY + 60, encoded(query)))
}

#[track_caller]
fn refused(answer: &Response, text: &str) {
    assert_eq!((answer.text(), answer.status), (text, 400));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[test]
fn what_does_not_parse_is_refused_where_it_does_not() {
    let server = filled();
    for (query, text) in [
        ("", "parse error : syntax error: unexpected $end"),
        ("{", "parse error at line 1, col 2: syntax error: unexpected $end, expecting IDENTIFIER or }"),
        (r#"{app="a""#, "parse error at line 1, col 9: syntax error: unexpected $end, expecting } or ,"),
        (r#"{app="a"} |= "#, "parse error at line 1, col 14: syntax error: unexpected $end, expecting STRING or ip"),
        ("{app=a}", "parse error at line 1, col 6: syntax error: unexpected IDENTIFIER, expecting STRING"),
        ("\n\n {app=a}", "parse error at line 3, col 7: syntax error: unexpected IDENTIFIER, expecting STRING"),
        (r#"{app="a}"#, "parse error at line 1, col 6: literal not terminated"),
        (r#"rate({app="a"})"#, "parse error at line 1, col 15: syntax error: unexpected )"),
        (r#"rate({app="a"}[1x])"#, r#"parse error at line 0, col 15: unknown unit "x" in duration "1x""#),
        (r#"{app="a"} | foo bar"#, "parse error at line 1, col 17: syntax error: unexpected IDENTIFIER"),
        (r#"topk(0,rate({app="a"}[1m]))"#, "parse error : invalid parameter (must be greater than 0) topk(0"),
        ("{}", EMPTY_COMPATIBLE),
        (r#"{app=~".*"}"#, EMPTY_COMPATIBLE),
    ] {
        refused(&range(&server, query), text);
    }
    let series = server.get("/loki/api/v1/series?match[]=%7B");
    refused(&series, "parse error at line 1, col 2: syntax error: unexpected $end, expecting IDENTIFIER or }");
    let labels = server.get("/loki/api/v1/label/x/values?query=%7B");
    refused(&labels, "parse error at line 1, col 2: syntax error: unexpected $end, expecting IDENTIFIER or }");
    let native = server.post("/api/v1/query", json!({"lang": "logql", "query": "{app=a}"}).to_string()).error(400);
    assert!(native.contains("line 1, col 6: syntax error: unexpected IDENTIFIER, expecting STRING"), "{native}");
}

#[test]
fn labels_that_nobody_has_find_nothing() {
    let server = filled();
    for query in [
        r#"{nosuch="label"}"#,
        r#"{app="a"} | nosuch="x""#,
        r#"{app="a"} | json | nosuch>5"#,
        r#"sum by (x) (count_over_time({nosuch="label"}[1m]))"#,
        r#"sum_over_time({app="a"} | json | unwrap nosuch [1m])"#,
    ] {
        assert_eq!(range(&server, query).ok()["data"]["result"], json!([]), "{query}");
    }
    let by = range(&server, r#"sum by (nosuch) (count_over_time({app="a"}[1m]))"#).ok();
    assert_eq!(by["data"]["result"][0]["metric"], json!({}));
}

#[test]
fn expressions_that_are_wrong_or_explode_are_refused() {
    let server = filled();
    for (query, text) in [
        (r#"{app=~"("}"#, "parse error : error parsing regexp: missing closing ): `(`"),
        (r#"{app="a"} |~ "(""#, "parse error : stage '|~ \"(\"' : error parsing regexp: missing closing ): `(`"),
        (
            r#"{app="a"} |~ "(?=a)""#,
            "parse error : stage '|~ \"(?=a)\"' : error parsing regexp: invalid or unsupported Perl syntax: `(?=`",
        ),
        (r#"{app="a"} | s=~"(""#, "parse error : error parsing regexp: missing closing ): `(`"),
        (
            r#"{app="a"} | regexp "(""#,
            "parse error : invalid regexp parser: error parsing regexp: missing closing ): `(`",
        ),
        (
            r#"{app="a"} | regexp "(.*)""#,
            "parse error : invalid regexp parser: at least one named capture must be supplied",
        ),
        (
            r#"label_replace(rate({app="a"}[1m]),"a","b","c","(")"#,
            "parse error : invalid regex in label_replace: error parsing regexp: missing closing ): `^(?:()$`",
        ),
    ] {
        refused(&range(&server, query), text);
    }
    let started = Instant::now();
    for explodes in ["((a{100}){100}){100}", "(((((a{30}){30}){30}){30}){30})", "a{1001}", r"(\\pL{500}){500}"] {
        for query in [
            format!(r#"{{app=~"{explodes}"}}"#),
            format!(r#"{SELECTOR} |~ "{explodes}""#),
            format!(r#"{SELECTOR} | regexp "(?P<x>{explodes})""#),
            format!(r#"{SELECTOR} | line_format "{{{{ regexReplaceAll \"{explodes}\" __line__ \"\" }}}}""#),
        ] {
            let answer = range(&server, &query);
            // A template is refused where it is run: the line says so.
            let is_told = answer.status == 200 && answer.text().contains("TemplateFormatErr");
            assert!(answer.status == 400 || is_told, "{query}: {} {}", answer.status, answer.text());
        }
        // What is merely refused by RE2 may run here.
        let native = json!({"query": format!("|~ \"{explodes}\"")}).to_string();
        assert!(server.post("/api/v1/query", native).status == 400 || explodes == "a{1001}");
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn templates_that_are_wrong_are_refused_and_endless_ones_end() {
    let server = filled();
    for (template, text) in [
        ("{{ .a ", "invalid line template: template: line:1: unclosed action"),
        ("{{ nofunc .a }}", "invalid line template: template: line:1: function \"nofunc\" not defined"),
        ("{{ range .a }}", "invalid line template: template: line:1: unexpected EOF"),
    ] {
        let answer = range(&server, &format!("{SELECTOR} | line_format \"{}\"", template.replace('"', "\\\"")));
        refused(&answer, &format!("parse error : stage '| line_format \"{template}\"' : {text}"));
    }
    for endless in [
        r#"{{define "t"}}{{template "t"}}{{end}}{{template "t"}}"#,
        r#"{{ range $i := (until 1000000) }}{{ range $j := (until 1000000) }}x{{ end }}{{ end }}"#,
        r#"{{ repeat 1000000000 "x" }}"#,
        r#"{{ div 1 0 }}"#,
    ] {
        let started = Instant::now();
        let query = format!("{SELECTOR} | line_format `{endless}`");
        let answer = range(&server, &query);
        // A line that cannot be made keeps its place and says why, or the template is refused.
        let is_told = answer.text().contains("TemplateFormatErr");
        assert!(answer.status == 400 || is_told, "{endless}: {} {}", answer.status, answer.text());
        assert!(started.elapsed() < Duration::from_secs(30), "{endless}: {:?}", started.elapsed());
    }
}

#[test]
fn numbers_divided_by_nothing_are_no_numbers() {
    let server = filled();
    for query in [r#"sum(count_over_time({app="a"}[1m]))/0"#, r#"sum(count_over_time({app="a"}[1m]))%0"#, "vector(1)/0"]
    {
        assert_eq!(at(&server, query).ok()["data"]["result"][0]["value"][1], "NaN", "{query}");
    }
    // Loki breaks the connection off.
    for query in ["1/0", "0/0", "1%0", "-1/0"] {
        assert_eq!(at(&server, query).status, 200, "{query}");
    }
}

#[test]
fn steps_and_limits_out_of_their_range_are_refused() {
    let server = filled();
    let rate = r#"rate({app="a"}[1m])"#;
    let no_step = "zero or negative query resolution step widths are not accepted. Try a positive integer";
    let points = "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step \
                  parameter (`--query-points-max`)";
    let year = format!("start={DAY}&end={}&step=1s", DAY + 365 * 86_400);
    for (query, more, text) in [
        (rate, "step=0", no_step),
        (rate, "step=0s", no_step),
        (rate, "step=-1", no_step),
        (rate, "step=abc", r#"cannot parse "abc" to a valid duration"#),
        (rate, "start=0&end=11001&step=1", points),
        (rate, &year, points),
        (SELECTOR, "limit=0", "limit must be a positive value"),
        (SELECTOR, "limit=-1", "limit must be a positive value"),
        (SELECTOR, "limit=x", r#"strconv.Atoi: parsing "x": invalid syntax"#),
        (SELECTOR, "limit=99999999999999999999", r#"strconv.Atoi: parsing "99999999999999999999": value out of range"#),
        (
            SELECTOR,
            "limit=5001",
            "max entries limit per query exceeded, limit > max_entries_limit_per_query (5001 > 5000) \
             (`--loki-entries-max`)",
        ),
        (SELECTOR, "start=9&end=5", "end timestamp must not be before or equal to start time"),
        (SELECTOR, "direction=sideways", "invalid direction 'sideways'"),
        (SELECTOR, "interval=-1", "interval must be >= 0"),
    ] {
        refused(&range_with(&server, query, more), text);
    }
    assert_eq!(range_with(&server, rate, "start=0&end=11000&step=1").status, 200);
    let ours = json!({"limit": 20_000}).to_string();
    assert_eq!(server.post("/api/v1/query", ours).ok()["data"].as_array().unwrap().len(), 5);
    server.post("/api/v1/query", r#"{"start": 9, "end": 5}"#).error(400);
    server.post("/api/v1/query", r#"{"aggregate": {"step": 0}}"#).error(400);
    assert!(server.post("/query", r#"{"Limit": 20000}"#).error(400).contains("page_records_max"));
}

#[test]
fn ranges_of_nothing_and_numbers_for_vectors() {
    let server = filled();
    let none = at(&server, r#"rate({app="a"}[0s])"#).ok();
    assert_eq!((&none["data"]["resultType"], &none["data"]["result"]), (&json!("vector"), &json!([])));
    assert_eq!(range(&server, r#"rate({app="a"}[0s])"#).ok()["data"]["result"], json!([]));
    let number = at(&server, r#"label_replace(1,"a","b","c","d")"#);
    assert!([400, 500].contains(&number.status) && number.text().contains("unexpected expr type"), "{}", number.text());
    let text = "parse error : unexpected literal for right leg of logical/set binary operation (and): 1.000000";
    refused(&at(&server, r#"rate({app="a"}[1m]) and 1"#), text);
    refused(
        &at(&server, SELECTOR),
        "log queries are not supported as an instant query type, please change your query to a range query type",
    );
}

#[test]
fn texts_that_are_no_texts_are_refused() {
    let server = filled();
    let raw = |query: &str| server.get(&format!("/loki/api/v1/query_range?query={query}"));
    refused(&raw("%7Bapp%3D%22%ff%22%7D"), "parse error at line 1, col 6: invalid UTF-8 encoding");
    refused(&raw("%7Bapp%3D%22a%22%7D|=%22%ff%22"), "parse error at line 1, col 12: invalid UTF-8 encoding");
    refused(&raw("%ff"), "parse error at line 1, col 1: invalid UTF-8 encoding");
    refused(&raw("%7Bapp%3D%22a%zz%22%7D"), r#"invalid URL escape "%zz""#);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let posted = server.send("POST", "/loki/api/v1/query", &form, b"query=%7Bapp%3D%22%c3%22%7D");
    refused(&posted, "parse error at line 1, col 6: invalid UTF-8 encoding");
    server.post("/api/v1/query", b"{\"query\":\"\xff\"}").error(400);
}

#[test]
fn queries_that_are_too_long_or_too_deep_are_refused() {
    let server = filled();
    let form = |query: &str| {
        let body = format!("start={DAY}&end={}&step=10&query={}", DAY + 60, encoded(query));
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        server.send("POST", "/loki/api/v1/query_range", &headers, body.as_bytes())
    };
    let long = format!(r#"{SELECTOR} |= "{}""#, "x".repeat(131_072));
    let text = format!("parse error : input size too long ({} > 131072)", long.len());
    refused(&form(&long), &text);
    // The variable of a dashboard that names all its pods.
    let pods: Vec<String> = (0..2_000).map(|at| format!("checkout-{:x}-{at}", at * 7_919)).collect();
    assert_eq!(
        form(&format!(r#"{{app=~"a|{}"}}"#, pods.join("|"))).ok()["data"]["result"][0]["values"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    assert_eq!(form(&format!("{}1{}", "(".repeat(200), ")".repeat(200))).status, 200);
    for deep in [
        format!("{}1{}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("{}rate({SELECTOR}[1m]){}", "sum(".repeat(20_000), ")".repeat(20_000)),
        format!("{SELECTOR} | {}x=1{}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("{SELECTOR} |~ \"{}a{}\"", "(".repeat(30_000), ")".repeat(30_000)),
        format!("{SELECTOR} | line_format \"{}x{}\"", "{{if .a}}".repeat(5_000), "{{end}}".repeat(5_000)),
        format!("vector(1){}", "+vector(1)".repeat(12_000)),
        "-".repeat(100_000) + "1",
    ] {
        let answer = form(&deep);
        assert_eq!(answer.status, 400, "{}…: {}", &deep[..40], &answer.text()[..answer.text().len().min(200)]);
    }
    let nested = format!(r#"{{"filter":{}{{"all":true}}{}}}"#, r#"{"not":"#.repeat(5_000), "}".repeat(5_000));
    server.post("/api/v1/query", nested).error(400);
}
