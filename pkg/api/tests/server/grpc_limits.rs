//! What gRPC clients may take: memory of messages, connections.

use crate::grpc::{append, batch, entry, on};
use crate::harness::{Running, start_with};
use bytes::Bytes;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use timberlog_proto::logapi::log_ingestor_client::LogIngestorClient;
use timberlog_proto::logapi::{LogBatch, LogEntry};
use timberlog_proto::v1::AppendRequest;
use timberlog_proto::v1::timber_log_client::TimberLogClient;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Status};

const BUDGET: usize = 50_000;

fn long(bytes: usize) -> LogBatch {
    LogBatch { entries: vec![entry(&"x".repeat(bytes), 0)] }
}

async fn upload(channel: Channel, bytes: usize) -> Result<bool, Status> {
    LogIngestorClient::new(channel).upload_logs(long(bytes)).await.map(|answer| answer.into_inner().success)
}

/// Waits until so many bytes of bodies are in memory.
fn wait_for_bytes(server: &Running, bytes: usize) {
    let line = format!("timberlog_request_bodies_bytes {bytes}\n");
    let end = Instant::now() + Duration::from_secs(60);
    while !server.get("/metrics").text().contains(&line) {
        assert!(Instant::now() < end, "{line}");
        std::thread::yield_now();
    }
}

fn is_full(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("bodies_bytes_max"), "{status}");
    assert_eq!(status.metadata().get("retry-after").unwrap(), "1");
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
}

#[test]
fn messages_share_the_budget_of_bodies() {
    let server = start_with(|options| options.bodies_bytes_max = BUDGET);
    is_full(&on(&server, |channel| upload(channel, BUDGET)).unwrap_err());
    // Nothing of it stays counted.
    wait_for_bytes(&server, 0);
    assert!(on(&server, |channel| upload(channel, BUDGET / 2)).unwrap());
    // A body of HTTP that is under way takes its part.
    let mut stream = TcpStream::connect(server.http).unwrap();
    let head = format!("POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: {BUDGET}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b' '; BUDGET * 3 / 4]).unwrap();
    wait_for_bytes(&server, BUDGET * 3 / 4);
    is_full(&on(&server, |channel| upload(channel, BUDGET / 2)).unwrap_err());
    drop(stream);
    wait_for_bytes(&server, 0);
    assert!(on(&server, |channel| upload(channel, BUDGET / 2)).unwrap());
    wait_for_bytes(&server, 0);
}

#[test]
fn a_stream_gives_back_what_each_message_took() {
    let server = start_with(|options| options.bodies_bytes_max = BUDGET);
    let text = "x".repeat(BUDGET / 4);
    let sent = (1..=20).map(|number| batch("", number, &[&text])).collect();
    let answers = on(&server, |channel| async move { append(&mut TimberLogClient::new(channel), sent).await });
    assert_eq!(answers.iter().map(|answer| answer.accepted).sum::<u32>(), 20);
    wait_for_bytes(&server, 0);
    let too_long = batch("", 1, &[&"x".repeat(BUDGET)]);
    let status = on(&server, |channel| async move {
        let mut client = TimberLogClient::new(channel);
        let mut answers = client.append(tokio_stream::once(too_long)).await.unwrap().into_inner();
        answers.message().await.unwrap_err()
    });
    is_full(&status);
    wait_for_bytes(&server, 0);
}

#[test]
fn what_a_message_decompresses_to_counts_too() {
    let server = start_with(|options| options.bodies_bytes_max = BUDGET);
    let status = on(&server, |channel| async move {
        let mut client = LogIngestorClient::new(channel).send_compressed(CompressionEncoding::Zstd);
        client.upload_logs(long(BUDGET)).await.unwrap_err()
    });
    is_full(&status);
    // One batch of a stream is refused, the next one is not.
    let sent = vec![batch("p", 1, &[&"x".repeat(BUDGET)]), batch("p", 2, &["short"])];
    let answers = on(&server, |channel| async move {
        append(&mut TimberLogClient::new(channel).send_compressed(CompressionEncoding::Gzip), sent).await
    });
    let error = answers[0].error.as_ref().unwrap();
    assert_eq!((error.code, error.retry_after_ms), (i32::from(Code::ResourceExhausted), 1000));
    assert_eq!((answers[1].accepted, answers[1].error.as_ref()), (1, None));
    wait_for_bytes(&server, 0);
}

#[test]
fn what_is_empty_takes_no_more_than_its_bytes() {
    let server = start_with(|options| options.bodies_bytes_max = BUDGET);
    // Two bytes each.
    let count = BUDGET / 2 - 100;
    let entries = LogBatch { entries: vec![LogEntry::default(); count] };
    let records = AppendRequest { records: vec![Bytes::new(); count], ..AppendRequest::default() };
    on(&server, |channel| async move {
        assert!(LogIngestorClient::new(channel.clone()).upload_logs(entries).await.unwrap().into_inner().success);
        let answers = append(&mut TimberLogClient::new(channel), vec![records]).await;
        assert_eq!((answers[0].error.as_ref(), answers[0].accepted as usize), (None, count));
    });
    wait_for_bytes(&server, 0);
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = start_with(|options| options.connections_max = 1);
    let address = format!("http://{}", server.grpc);
    let connect = || Channel::from_shared(address.clone()).unwrap().connect_lazy();
    let _runtime = server.runtime.enter();
    let first = connect();
    assert!(server.runtime.block_on(upload(first.clone(), 1)).unwrap());
    let second = server.runtime.spawn(upload(connect(), 2));
    for _ in 0..20 {
        assert!(server.runtime.block_on(upload(first.clone(), 1)).unwrap());
    }
    assert!(!second.is_finished());
    drop(first);
    assert!(server.runtime.block_on(second).unwrap().unwrap());
}
