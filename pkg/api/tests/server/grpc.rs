//! gRPC through real clients: LogsGo's service, ours, reflection, health.

use crate::harness::{Running, start, start_in, start_unopened};
use bytes::Bytes;
use prost::Message;
use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, Instant};
use timberlog_disk::sim::{Fault, Op, Sim};
use timberlog_proto::logapi::log_ingestor_client::LogIngestorClient;
use timberlog_proto::logapi::{LogBatch, LogEntry};
use timberlog_proto::v1::timber_log_client::TimberLogClient;
use timberlog_proto::v1::{self, AppendRequest, AppendResponse, Durability, QueryRequest, Record, TailRequest};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::health_check_response::ServingStatus;

pub fn on<T, F: Future<Output = T>>(server: &Running, work: impl FnOnce(Channel) -> F) -> T {
    let address = format!("http://{}", server.grpc);
    server.runtime.block_on(async move {
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        work(channel).await
    })
}

pub fn entry(message: &str, timestamp: i64) -> LogEntry {
    LogEntry {
        service: "web".to_owned(),
        level: "WARN".to_owned(),
        message: message.to_owned(),
        timestamp,
        labels: HashMap::from([("env".to_owned(), "prod".to_owned())]),
    }
}

pub fn record(message: &str) -> Record {
    let value = |kind| Some(v1::Value { kind: Some(kind) });
    Record {
        timestamp_ns: Some(1_700_000_000_000_000_001),
        level: Some("CRITICAL".to_owned()),
        service: "pay".to_owned(),
        message: message.to_owned(),
        labels: HashMap::from([("env".to_owned(), "prod".to_owned())]),
        fields: vec![
            v1::Field { name: "amount".to_owned(), value: value(v1::value::Kind::Number("12.50".to_owned())) },
            v1::Field { name: "card".to_owned(), value: value(v1::value::Kind::Text("visa".to_owned())) },
        ],
    }
}

pub fn batch(producer: &str, number: u64, messages: &[&str]) -> AppendRequest {
    let records = messages.iter().map(|message| record(message).encode_to_vec().into()).collect();
    AppendRequest { records, producer: producer.to_owned(), number, strict: false }
}

pub async fn append(client: &mut TimberLogClient<Channel>, requests: Vec<AppendRequest>) -> Vec<AppendResponse> {
    let answers = client.append(tokio_stream::iter(requests)).await.unwrap().into_inner();
    answers.map(Result::unwrap).collect().await
}

/// A record whose time is refused.
fn far_ahead() -> Bytes {
    Record { timestamp_ns: Some(i64::MAX), ..record("far ahead") }.encode_to_vec().into()
}

async fn all(client: &mut TimberLogClient<Channel>, request: QueryRequest) -> Vec<Record> {
    let answers = client.query(request).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    answers.into_iter().flat_map(|answer| answer.records).collect()
}

#[test]
fn logs_go_uploads_one_and_many() {
    let server = start();
    on(&server, |channel| async move {
        let mut client = LogIngestorClient::new(channel);
        let answer = client.upload_log(entry("one", 1_700_000_000)).await.unwrap();
        assert_eq!(answer.metadata().get("x-timberlog-durability").unwrap(), "fsync");
        assert!(answer.into_inner().success);
        let entries = vec![entry("two", 0), entry("three", 1_700_000_001)];
        assert!(client.upload_logs(LogBatch { entries }).await.unwrap().into_inner().success);
        // One bad entry refuses the batch, and an empty batch is none.
        let entries = vec![entry("four", 0), entry("five", i64::MAX)];
        let status = client.upload_logs(LogBatch { entries }).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("index 1"), "{}", status.message());
        assert_eq!(client.upload_logs(LogBatch::default()).await.unwrap_err().code(), Code::InvalidArgument);
    });
    let logs = server.get("/logs?level=warn").ok();
    assert_eq!(logs["count"], 3);
    assert_eq!(logs["logs"][2]["message"], "one");
    assert_eq!(logs["logs"][2]["metadata"]["env"], "prod");
}

