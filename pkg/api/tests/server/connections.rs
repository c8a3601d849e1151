//! Idle connections make room for others, and end after a time; those with a request under way do not.

use crate::grpc::{append, batch, on};
use crate::harness::{Running, start_with};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use timberlog_api::ServerOptions;
use timberlog_proto::v1::TailRequest;
use timberlog_proto::v1::timber_log_client::TimberLogClient;
use tonic::transport::Channel;

const GOAWAY: u8 = 7;
const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// A connection of HTTP/2 that has said hello and nothing else.
fn http2(addr: SocketAddr) -> TcpStream {
    let mut stream = connect(addr);
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").unwrap();
    stream
}

/// The types of the frames that come until the server closes.
fn frames(mut stream: TcpStream) -> Vec<u8> {
    let mut frames = Vec::new();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).is_ok() {
        frames.push(head[3]);
        stream.read_exact(&mut vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize]).unwrap();
    }
    frames
}

/// Asks on a connection that stays open.
fn ask(stream: &mut TcpStream) {
    stream.write_all(HEALTH).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"{\"status\":\"ok\"}") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
}

/// Waits until a metric has a value. Its own connection finds its place like any other.
fn wait_for(server: &Running, metric: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while !server.get("/metrics").text().lines().any(|line| line == metric) {
        assert!(Instant::now() < end, "{metric}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn two(options: &mut ServerOptions) {
    options.connections_max = 2;
    options.write_timeout = Duration::from_millis(200);
}

#[test]
fn the_one_that_is_idle_the_longest_makes_room() {
    let server = start_with(two);
    let mut first = connect(server.http);
    ask(&mut first);
    let mut second = connect(server.http);
    ask(&mut second);
    server.get("/health").ok();
    assert_eq!(first.read(&mut [0]).unwrap(), 0);
    ask(&mut second);
    wait_for(&server, "timberlog_connections_closed_total{listener=\"http\",reason=\"room\"} 1");
}

#[test]
fn idle_http2_makes_room_and_is_told_so() {
    let server = start_with(two);
    for addr in [server.http, server.grpc] {
        let idle = [http2(addr), http2(addr)];
        let third = http2(addr);
        // It is silent too, and not told: for the place of another one.
        let [first, _second] = idle;
        let frames = frames(first);
        assert!(frames.contains(&GOAWAY), "{frames:?}");
        drop(third);
    }
    let channel = || Channel::from_shared(format!("http://{}", server.grpc)).unwrap().connect_lazy();
    let _runtime = server.runtime.enter();
    let channels: Vec<_> = (0..4).map(|_| channel()).collect();
    // Twice: whose connection was closed makes a new one, and no call fails.
    for (number, channel) in channels.iter().chain(&channels).enumerate() {
        let call = async {
            append(&mut TimberLogClient::new(channel.clone()), vec![batch("p", number as u64 + 1, &["x"])]).await
        };
        assert_eq!(server.runtime.block_on(call)[0].accepted, 1);
    }
}

#[test]
fn a_request_under_way_is_not_cut() {
    let server = start_with(two);
    let mut slow = connect(server.http);
    slow.write_all(b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"mess").unwrap();
    wait_for(&server, "timberlog_request_bodies_bytes 6");
    let mut other = connect(server.http);
    other.write_all(b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"mess").unwrap();
    let mut waiting = connect(server.http);
    waiting.write_all(HEALTH).unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    assert!(waiting.read(&mut [0]).is_err(), "there was no room");
    waiting.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    for stream in [&mut slow, &mut other] {
        stream.write_all(b"age\":\"x\"}").unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    // Answered, they are idle.
    let mut answer = [0; 12];
    waiting.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn a_connection_that_is_idle_for_too_long_ends() {
    let server = start_with(|options| {
        options.idle_timeout = Duration::from_millis(300);
        options.write_timeout = Duration::from_millis(300);
    });
    for addr in [server.http, server.grpc] {
        let frames = frames(http2(addr));
        assert!(frames.contains(&GOAWAY), "{frames:?}");
    }
    let mut stream = connect(server.http);
    ask(&mut stream);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    wait_for(&server, "timberlog_connections_closed_total{listener=\"http\",reason=\"idle\"} 2");
    let grpc = server.grpc;
    // A call under way keeps its connection, however quiet it is.
    on(&server, |channel| async move {
        let mut tail = TimberLogClient::new(channel).tail(TailRequest::default()).await.unwrap().into_inner();
        assert!(tokio::time::timeout(Duration::from_millis(1500), tail.message()).await.is_err());
        on_another(grpc).await;
        assert_eq!(tail.message().await.unwrap().unwrap().records.len(), 1);
    });
}

async fn on_another(grpc: SocketAddr) {
    let channel = Channel::from_shared(format!("http://{grpc}")).unwrap().connect().await.unwrap();
    assert_eq!(append(&mut TimberLogClient::new(channel), vec![batch("", 1, &["x"])]).await[0].accepted, 1);
}
