//! `timberlog query` and `timberlog tail` in all their languages, against a server and a directory.

use crate::cli::{code, err, json_of, out, reader, run, text};
use crate::server::{Data, PATIENCE, Server, lasting_port, timberlog};
use serde_json::{Value, json};
use std::process::Stdio;

/// 2023-11-14T22:13:20Z.
const T: u64 = 1_700_000_000;

/// `count` records, one a second; every third is an error of `pay`.
fn filled(data: &Data, count: u64) -> Server {
    let server = Server::start(data, &[]);
    let lines: String = (0..count)
        .map(|n| {
            let (level, service) = if n % 3 == 0 { ("ERROR", "pay") } else { ("info", "web") };
            let message = json!({"n": n, "status": 200 + n % 2}).to_string();
            let record =
                json!({"timestamp": T + n, "level": level, "service": service, "message": message, "shard": n % 2});
            format!("{record}\n")
        })
        .collect();
    server.client().ingest(lines.as_bytes(), None).expect("stored");
    server
}

/// Asks a server, stops it, asks the directory; both must say the same.
fn everywhere(data: &Data, server: Server, questions: &[&[&str]], check: impl Fn(&[&str], &str)) {
    let path = data.path();
    let ask = |place: [&str; 2], question: &[&str]| {
        let output = run(&[&["query"][..], &place, question].concat(), b"");
        assert_eq!(code(&output), 0, "{question:?}: {}", err(&output));
        assert!(!out(&output).contains('\x1b'), "no colours but on a terminal");
        assert_eq!(err(&output), "", "{question:?}");
        out(&output)
    };
    let remote: Vec<String> = questions.iter().map(|question| ask(["--addr", &server.http], question)).collect();
    questions.iter().zip(&remote).for_each(|(question, answer)| check(question, answer));
    assert!(server.stop().success());
    for (question, remote) in questions.iter().zip(&remote) {
        assert_eq!(&ask(["--data-dir", text(&path)], question), remote, "{question:?}");
    }
}