#[test]
fn the_tenant_comes_from_the_metadata() {
    let server = start();
    on(&server, |channel| async move {
        let mut client = LogIngestorClient::new(channel);
        let upload = |tenant: &str| {
            let mut request = Request::new(entry("x", 0));
            request.metadata_mut().insert("x-scope-orgid", tenant.parse().unwrap());
            request
        };
        client.upload_log(upload("team-a")).await.unwrap();
        for tenant in ["..", "a/b"] {
            assert_eq!(client.upload_log(upload(tenant)).await.unwrap_err().code(), Code::InvalidArgument);
        }
    });
    assert_eq!(server.get("/logs/recent").ok()["count"], 0);
    assert_eq!(server.send("GET", "/logs/recent", &[("X-Scope-OrgID", "team-a")], b"").ok()["count"], 1);
}

#[test]
fn batches_are_acknowledged_in_order_and_once() {
    let server = start();
    on(&server, |channel| async move {
        let mut client = TimberLogClient::new(channel);
        let mut future = batch("p", 4, &["good", "far ahead"]);
        future.records[1] = far_ahead();
        let strict = AppendRequest { strict: true, number: 5, ..future.clone() };
        let answers = append(
            &mut client,
            vec![
                batch("p", 1, &["a", "b"]),
                batch("p", 1, &["a", "b"]),
                batch("", 9, &["c"]),
                batch("p", 3, &[]),
                future,
                strict,
            ],
        )
        .await;
        let numbers: Vec<u64> = answers.iter().map(|answer| answer.number).collect();
        assert_eq!(numbers, [1, 1, 9, 3, 4, 5]);
        let accepted: Vec<u32> = answers.iter().map(|answer| answer.accepted).collect();
        assert_eq!(accepted, [2, 2, 1, 0, 1, 0]);
        assert!(answers.iter().all(|answer| answer.durability() == Durability::Fsync));
        assert!(!answers[0].duplicate && answers[1].duplicate);
        assert_eq!(answers[3].error.as_ref().unwrap().code, i32::from(Code::InvalidArgument));
        assert_eq!((answers[4].refused[0].index, answers[4].error.is_none()), (1, true));
        assert!(answers[5].error.is_some());
        let found = all(&mut client, QueryRequest::default()).await;
        assert_eq!(found.len(), 4);
        let mut expected = record("good");
        let newest = found.iter().find(|record| record.message == "good").unwrap();
        expected.labels.clone_from(&newest.labels);
        assert_eq!(*newest, expected);
    });
}

#[test]
fn a_duplicate_is_answered_as_the_first_was() {
    let server = start();
    on(&server, |channel| async move {
        let mut client = TimberLogClient::new(channel);
        let mut first = batch("p", 1, &["good", "far ahead"]);
        first.records[1] = far_ahead();
        let mut other = batch("p", 1, &["far ahead", "a", "b"]);
        other.records[0] = far_ahead();
        let answers = append(&mut client, vec![first, other, batch("p", 1, &["c"])]).await;
        assert_eq!(answers[0].refused[0].index, 1);
        for answer in &answers[1..] {
            assert!(answer.duplicate);
            assert_eq!((answer.accepted, &answer.refused), (1, &answers[0].refused));
        }
    });
}

