//! Health, readiness, metrics, errors of the server as a whole, start and end.

use crate::harness::{start, start_unopened, start_with};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use timberlog_types::{Error, ErrorKind};

#[test]
fn a_starting_server_says_how_far_it_is() {
    let server = start_unopened(|_| ());
    server.progress.total_bytes.store(200, Ordering::Relaxed);
    server.progress.done_bytes.store(50, Ordering::Relaxed);
    for path in ["/ready", "/api/v1/readyz"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        let answer = answer.json();
        assert_eq!(answer["status"], "starting");
        assert_eq!(answer["replay"]["done_bytes"], 50);
        assert_eq!(answer["replay"]["progress"], 0.25);
    }
    for path in ["/health", "/api/v1/healthz"] {
        assert_eq!(server.get(path).ok()["status"], "ok");
    }
    assert!(server.post("/ingest", r#"{"message":"x"}"#).error(503).contains("50 of 200"));
    server.get("/logs").error(503);
    server.get("/stats").error(503);
    server.post("/api/v1/query", "{}").error(503);
    assert!(server.get("/metrics").text().contains("timberlog_ready 0"));
    server.opening.opened(Err(Error::new(ErrorKind::Corrupt, "the manifest is damaged")));
    let answer = server.get("/ready");
    assert_eq!((answer.status, answer.json()["status"].as_str().unwrap().to_owned()), (503, "failed".to_owned()));
    assert!(server.get("/logs").error(503).contains("the manifest is damaged"));
}

#[test]
fn an_open_server_is_ready() {
    let server = start();
    for path in ["/ready", "/api/v1/readyz"] {
        assert_eq!(server.get(path).ok()["status"], "ready");
    }
    assert!(server.get("/").text().contains("/ingest"));
    assert_eq!(server.get("/").header("content-type"), Some("text/html; charset=utf-8"));
}

#[test]
fn unknown_paths_and_methods_are_json_errors() {
    let server = start();
    assert!(server.get("/nowhere").error(404).contains("/nowhere"));
    server.post("/", "").error(405);
    let answer = server.get("/ingest");
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("POST")));
    answer.error(405);
    server.send("DELETE", "/logs", &[], b"").error(405);
}

#[test]
fn metrics_and_statistics_count() {
    let server = start();
    server.post("/ingest", "{\"message\":\"a\"}\n{}\n{\"message\":\"b\"}").ok();
    let stats = server.get("/stats").ok();
    assert_eq!(
        (&stats["total_processed"], &stats["total_dropped"], &stats["logs_in_storage"]),
        (&2.into(), &1.into(), &2.into())
    );
    assert!(stats["uptime_seconds"].as_f64().unwrap() > 0.0 && stats["avg_throughput"].as_f64().unwrap() > 0.0);
    assert_eq!(server.get("/api/v1/stats").ok()["rows_total"], 2);
    let metrics = server.get("/metrics");
    let text = metrics.text();
    for line in [
        "timberlog_ready 1",
        "timberlog_records_accepted_total{protocol=\"ingest\"} 2",
        "timberlog_records_refused_total{protocol=\"ingest\"} 1",
        "timberlog_records_appended_total 2",
        "timberlog_http_requests_total{route=\"/ingest\",status=\"200\"} 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn requests_on_one_connection_are_answered_in_turn() {
    let server = start();
    let mut stream = TcpStream::connect(server.http).unwrap();
    let request = "POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"message\":\"x\"}";
    stream.write_all(request.repeat(3).as_bytes()).unwrap();
    let last = "GET /stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(last.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 4, "{answers}");
    assert_eq!(answers.matches("\"accepted\":1").count(), 3);
}

#[test]
fn what_stands_behind_a_request_does_not_cost_it_its_answer() {
    let server = start();
    let request = "POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"message\":\"x\"}";
    let closing = request.replace("Host: x", "Host: x\r\nConnection: close");
    for (sent, answers) in
        [(format!("{request}\0\r\n\r\n"), [200, 400].as_slice()), (format!("{closing}{request}"), &[200])]
    {
        let mut stream = TcpStream::connect(server.http).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut received = Vec::new();
        // What the server did not read may reset the connection, behind the answers.
        let _ = stream.read_to_end(&mut received);
        let received = String::from_utf8(received).unwrap();
        let expected: Vec<String> = answers.iter().map(|status| format!("HTTP/1.1 {status}")).collect();
        let found: Vec<&str> = received.matches("HTTP/1.1 200").chain(received.matches("HTTP/1.1 400")).collect();
        assert_eq!(found, expected, "{sent:?} was answered with {received:?}");
    }
    server.raw(format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000)).as_bytes());
}

