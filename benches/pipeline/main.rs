//! Pipelines of LogQL by themselves, on one thread: MB of line text a second.
//!
//!     cargo bench --bench pipeline

use std::sync::Arc;
use std::time::Instant;
use timberlog_logql::ast::{Expr, Grouping};
use timberlog_logql::{Empties, Pipeline, Wanted, parse};

const LINES: usize = 200_000;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("| pipeline | MB/s of line text | lines that pass |\n|---|---|---|");
    let json = lines(json_line);
    let logfmt = lines(logfmt_line);
    for (text, lines) in [
        ("| json, by (status)", &json),
        ("| json status, by (status)", &json),
        ("| json | status >= 500, by (path)", &json),
        ("| json, all labels", &json),
        ("| logfmt, by (status)", &logfmt),
        ("| logfmt status, by (status)", &logfmt),
        ("| logfmt | status >= 500, by (path)", &logfmt),
        ("| logfmt, all labels", &logfmt),
        ("| pattern `<_> method=<method> <_>`, by (method)", &logfmt),
        ("| regexp `status=(?P<status>[0-9]+)`, by (status)", &logfmt),
        ("| logfmt | line_format `{{.method}} {{.path}}`, by (method)", &logfmt),
    ] {
        measure(text, lines);
    }
}

fn measure(text: &str, lines: &[String]) {
    let (stages, wanted) = text.rsplit_once(", ").expect("stages and what is wanted");
    let Ok(Expr::Log(log)) = parse(&format!("{{app=\"a\"}} {stages}")) else { panic!("{stages}") };
    let name = wanted.strip_prefix("by (").map(|rest| rest.trim_end_matches(')').to_owned());
    let grouping = name.clone().map(|name| Grouping { without: false, names: vec![name] });
    let wanted = name.map_or(Wanted::All, |name| Wanted::Names(vec![name]));
    let pipeline = Arc::new(Pipeline::new(&log.stages, None, wanted).expect("a valid pipeline"));
    let bytes: usize = lines.iter().map(String::len).sum();
    let mut best = f64::MAX;
    let mut passed = 0;
    for _ in 0..5 {
        let mut runner = pipeline.runner();
        runner.set_stream(&[("app", "a"), ("service_name", "a")]);
        let mut key = Vec::new();
        passed = 0;
        let started = Instant::now();
        for line in lines {
            if runner.run(0, line.as_bytes(), &[]) {
                key.clear();
                runner.group_key(grouping.as_ref(), Empties::Drop, &mut key);
                passed += 1;
            }
        }
        best = best.min(started.elapsed().as_secs_f64());
    }
    println!("| `{}` | {:.0} | {passed} |", text.replace('|', r"\|"), bytes as f64 / 1e6 / best);
}

fn lines(line: fn(usize) -> String) -> Vec<String> {
    (0..LINES).map(line).collect()
}

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const STATUSES: [u16; 6] = [200, 200, 201, 304, 404, 500];

fn json_line(n: usize) -> String {
    format!(
        r#"{{"ts":"2026-01-01T00:00:00.{:09}Z","caller":"server/http.go:{}","msg":"request \"{n}\" served","method":"{}","path":"/api/v1/items/{}","user":{{"id":{},"roles":["a","b"]}},"latency_ms":{}.{},"status":{},"bytes":{}}}"#,
        n * 977 % 1_000_000_000,
        n % 400,
        METHODS[n % 4],
        n % 1_000,
        n * 7 % 5_000,
        n % 90,
        n % 10,
        STATUSES[n % 6],
        n * 31 % 100_000,
    )
}

fn logfmt_line(n: usize) -> String {
    format!(
        r#"ts=2026-01-01T00:00:00.{:09}Z caller=server/http.go:{} msg="request \"{n}\" served" method={} path=/api/v1/items/{} user_id={} latency_ms={}.{} status={} bytes={}"#,
        n * 977 % 1_000_000_000,
        n % 400,
        METHODS[n % 4],
        n % 1_000,
        n * 7 % 5_000,
        n % 90,
        n % 10,
        STATUSES[n % 6],
        n * 31 % 100_000,
    )
}