#[test]
fn a_record_that_cannot_be_read_is_refused_and_those_beside_it_are_stored() {
    let server = start();
    on(&server, |channel| async move {
        let mut client = TimberLogClient::new(channel);
        let whole = record("good").encode_to_vec();
        let not_text = |name: u8| Bytes::from([&whole[..], &[name << 3 | 2, 2, b'a', 0xff]].concat());
        let mut request = batch("p", 1, &["first"]);
        let damaged = [
            (not_text(4), "`message` is not UTF-8 from byte `1` on"),
            (not_text(3), "`service` is not UTF-8 from byte `1` on"),
            (Bytes::copy_from_slice(&whole[..whole.len() - 1]), "the protobuf message is cut short"),
            (Bytes::from_static(b"\x08\x01"), "`timestamp_ns`: expected a number of eight bytes"),
            (
                Bytes::from_static(b"\x32\x07\x0a\x01a\x12\x02\x0b\x0c"),
                "the protobuf message has a field of wire type `3`",
            ),
        ];
        request.records.extend(damaged.iter().map(|(bytes, _)| bytes.clone()));
        // Of a field that stands twice the last counts, and one that is not known is passed over.
        let twice = [&whole[..], b"\x22\x05again\xfa\x01\x01x"].concat();
        request.records.push(twice.into());
        let answer = append(&mut client, vec![request]).await.remove(0);
        assert_eq!((answer.accepted, answer.error.is_none()), (2, true));
        let refused: Vec<(u32, &str)> = answer.refused.iter().map(|one| (one.index, one.reason.as_str())).collect();
        let expected: Vec<(u32, &str)> = (1..).zip(damaged.iter().map(|(_, reason)| *reason)).collect();
        assert_eq!(refused, expected);
        let mut messages: Vec<String> =
            all(&mut client, QueryRequest::default()).await.into_iter().map(|one| one.message).collect();
        messages.sort();
        assert_eq!(messages, ["again", "first"]);
    });
}

#[test]
fn a_query_streams_what_its_filter_lets_through() {
    let server = start();
    on(&server, |channel| async move {
        let mut client = TimberLogClient::new(channel);
        let messages: Vec<String> = (0..2500).map(|n| format!("record {n}")).collect();
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        append(&mut client, vec![batch("", 0, &messages)]).await;
        assert_eq!(all(&mut client, QueryRequest::default()).await.len(), 2500);
        assert_eq!(all(&mut client, QueryRequest { limit: 1200, ..QueryRequest::default() }).await.len(), 1200);
        let test = v1::Test { name: "message".to_owned(), op: Some(v1::test::Op::Token("77".to_owned())) };
        let filter = Some(v1::Filter { kind: Some(v1::filter::Kind::Test(test)) });
        let found = all(&mut client, QueryRequest { filter, ..QueryRequest::default() }).await;
        assert_eq!(found.iter().map(|record| record.message.as_str()).collect::<Vec<_>>(), ["record 77"]);
        let json = Some(v1::Filter { kind: Some(v1::filter::Kind::Json("{\"field\":\"a\"}".to_owned())) });
        let status = client.query(QueryRequest { filter: json, ..QueryRequest::default() }).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let status =
            client.query(QueryRequest { cursor: "x".to_owned(), ..QueryRequest::default() }).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let backwards = QueryRequest { start_ns: Some(6), end_ns: Some(5), ..QueryRequest::default() };
        let status = client.query(backwards).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "`start_ns` is after `end_ns`"));
    });
}

#[test]
fn a_long_message_is_decoded_and_a_longer_one_refused() {
    let server = start();
    on(&server, |channel| async move {
        let mut client = LogIngestorClient::new(channel);
        let entries = (0..8).map(|_| entry(&"x".repeat(1 << 20), 0)).collect();
        assert!(client.upload_logs(LogBatch { entries }).await.unwrap().into_inner().success);
        let entries = (0..17).map(|_| entry(&"x".repeat(1 << 20), 0)).collect();
        assert_eq!(client.upload_logs(LogBatch { entries }).await.unwrap_err().code(), Code::OutOfRange);
    });
    assert_eq!(server.get("/logs/recent").ok()["count"], 8);
}

