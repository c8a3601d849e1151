//! Tails over a WebSocket: what was there, what comes, and the end.

use crate::harness::{Running, start, start_with};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A WebSocket client that is simple enough to read without one.
struct Client {
    stream: TcpStream,
    head: String,
}

/// A message of the server.
#[derive(Debug, PartialEq)]
enum Message {
    Text(Value),
    Close(u16, String),
}

impl Client {
    fn connect(server: &Running, query: &str) -> Self {
        let mut stream = TcpStream::connect(server.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let request = format!(
            "GET /loki/api/v1/tail?{query} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        Self { stream, head: String::from_utf8(head).unwrap() }
    }

    fn read(&mut self) -> Message {
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).unwrap();
            let len = match head[1] {
                126 => {
                    let mut len = [0; 2];
                    self.stream.read_exact(&mut len).unwrap();
                    u64::from(u16::from_be_bytes(len))
                }
                127 => {
                    let mut len = [0; 8];
                    self.stream.read_exact(&mut len).unwrap();
                    u64::from_be_bytes(len)
                }
                len => u64::from(len),
            };
            let mut payload = vec![0; len as usize];
            self.stream.read_exact(&mut payload).unwrap();
            match head[0] & 0x0f {
                1 => return Message::Text(serde_json::from_slice(&payload).unwrap()),
                8 => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return Message::Close(code, String::from_utf8(payload[2..].to_vec()).unwrap());
                }
                _ => {}
            }
        }
    }

    /// The lines of the next message.
    fn lines(&mut self) -> Vec<String> {
        let Message::Text(message) = self.read() else { panic!("the tail ended") };
        let streams = message["streams"].as_array().unwrap();
        let values = streams.iter().flat_map(|stream| stream["values"].as_array().unwrap());
        values.map(|value| value[1].as_str().unwrap().to_owned()).collect()
    }
}

fn push(server: &Running, app: &str, line: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let body = json!({"streams": [{"stream": {"app": app}, "values": [[now.to_string(), line]]}]});
    assert_eq!(server.post("/loki/api/v1/push", body.to_string()).status, 204);
}

/// `{app="web"} |= "x"`
const QUERY: &str = "query=%7Bapp%3D%22web%22%7D%20%7C%3D%20%22x%22";

#[test]
fn a_tail_shows_what_was_there_and_then_what_comes() {
    let server = start();
    for (app, line) in [("web", "x1"), ("web", "y"), ("db", "x"), ("web", "x2")] {
        push(&server, app, line);
    }
    let mut client = Client::connect(&server, QUERY);
    assert!(client.head.starts_with("HTTP/1.1 101 "), "{}", client.head);
    assert_eq!(client.lines(), ["x1", "x2"]);
    push(&server, "db", "x");
    push(&server, "web", "x3");
    assert_eq!(client.lines(), ["x3"]);
    // The newest lines of what was there.
    let mut limited = Client::connect(&server, &format!("{QUERY}&limit=1"));
    assert_eq!(limited.lines(), ["x3"]);
}

#[test]
fn lines_wait_as_long_as_they_are_told() {
    let server = start();
    push(&server, "web", "x0");
    let mut client = Client::connect(&server, &format!("{QUERY}&delay_for=1"));
    // What was there when the tail began, which may be after its answer, does not wait.
    assert_eq!(client.lines(), ["x0"]);
    let started = Instant::now();
    push(&server, "web", "x1");
    assert_eq!(client.lines(), ["x1"]);
    assert!(started.elapsed() > Duration::from_millis(500));
}

#[test]
fn lines_of_several_streams_come_by_time() {
    let server = start();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let stream = |pod: &str, first: u128| {
        let values = [first, first + 2].map(|at| [(now + at).to_string(), format!("x{at}")]);
        json!({"stream": {"app": "web", "pod": pod}, "values": values})
    };
    let body = json!({"streams": [stream("b", 0), stream("a", 1)]});
    assert_eq!(server.post("/loki/api/v1/push", body.to_string()).status, 204);
    // logcli prints lines in the order in which a message has them.
    assert_eq!(Client::connect(&server, QUERY).lines(), ["x0", "x1", "x2", "x3"]);
}

/// logcli and Grafana come back to a tail that ends without a close frame, and only to such a one.
#[test]
fn a_tail_ends_with_the_server_without_a_close_frame() {
    let mut server = start();
    let mut client = Client::connect(&server, QUERY);
    server.tell_to_stop();
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).unwrap();
    assert!(rest.chunks(2).all(|frame| frame == [0x89, 0]), "nothing but pings: {rest:?}");
}

#[test]
fn a_client_that_goes_gives_its_place_back() {
    let server = start_with(|options| options.tails_max = 1);
    let client = Client::connect(&server, QUERY);
    assert!(client.head.starts_with("HTTP/1.1 101 "));
    let refused = Client::connect(&server, QUERY);
    assert!(refused.head.starts_with("HTTP/1.1 429 "), "{}", refused.head);
    drop(client);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !Client::connect(&server, QUERY).head.starts_with("HTTP/1.1 101 ") {
        assert!(Instant::now() < deadline, "the place was not given back");
        std::thread::yield_now();
    }
}

#[test]
fn a_client_that_answers_no_ping_gives_its_place_back() {
    let server = start_with(|options| (options.tails_max, options.write_timeout) = (1, Duration::from_millis(300)));
    let mut silent = Client::connect(&server, QUERY);
    assert!(silent.head.starts_with("HTTP/1.1 101 "));
    let mut rest = Vec::new();
    // It reads to the end, but never says a word.
    let _ = silent.stream.read_to_end(&mut rest);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !Client::connect(&server, QUERY).head.starts_with("HTTP/1.1 101 ") {
        assert!(Instant::now() < deadline, "the place was not given back");
        std::thread::yield_now();
    }
    assert!(rest.starts_with(&[0x89, 0]), "it was asked: {rest:?}");
}

#[test]
fn a_malformed_stage_is_refused_before_the_upgrade() {
    let server = start();
    // {a="b"} | json x="b["
    let refused = Client::connect(&server, "query=%7Ba%3D%22b%22%7D%7Cjson%20x%3D%22b%5B%22");
    assert!(refused.head.starts_with("HTTP/1.1 400 "), "{}", refused.head);
}

#[test]
fn who_does_not_upgrade_is_told() {
    let server = start();
    let response = server.get(&format!("/loki/api/v1/tail?{QUERY}"));
    assert_eq!(response.status, 400);
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    for (delay, why) in
        [("6", "delay_for can't be greater than 5"), ("-1", "delay_for value -1 is out of range [0, 4294967295]")]
    {
        let refused = server.get(&format!("/loki/api/v1/tail?{QUERY}&delay_for={delay}"));
        assert_eq!((refused.status, refused.text()), (400, why));
    }
    let metric = server.get("/loki/api/v1/tail?query=vector(1)");
    assert_eq!((metric.status, metric.text()), (400, "only log selector is supported"));
}