#[test]
fn a_query_may_be_in_any_language() {
    let data = Data::new();
    let server = filled(&data, 30);
    let raw = "{\"n\":27,\"status\":201}\n{\"n\":21,\"status\":201}\n";
    let now = r#"{service="pay"} |= "201" | line_format "{{ __line__ }}{{ if lt (now | unixEpoch) `1700000000` }}old{{ end }}""#;
    let questions: [&[&str]; 8] = [
        &["-n", "2", "-o", "raw", r#"{service="pay"} |= "201""#],
        &["-n", "2", "-o", "raw", now],
        &["-n", "2", "-o", "raw", "--lang", "logql", r#"{service="pay"} | json | status = 201"#],
        &["-n", "2", "-o", "raw", "service=pay", "201"],
        &["-n", "2", "-o", "raw", "--lang", "short", "service=pay & message CONTAINS 201"],
        &["-n", "2", "-o", "raw", "--lang", "short", "(service = pay AND shard=1) & level=error"],
        &[
            "-n",
            "2",
            "-o",
            "raw",
            "--lang",
            "json",
            r#"{"and":[{"field":"service","eq":"pay"},{"field":"shard","eq":"1"}]}"#,
        ],
        &[
            "-n",
            "2",
            "-o",
            "raw",
            "--since",
            "2000000h",
            "--until",
            "1m",
            r#"{service="pay", level!="x"} |~ "20[1-9]""#,
        ],
    ];
    everywhere(&data, server, &questions, |question, answer| assert_eq!(answer, raw, "{question:?}"));
}

#[test]
fn lines_have_the_shape_of_records() {
    let data = Data::new();
    let server = filled(&data, 3);
    let end = format!("{}", T + 1);
    let query = r#"{service="web"} | json"#;
    let questions: [&[&str]; 3] =
        [&["--end", &end, "-o", "jsonl", query], &["--end", &end, "-o", "json", query], &["--end", &end, query]];
    let expected = json!({"timestamp": "2023-11-14T22:13:21.000000000Z", "level": "info", "service": "web",
        "message": "{\"n\":1,\"status\":201}", "labels": {"n": "1", "service": "web", "service_name": "web", "status": "201"},
        "fields": {"detected_level": "info", "level": "info", "shard": "1"}});
    let parse = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    everywhere(&data, server, &questions, |question, answer| match question.get(3).copied().unwrap_or_default() {
        "jsonl" => assert_eq!(parse(answer), expected),
        "json" => assert_eq!(parse(answer), json!([expected])),
        _ => assert_eq!(
            answer,
            "2023-11-14T22:13:21.000Z info    web  {\"n\":1,\"status\":201}  n=1  status=201  shard=1\n"
        ),
    });
}

#[test]
fn more_lines_than_one_request_answers_come_in_pages() {
    let data = Data::new();
    let server = filled(&data, 3_300);
    let query = r#"{service="web"} | json | line_format "{{.n}}""#;
    let questions: [&[&str]; 3] = [
        &["-n", "0", "-o", "raw", query],
        &["-n", "0", "-o", "raw", "--oldest-first", query],
        &["-n", "1500", "-o", "raw", query],
    ];
    let all: Vec<String> = (0..3_300).filter(|n| n % 3 != 0).map(|n| n.to_string()).collect();
    everywhere(&data, server, &questions, |question, answer| {
        let found: Vec<&str> = answer.lines().collect();
        if question.contains(&"--oldest-first") {
            assert_eq!(found, all);
        } else {
            let newest: Vec<&str> = all.iter().rev().map(String::as_str).take(found.len()).collect();
            assert_eq!((found.len(), &found), (if question[1] == "0" { 2_200 } else { 1_500 }, &newest));
        }
    });
}

#[test]
fn a_metric_query_prints_a_table() {
    let data = Data::new();
    let server = filled(&data, 30);
    let (start, end) = (format!("{}", T - 1), format!("{}", T + 29));
    let query = r#"sum by (service) (count_over_time({service=~".+"}[15s]))"#;
    let questions: [&[&str]; 4] = [
        &["--end", &end, query],
        &["--start", &start, "--end", &end, "--step", "15s", query],
        &["--end", &end, "-o", "jsonl", query],
        &["--end", &end, "-o", "raw", "sum(count_over_time({service=~\".+\"}[30s])) / 4"],
    ];
    everywhere(&data, server, &questions, |question, answer| {
        let rows: Vec<Vec<&str>> = answer.lines().map(|line| line.split_whitespace().collect()).collect();
        if question.contains(&"--step") {
            let times = ["2023-11-14T22:13:34.000000000Z", "2023-11-14T22:13:49.000000000Z"];
            assert_eq!(rows[0], ["time", "service", "value"]);
            assert_eq!(rows.len(), 2 + 4, "{answer}");
            assert_eq!((rows[2][0], rows[5][0]), (times[0], times[1]), "{answer}");
            assert!(rows[2..].iter().all(|row| row[2] == if row[1] == "pay" { "5" } else { "10" }), "{answer}");
        } else if question.contains(&"jsonl") {
            let points: Vec<Value> = answer.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            let pay = json!({"timestamp": "2023-11-14T22:13:49.000000000Z", "labels": {"service": "pay"}, "value": 5});
            assert!(points.len() == 2 && points.contains(&pay), "{answer}");
        } else if question.contains(&"raw") {
            assert_eq!(answer, "7.5\n");
        } else {
            assert_eq!(rows[0], ["service", "value"]);
            assert!(rows.contains(&vec!["pay", "5"]) && rows.contains(&vec!["web", "10"]), "{answer}");
        }
    });
}

#[test]
fn a_plan_is_a_tree() {
    let data = Data::new();
    assert!(filled(&data, 30).stop().success());
    let server = Server::start(&data, &[]);
    let questions: [&[&str]; 3] = [
        &["--explain", "level=error", "service=pay"],
        &["--explain", r#"{service="pay"} |= "201""#],
        &["--explain", "--start", "2030-01-01T00:00:00Z", "service=pay"],
    ];
    everywhere(&data, server, &questions, |question, answer| {
        let lines: Vec<&str> = answer.lines().collect();
        if question.contains(&r#"{service="pay"} |= "201""#) {
            assert_eq!(lines[0], question[1]);
        }
        assert!(lines.iter().any(|line| line.starts_with("├─ partitions  1 → ")), "{answer}");
        assert!(lines.last().is_some_and(|line| line.starts_with("└─ reads at most ")), "{answer}");
        if question.contains(&"--start") {
            assert!(lines.iter().any(|line| line.starts_with("├─ segments    1 → 0")), "{answer}");
        } else {
            assert!(
                answer.contains(", 30 records: 1 block left") && answer.contains("│  └─ token filters"),
                "{answer}"
            );
        }
    });
    let path = data.path();
    let output = run(&["query", "--data-dir", text(&path), "--explain", "-o", "json", "level=error"], b"");
    assert!(json_of(&output)["steps"].is_array(), "{}", out(&output));
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_exit_code() {
    let data = Data::new();
    let server = filled(&data, 3);
    for (arguments, expected, said) in [
        (vec!["query", "--addr", &server.http, r#"{service="web""#], 2, "parse error"),
        (vec!["query", "--addr", &server.http, r#"{service="web"} | jsn"#], 2, "parse error"),
        (vec!["query", "--addr", &server.http, "--lang", "short", "level="], 2, "column"),
        (vec!["query", "--addr", &server.http, "--lang", "json", "[]"], 2, "filter"),
        (vec!["query", "--addr", &server.http, "--lang", "sql", "x"], 2, "logql"),
        (vec!["query", "--addr", &server.http, "--count", r#"{service="web"}"#], 2, "count_over_time"),
        (vec!["query", "--addr", &server.http, "--explain", r#"rate({service="web"}[5m])"#], 2, "--explain"),
        (
            vec!["query", "--addr", &server.http, "--since", "1m", "--until", "5m", r#"{service="web"}"#],
            2,
            "after the last",
        ),
        (
            vec!["query", "--addr", &server.http, "--step", "1s", "--since", "9h", r#"rate({service="web"}[5m])"#],
            2,
            "11,000",
        ),
        (vec!["query", "--addr", "127.0.0.1:1", r#"{service="web"}"#], 4, "does not answer"),
        (vec!["tail", "--addr", "127.0.0.1:1", r#"{service="web"}"#], 4, "127.0.0.1:1"),
        (vec!["tail", "--addr", "https://127.0.0.1:1", r#"{service="web"}"#], 2, "http://host:port"),
        (vec!["tail", "--addr", &server.http, r#"rate({service="web"}[5m])"#], 2, "metric query"),
        (vec!["tail", "--addr", &server.http, r#"{service="web"} | json | a = "#], 2, "parse error"),
    ] {
        let output = run(&arguments, b"");
        assert_eq!(code(&output), expected, "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(said), "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn tail_follows_a_logql_query_and_misses_nothing_over_a_restart() {
    let data = Data::new();
    let address = format!("127.0.0.1:{}", lasting_port());
    let server = Server::start(&data, &["--http-addr", &address]);
    let query = r#"{service="web"} | json | n > 1 | line_format "line {{.n}}""#;
    let mut child = timberlog(&["tail", "--addr", &server.http, "-n", "3", "-o", "raw", query])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let said = reader(child.stderr.take().expect("a pipe"));
    let lines = reader(child.stdout.take().expect("a pipe"));
    let send = |server: &Server, n: u64| {
        let record = json!({"service": "web", "message": json!({ "n": n }).to_string()});
        server.client().ingest(record.to_string().as_bytes(), None).expect("stored");
    };
    assert!(said.recv_timeout(PATIENCE).expect("a line").starts_with("following http://127.0.0.1:"));
    send(&server, 1);
    send(&server, 2);
    assert_eq!(lines.recv_timeout(PATIENCE).expect("a line"), "line 2");
    assert!(server.stop().success(), "a tail does not keep a server from stopping");
    assert!(said.recv_timeout(PATIENCE).expect("a line").contains("trying again in"));
    let server = Server::start(&data, &["--http-addr", &address]);
    send(&server, 3);
    while !said.recv_timeout(PATIENCE).expect("a line").ends_with(" again") {}
    assert_eq!(lines.recv_timeout(PATIENCE).expect("a line"), "line 3");
    send(&server, 4);
    assert_eq!(lines.recv_timeout(PATIENCE).expect("a line"), "line 4");
    assert!(child.wait().expect("it ends").success());
}