#[test]
fn a_tail_follows_new_records() {
    let server = start();
    on(&server, |channel| async move {
        let mut client = TimberLogClient::new(channel);
        let json = r#"{"field":"message","contains":"keep"}"#.to_owned();
        let filter = Some(v1::Filter { kind: Some(v1::filter::Kind::Json(json)) });
        let mut tail = client.tail(TailRequest { filter }).await.unwrap().into_inner();
        append(&mut client, vec![batch("", 0, &["keep 1", "drop"]), batch("", 0, &["keep 2"])]).await;
        let mut found = Vec::new();
        while found.len() < 2 {
            found.extend(tail.next().await.unwrap().unwrap().records);
        }
        assert_eq!(found.iter().map(|record| record.message.as_str()).collect::<Vec<_>>(), ["keep 1", "keep 2"]);
    });
}

#[test]
fn a_stopping_server_ends_its_streams() {
    let mut server = start();
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let (mut answers, mut tail) = on(&server, |channel| async move {
        let mut client = TimberLogClient::new(channel);
        sender.send(batch("", 1, &["a"])).await.unwrap();
        let mut answers = client.append(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        assert_eq!(answers.next().await.unwrap().unwrap().accepted, 1);
        let tail = client.tail(TailRequest::default()).await.unwrap().into_inner();
        // The client's side stays open.
        std::mem::forget(sender);
        (answers, tail)
    });
    server.tell_to_stop();
    server.runtime.block_on(async {
        assert_eq!(answers.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
        assert_eq!(tail.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    });
    server.join();
}

#[test]
fn reflection_names_the_services_in_both_versions() {
    let server = start();
    on(&server, |channel| async move {
        use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
        use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
        let mut client = ServerReflectionClient::new(channel);
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let request = ServerReflectionRequest { host: String::new(), message_request };
        let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        let ServerReflectionResponse { message_response, .. } = answers.next().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = message_response else {
            panic!("{message_response:?}")
        };
        let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
        for name in ["logapi.LogIngestor", "timberlog.v1.TimberLog"] {
            assert!(names.iter().any(|other| other == name), "{names:?}");
        }
    });
    on(&server, |channel| async move {
        use tonic_reflection::pb::v1alpha::ServerReflectionRequest;
        use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
        let mut client = ServerReflectionClient::new(channel);
        let message_request = Some(MessageRequest::FileContainingSymbol("logapi.LogIngestor".to_owned()));
        let request = ServerReflectionRequest { host: String::new(), message_request };
        let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        assert!(answers.next().await.unwrap().unwrap().message_response.is_some());
    });
}

#[test]
fn health_follows_the_database() {
    let server = start_unopened(|_| ());
    let status =
        on(
            &server,
            |channel| async move { LogIngestorClient::new(channel).upload_log(entry("x", 0)).await.unwrap_err() },
        );
    assert_eq!(status.code(), Code::Unavailable);
    assert_ne!(on(&server, check).ok(), Some(ServingStatus::Serving));
    drop(server);
    let server = start();
    while on(&server, check).ok() != Some(ServingStatus::Serving) {
        std::thread::yield_now();
    }
}

async fn check(channel: Channel) -> Result<ServingStatus, tonic::Status> {
    let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
    let service = "logapi.LogIngestor".to_owned();
    client.check(tonic_health::pb::HealthCheckRequest { service }).await.map(|answer| answer.into_inner().status())
}

#[test]
fn health_turns_with_readiness() {
    let sim = Sim::new(7);
    let server = start_in(sim.env());
    while on(&server, check).ok() != Some(ServingStatus::Serving) {
        std::thread::yield_now();
    }
    server.post("/ingest", "{\"message\":\"a\"}").ok();
    sim.disk.inject(Op::Sync, "/data/wal", 0, Fault::Io);
    assert!(server.post("/ingest", "{\"message\":\"b\"}").status >= 500);
    assert_eq!(server.get("/ready").status, 503);
    let end = Instant::now() + Duration::from_secs(60);
    while on(&server, check).ok() != Some(ServingStatus::NotServing) {
        assert!(Instant::now() < end, "gRPC says it serves while /ready is 503");
        std::thread::yield_now();
    }
}
