//! What queries may take: turns by tenant, ends when clients go, answers that are read slowly, and
//! limits that their errors name.

use crate::grpc::on;
use crate::harness::{Response, Running, start_with};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use timberlog_proto::v1::timber_log_client::TimberLogClient;
use timberlog_proto::v1::{self, QueryRequest};

/// An expression whose automaton is too large to be built: each byte costs.
const COSTLY: &str = "[ax]*a[ax]{400}z";
/// How long a query may go on when its client is gone: 100 ms, and time for a machine that is busy. Whole, each takes
/// minutes.
const GONE_MAX: Duration = Duration::from_secs(5);

fn push(server: &Running, tenant: &str, batches: usize, lines: usize) {
    let mut random = 7_u32;
    for batch in 0..batches {
        let line = |at: usize| {
            let text: String = (0..1_000)
                .map(|_| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if random >> 31 == 0 { 'a' } else { 'x' }
                })
                .collect();
            json!([(1_767_225_600_000_000_000 + (batch * lines + at) as i64).to_string(), text])
        };
        let values: Vec<Value> = (0..lines).map(line).collect();
        let body = json!({"streams": [{"stream": {"app": "web"}, "values": values}]}).to_string();
        let headers = [("X-Scope-OrgID", tenant), ("Content-Type", "application/json")];
        assert_eq!(server.send("POST", "/loki/api/v1/push", &headers, body.as_bytes()).status, 204);
    }
}

/// The value of a metric of one value.
fn metric(server: &Running, name: &str) -> f64 {
    let answer = server.get("/metrics");
    let value = answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no metric `{name}`"))
}

#[track_caller]
fn wait(server: &Running, name: &str, max: Duration, is_so: impl Fn(f64) -> bool) {
    let end = Instant::now() + max;
    loop {
        let value = metric(server, name);
        if is_so(value) {
            return;
        }
        assert!(Instant::now() < end, "`{name}` is {value}");
        std::thread::yield_now();
    }
}

const LONG: Duration = Duration::from_secs(60);
const RUNNING: &str = "timberlog_queries_running";
const WAITING: &str = "timberlog_queries_waiting";

