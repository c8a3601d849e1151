//! How much a tenant may send a second: by every protocol, and no other tenant notices.

use crate::grpc::{append, batch, entry, on};
use crate::harness::{Response, Running, start_with};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use std::io::Write;
use timberlog_proto::logapi::log_ingestor_client::LogIngestorClient;
use timberlog_proto::v1::timber_log_client::TimberLogClient;
use tonic::{Code, Request};

const JSON: (&str, &str) = ("Content-Type", "application/json");
/// Longer than a second's bytes, and than what may come at once.
const LONG: usize = 50_000;

/// A tenant may send ten bytes a second, and twenty at once.
fn start() -> Running {
    start_with(|options| options.ingest_rate_max = 10)
}

fn send(server: &Running, tenant: &str, path: &str, body: &str) -> Response {
    server.send("POST", path, &[JSON, ("X-Scope-OrgID", tenant)], body.as_bytes())
}

fn is_refused(response: &Response, tenant: &str) {
    let text = response.text();
    assert_eq!(response.status, 429, "{text}");
    assert!(text.contains(&format!("tenant `{tenant}`")) && text.contains("--ingest-rate-max"), "{text}");
    let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
    // The first body is owed, too.
    assert!(seconds > 4_000, "{seconds}");
}

#[test]
fn a_tenant_that_sends_too_much_is_told_when_to_come_back() {
    let server = start();
    let long = "x".repeat(LONG);
    let push = json!({"streams": [{"stream": {"app": "q"}, "values": [["1700000000000000000", long]]}]});
    let loge = json!({"streams": [{"stream": {"app": "q"}, "values": [["1700000000000000000", long]]}]});
    let paths = [
        ("/ingest", json!({"message": long})),
        ("/write", json!({"Level": "info", "Message": long})),
        ("/loki/api/v1/push", push),
        ("/api/v1/push", loge),
    ];
    for (number, (path, body)) in paths.iter().enumerate() {
        // Longer than a burst: taken when the tenant was quiet.
        let (tenant, body) = (format!("t{number}"), body.to_string());
        let response = send(&server, &tenant, path, &body);
        assert!(response.status < 300, "{path}: {}", response.text());
        for (path, body) in &paths {
            is_refused(&send(&server, &tenant, path, &body.to_string()), &tenant);
        }
    }
    // What counts is what a body becomes.
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(paths[0].1.to_string().as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 1_000);
    let headers = [JSON, ("X-Scope-OrgID", "packed"), ("Content-Encoding", "gzip")];
    server.send("POST", "/ingest", &headers, &packed).ok();
    is_refused(&server.send("POST", "/ingest", &headers, &packed), "packed");
    let metrics = server.get("/metrics").text().to_owned();
    assert!(metrics.contains("\ntimberlog_ingest_rate_refused_total 17\n"), "{metrics}");
}

#[test]
fn calls_of_grpc_are_told_too() {
    let server = start();
    let long = "x".repeat(LONG);
    on(&server, |channel| async move {
        let mut client = LogIngestorClient::new(channel.clone());
        let upload = |tenant: &'static str| {
            let mut request = Request::new(entry(&long, 0));
            request.metadata_mut().insert("x-scope-orgid", tenant.parse().unwrap());
            request
        };
        assert!(client.upload_log(upload("one")).await.unwrap().into_inner().success);
        let status = client.upload_log(upload("one")).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains("tenant `one`"), "{status}");
        assert!(status.metadata().contains_key("retry-after"));
        assert!(client.upload_log(upload("two")).await.unwrap().into_inner().success);
        // Of a stream the batch is refused, and the stream goes on.
        let sent = vec![batch("p", 1, &[&long]), batch("p", 2, &[&long]), batch("p", 3, &[&long])];
        let answers = append(&mut TimberLogClient::new(channel), sent).await;
        assert_eq!((answers[0].accepted, answers[0].error.as_ref()), (1, None));
        for answer in &answers[1..] {
            let error = answer.error.as_ref().unwrap();
            assert_eq!(error.code, i32::from(Code::ResourceExhausted));
            assert!(error.retry_after_ms > 4_000_000, "{error:?}");
        }
    });
}
