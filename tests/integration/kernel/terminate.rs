//! SIGTERM in the middle of requests: what is under way is answered, what is new is refused, and the next start has
//! nothing to replay. A second signal, or the end of the grace period, ends it.

use super::{BATCH, Ledger, body, engine, poll, tool};
use crate::server::{Data, PATIENCE, Server};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn signal(server: &Server, name: &str) {
    tool("kill", &[name, &server.pid().to_string()]).expect("a process");
}

/// A batch on its way: all but the end of its body is sent.
struct HalfSent {
    stream: TcpStream,
    rest: Vec<u8>,
    batch: u64,
}

impl HalfSent {
    fn new(server: &Server, ledger: &Ledger) -> Self {
        let batch = ledger.take();
        let mut body = body(batch);
        let address = server.http.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("a server");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let head = format!(
            "POST /ingest HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let rest = body.split_off(body.len() / 2);
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).expect("a server that reads");
        Self { stream, rest, batch }
    }

    /// Sends the rest and reads the answer until the connection is closed.
    fn finish(mut self, ledger: &Ledger) -> String {
        self.stream.write_all(&self.rest).expect("a server that reads");
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(&format!("\"accepted\":{BATCH}")), "{answer}");
        ledger.note(self.batch, &Ok(()));
        answer
    }
}

fn refuses_connections(server: &Server) -> Option<()> {
    let mut stream = match TcpStream::connect(server.http.trim_start_matches("http://")) {
        Err(_) => return Some(()),
        Ok(stream) => stream,
    };
    // Accepted by the kernel just before the listener was gone: closed without a word.
    let _ = stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer.is_empty().then_some(())
}

#[test]
fn sigterm_answers_what_is_under_way_and_leaves_nothing_to_replay() {
    let data = Data::new();
    let ledger = Ledger::default();
    let server = Server::start(&data, &[]);
    for _ in 0..3 {
        ledger.send(&server).expect("stored");
    }
    let under_way: Vec<HalfSent> = (0..3).map(|_| HalfSent::new(&server, &ledger)).collect();
    // A connection that waits for nothing must not hold it up.
    let idle = TcpStream::connect(server.http.trim_start_matches("http://")).expect("a server");
    let export = export_under_way(&server);
    signal(&server, "-TERM");
    poll("new connections are refused", || refuses_connections(&server));
    for request in under_way {
        request.finish(&ledger);
    }
    drop(export);
    let started = Instant::now();
    let status = server.wait();
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < Duration::from_secs(15), "held up by an idle connection: {:?}", started.elapsed());
    drop(idle);

    let server = Server::start(&data, &[]);
    let engine = engine(&server);
    assert_eq!(engine["buffer_records"], 0, "nothing is replayed: {engine}");
    assert_eq!(ledger.acknowledged(), 6);
    ledger.check(&server);
}

/// An export whose client has read its head.
fn export_under_way(server: &Server) -> TcpStream {
    let address = server.http.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a server");
    let request = format!(
        "POST /api/v1/export HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    stream.write_all(request.as_bytes()).expect("a server that reads");
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

#[test]
fn a_second_sigterm_ends_it_at_once_and_loses_nothing() {
    let data = Data::new();
    let ledger = Ledger::default();
    let server = Server::start(&data, &[]);
    for _ in 0..3 {
        ledger.send(&server).expect("stored");
    }
    let half = HalfSent::new(&server, &ledger);
    signal(&server, "-TERM");
    poll("new connections are refused", || refuses_connections(&server));
    let started = Instant::now();
    signal(&server, "-TERM");
    let status = server.wait();
    assert_eq!(status.code(), Some(1));
    assert!(started.elapsed() < Duration::from_secs(10), "it waited for the request: {:?}", started.elapsed());
    ledger.note::<()>(half.batch, &Err(timberlog_types::Error::internal("never sent whole")));
    let server = Server::start(&data, &[]);
    ledger.check(&server);
}

#[test]
fn the_end_of_the_grace_period_ends_it_cleanly() {
    let data = Data::new();
    let ledger = Ledger::default();
    let server = Server::start(&data, &["--drain-timeout", "300ms"]);
    for _ in 0..3 {
        ledger.send(&server).expect("stored");
    }
    // Its rest never comes.
    let half = HalfSent::new(&server, &ledger);
    ledger.note::<()>(half.batch, &Err(timberlog_types::Error::internal("never sent whole")));
    let started = Instant::now();
    signal(&server, "-TERM");
    let status = server.wait();
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    drop(half);
    let server = Server::start(&data, &[]);
    assert_eq!(engine(&server)["buffer_records"], 0);
    ledger.check(&server);
}