/// Sends a request and leaves its answer unread.
fn begin(server: &Running, method: &str, path: &str, tenant: &str, body: &str) -> TcpStream {
    let mut client = TcpStream::connect(server.http).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nX-Scope-OrgID: {tenant}\r\n");
    let request = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    client.write_all(request.as_bytes()).unwrap();
    client
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn range(query: &str) -> String {
    format!("/loki/api/v1/query_range?start=1767225600&end=1767225660&step=30&query={}", encoded(query))
}

#[test]
fn a_query_of_any_kind_ends_when_its_client_goes_away() {
    let server = start_with(|options| options.query_timeout = Duration::from_secs(600));
    // Whole, each of these takes many times as long as it may take to end; so does a batch of them.
    push(&server, "default", 4, 1_000);
    let selector = format!("{{app=\"web\"}} |~ \"{COSTLY}\"");
    let native = |more: Value| {
        let mut body = json!({"query": selector});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("POST", "/api/v1/query".to_owned(), body.to_string())
    };
    let short = format!("/api/v1/query?start=1767225600&expression={}", encoded(&format!("message=~\"{COSTLY}\"")));
    let template = format!("{{{{ regexReplaceAll \"{COSTLY}\" __line__ \"\" }}}}");
    let staged = format!("{{app=\"web\"}} | line_format `{template}` |= \"never\"");
    for (method, path, body) in [
        ("GET", range(&selector), String::new()),
        ("GET", range(&staged), String::new()),
        ("GET", range(&format!("sum(count_over_time({selector} [1m]))")), String::new()),
        native(json!({})),
        native(json!({"aggregate": {"by": ["level"]}})),
        ("GET", short, String::new()),
    ] {
        let mut client = begin(&server, method, &path, "default", &body);
        client.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
        let mut answer = [0; 512];
        if let Ok(read) = client.read(&mut answer) {
            panic!("{path} was answered: {}", String::from_utf8_lossy(&answer[..read]));
        }
        wait(&server, RUNNING, LONG, |running| running == 1.0);
        drop(client);
        let left = Instant::now();
        wait(&server, RUNNING, LONG, |running| running == 0.0);
        assert!(left.elapsed() < GONE_MAX, "{path} went on for {:?}", left.elapsed());
    }
    let test = v1::Test { name: "message".to_owned(), op: Some(v1::test::Op::Regex(COSTLY.to_owned())) };
    let filter = Some(v1::Filter { kind: Some(v1::filter::Kind::Test(test)) });
    let request = QueryRequest { filter, ..QueryRequest::default() };
    on(&server, |channel| async move {
        let mut client = TimberLogClient::new(channel);
        let call = tokio::time::timeout(Duration::from_millis(150), client.query(request));
        assert!(call.await.is_err(), "the call was answered");
    });
    wait(&server, RUNNING, GONE_MAX, |running| running == 0.0);
}

#[test]
fn a_tenant_that_asks_a_lot_does_not_starve_another() {
    let server = start_with(|options| options.query_concurrency = 1);
    push(&server, "a", 1, 100);
    push(&server, "b", 1, 1);
    let costly = range(&format!("{{app=\"web\"}} |~ \"{COSTLY}\""));
    let crowd: Vec<TcpStream> = (0..101).map(|_| begin(&server, "GET", &costly, "a", "")).collect();
    wait(&server, WAITING, LONG, |waiting| waiting >= 98.0);
    let before = metric(&server, WAITING);
    let answer = server.send("GET", &range("{app=\"web\"}"), &[("X-Scope-OrgID", "b")], b"");
    assert_eq!(answer.ok()["data"]["result"].as_array().unwrap().len(), 1);
    // Its turn came behind at most the one that ran and one more.
    let after = metric(&server, WAITING);
    assert!(before - after <= 10.0, "of {before} that waited {after} are left");
    drop(crowd);
    wait(&server, WAITING, GONE_MAX, |waiting| waiting == 0.0);
    wait(&server, RUNNING, GONE_MAX, |running| running == 0.0);
}

#[test]
fn clients_that_come_and_go_leave_every_turn_behind() {
    let server = start_with(|options| options.query_concurrency = 2);
    push(&server, "a", 1, 100);
    let costly = range(&format!("{{app=\"web\"}} |~ \"{COSTLY}\""));
    for round in 0..20 {
        let crowd: Vec<TcpStream> =
            (0..8).map(|at| begin(&server, "GET", &costly, ["a", "b", "c"][(at + round) % 3], "")).collect();
        // Some go while they wait, some while they run, some as their turn comes.
        for (at, client) in crowd.into_iter().enumerate() {
            if (at + round) % 4 == 0 {
                metric(&server, WAITING);
            }
            drop(client);
        }
    }
    wait(&server, WAITING, LONG, |waiting| waiting == 0.0);
    wait(&server, RUNNING, LONG, |running| running == 0.0);
    server.get(&range("{app=\"web\"}")).ok();
}

#[test]
fn a_full_line_is_an_answer_and_names_its_limit() {
    let server = start_with(|options| (options.query_concurrency, options.queries_waiting_max) = (1, 1));
    push(&server, "default", 4, 100);
    let costly = range(&format!("{{app=\"web\"}} |~ \"{COSTLY}\""));
    let _crowd = [begin(&server, "GET", &costly, "default", ""), begin(&server, "GET", &costly, "default", "")];
    wait(&server, WAITING, LONG, |waiting| waiting == 1.0);
    let refused = server.get(&range("{app=\"web\"}"));
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert_eq!(refused.text(), "1 queries wait already (limit `--queries-waiting-max`)");
    assert!(server.post("/api/v1/query", "{}").error(429).contains("--queries-waiting-max"));
}

#[test]
fn a_query_that_takes_too_long_is_answered_in_time() {
    let server = start_with(|options| {
        (options.query_timeout, options.query_concurrency) = (Duration::from_millis(500), 1);
    });
    push(&server, "default", 20, 100);
    let costly = range(&format!("sum(count_over_time({{app=\"web\"}} |~ \"{COSTLY}\" [1m]))"));
    let started = Instant::now();
    let late = server.get(&costly);
    assert!(started.elapsed() < Duration::from_millis(500) + GONE_MAX);
    assert_eq!(late.status, 504);
    assert!(late.text().starts_with("request timed out, decrease the duration of the request"), "{}", late.text());
    assert!(late.text().ends_with("the limit is 500 ms (`--query-timeout`)"));
    let body = json!({"query": format!("|~ \"{COSTLY}\"")}).to_string();
    let error = server.post("/api/v1/query", &body).error(429);
    assert!(error.contains("limit on time, 500 ms") && error.contains("--query-timeout"), "{error}");
    // The time in line counts too; who only stood there is told so.
    let wait_until = |running: &str| {
        while !server.get("/metrics").text().contains(&format!("timberlog_queries_running {running}\n")) {
            std::thread::yield_now();
        }
    };
    wait_until("0");
    let _line: Vec<TcpStream> = (0..4).map(|_| begin(&server, "GET", &costly, "default", "")).collect();
    wait(&server, WAITING, LONG, |waiting| waiting == 3.0);
    let started = Instant::now();
    let waited = server.get(&costly);
    assert!(started.elapsed() < Duration::from_millis(500) + GONE_MAX);
    assert_eq!((waited.status, waited.header("retry-after")), (429, Some("1")), "{}", waited.text());
    assert!(waited.text().starts_with("the query waited "), "{}", waited.text());
    assert!(waited.text().contains(" ms of the 500 ms that it may take (`--query-timeout`)"), "{}", waited.text());
}

#[test]
fn every_limit_is_named_in_the_error_that_it_causes() {
    let text = |response: Response, status: u16| {
        assert_eq!(response.status, status, "{}", response.text());
        response.text().to_owned()
    };
    let server = start_with(|options| options.query_bytes_max = 1_000);
    push(&server, "default", 2, 20);
    let flushed = server.database.as_ref().unwrap();
    flushed.flush().unwrap();
    let error = text(server.get(&range("{app=\"web\"} |= \"xxaxx\"")), 429);
    assert!(error.contains("limit on bytes read, 1000;") && error.contains("`--query-bytes-max`"), "{error}");
    assert!(server.post("/api/v1/query", r#"{"line":"xxaxx"}"#).error(429).contains("`--query-bytes-max`"));

    let server = start_with(|options| {
        options.query_memory_bytes_max = 5_000;
        options.query_points_max = 10;
        options.query_series_max = 2;
        options.query_range_series_max = 3;
    });
    push(&server, "default", 1, 20);
    let error = text(server.get(&range("{app=\"web\"}")), 429);
    assert!(error.contains("limit on memory, 5000 bytes") && error.contains("`--query-memory-max`"), "{error}");
    let error = text(server.get(&range("rate({app=\"web\"}[1m])").replace("step=30", "step=5")), 400);
    assert_eq!(
        error,
        "exceeded maximum resolution of 10 points per time series. Try increasing the value of the step parameter \
         (`--query-points-max`)"
    );
    let labels = |count: usize| {
        let streams: Vec<Value> = (0..count)
            .map(|at| json!({"stream": {"app": format!("s{at}")}, "values": [["1767225601000000000", "l"]]}))
            .collect();
        server.post("/loki/api/v1/push", json!({ "streams": streams }).to_string())
    };
    assert_eq!(labels(3).status, 204);
    let error = text(server.get(&range("count_over_time({app=~\"s.\"}[1m])")), 400);
    assert!(
        error.starts_with("maximum number of series (2) reached for a single query; consider reducing query"),
        "{error}"
    );
    assert!(error.ends_with("(`--query-series-max`)"), "{error}");
    // It is what the outermost aggregation leaves that counts.
    server.get(&range("sum(count_over_time({app=~\"s.\"}[1m]))")).ok();
    assert_eq!(labels(4).status, 204);
    let error = text(server.get(&range("sum(max by (app) (count_over_time({app=~\"s.\"}[1m])))")), 400);
    assert!(error.contains("more than 3 series") && error.contains("`--query-range-series-max`"), "{error}");
}

const ANSWERS: &str = "timberlog_answers_bytes";

/// A server where one query runs at a time, and one whose answer is 16 MB.
fn with_a_long_answer(write_timeout: Duration) -> (Running, String) {
    let server = start_with(|options| {
        options.query_concurrency = 1;
        options.answers_bytes_max = 4 << 20;
        options.write_timeout = write_timeout;
    });
    push(&server, "default", 2, 500);
    let long = range(&format!("{{app=\"web\"}} | line_format \"{}\"", "{{ __line__ }}".repeat(16)));
    (server, long + "&limit=1000")
}

#[test]
fn a_client_that_reads_slowly_holds_no_turn_but_memory() {
    let (server, long) = with_a_long_answer(Duration::from_secs(600));
    let client = begin(&server, "GET", &long, "default", "");
    wait(&server, ANSWERS, LONG, |bytes| bytes > 15e6);
    wait(&server, RUNNING, LONG, |running| running == 0.0);
    // Another one that is long finds no room, a short one is answered.
    let refused = server.get(&long);
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("`--answers-bytes-max`"), "{}", refused.text());
    server.get(&(range("{app=\"web\"}") + "&limit=10")).ok();
    drop(client);
    wait(&server, ANSWERS, LONG, |bytes| bytes == 0.0);
}

#[test]
fn an_answer_that_nobody_reads_is_forgotten() {
    let (server, long) = with_a_long_answer(Duration::from_secs(3));
    let mut client = begin(&server, "GET", &long, "default", "");
    let mut head = [0; 12];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    // Its client is still there.
    wait(&server, ANSWERS, LONG, |bytes| bytes == 0.0);
    assert_eq!(server.get(&long).ok()["data"]["result"][0]["values"].as_array().unwrap().len(), 1_000);
    wait(&server, ANSWERS, LONG, |bytes| bytes == 0.0);
    let mut rest = Vec::new();
    // Cut off before its end.
    let _ = client.read_to_end(&mut rest);
    assert!(rest.len() < 15_000_000, "{}", rest.len());
}