#[test]
fn a_client_that_stops_sending_is_let_go() {
    let server = start_with(|options| options.read_timeout = std::time::Duration::from_millis(200));
    let answer = server.raw(b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"message\"");
    assert!(answer.error(408).contains("body"));
}

#[test]
fn a_client_that_sends_byte_by_byte_is_let_go() {
    let server = start_with(|options| options.read_timeout = std::time::Duration::from_millis(200));
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.write_all(b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
    let (mut answer, mut sent) = ([0; 12], 0);
    while stream.peek(&mut answer).is_err() {
        // It may be closed by now; then the answer is there.
        let _ = stream.write_all(b" ");
        sent += 1;
        assert!(sent < 1_000, "still reading after {sent} bytes");
    }
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[test]
fn bodies_beyond_the_budget_wait_for_another_day() {
    let server = start_with(|options| options.bodies_bytes_max = 1000);
    let answer = server.post("/ingest", vec![b' '; 2000]);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.error(429).contains("bodies_bytes_max"));
    server.post("/ingest", r#"{"message":"x"}"#).ok();
}

#[test]
fn announced_bodies_shut_nobody_out() {
    let server = start_with(|options| options.bodies_bytes_max = options.body_bytes_max);
    let announced: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(server.http).unwrap();
            let head = format!("POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{{", 64 << 20);
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    while !server.get("/metrics").text().contains("timberlog_request_bodies_bytes 8\n") {
        std::thread::yield_now();
    }
    server.post("/ingest", r#"{"message":"x"}"#).ok();
    drop(announced);
}

#[test]
fn a_tenant_whose_bodies_take_the_room_leaves_some_for_others() {
    let server = start_with(|options| options.bodies_bytes_max = 90_000);
    let begun: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut stream = TcpStream::connect(server.http).unwrap();
            let head = "POST /ingest HTTP/1.1\r\nHost: x\r\nX-Scope-OrgID: flood\r\nContent-Length: 20000\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&vec![b' '; 10_000]).unwrap();
            stream
        })
        .collect();
    // The ninth would leave nothing, and the tenth is the ninth then.
    while !server.get("/metrics").text().contains("timberlog_request_bodies_bytes 80000\n") {
        std::thread::yield_now();
    }
    let told = server.send("POST", "/ingest", &[("X-Scope-OrgID", "flood")], &[b' '; 5_000]).error(429);
    assert!(told.contains("of tenant `flood`") && told.contains("bodies_bytes_max"), "{told}");
    let record = format!(r#"{{"message":"{}"}}"#, "x".repeat(5_000));
    server.post("/ingest", record).ok();
    drop(begun);
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let server = start_with(|options| options.read_timeout = std::time::Duration::from_millis(200));
    for addr in [server.http, server.grpc] {
        for said in ["", "P", "PRI * HTTP/2"] {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
            stream.write_all(said.as_bytes()).unwrap();
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{addr} after {said:?}"),
            }
        }
    }
}

#[test]
fn a_stopping_server_answers_what_is_under_way() {
    let mut server = start();
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.write_all(b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"mess").unwrap();
    // Once another request was answered the first one is under way as well, or at least connected.
    while !server.get("/metrics").text().contains("timberlog_request_bodies_bytes 6") {
        std::thread::yield_now();
    }
    server.tell_to_stop();
    // The listener goes first.
    while TcpStream::connect(server.http).is_ok() {
        std::thread::yield_now();
    }
    stream.write_all(b"age\":\"x\"}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    server.join();
    assert_eq!(server.database.as_ref().unwrap().stats().records_appended, 1);
}

#[test]
fn rubbish_on_the_wire_ends_a_connection_and_nothing_else() {
    let server = start();
    for rubbish in [
        &b"\0\x01\x02\xff\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /ingest HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.http).unwrap();
        stream.write_all(rubbish).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    }
    server.get("/health").ok();
}
