//! The two ways of a request: a body of JSON lines over HTTP, and `timberlog.v1.TimberLog/Append` over gRPC.

use crate::load::Connection;
use prost::Message;
use serde_json::{Map, Value};
use std::time::Duration;
use timberlog_client::Client;
use timberlog_proto::v1;
use timberlog_proto::v1::timber_log_client::TimberLogClient;
use timberlog_types::{Error, ErrorKind, time};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

impl Connection for Client {
    type Request = Vec<u8>;

    fn prepare(&self, body: Vec<u8>) -> Vec<u8> {
        body
    }

    fn send(&mut self, body: &Vec<u8>) -> Result<u64, Error> {
        self.ingest(body, None).map(|answer| answer.accepted)
    }
}

/// One stream of appends on a connection of its own; each waits for the answer of the one before.
pub struct Stream {
    runtime: Runtime,
    requests: mpsc::Sender<v1::AppendRequest>,
    answers: tonic::Streaming<v1::AppendResponse>,
}

impl Stream {
    /// Opens a stream.
    pub fn open(address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (requests, receiver) = mpsc::channel(1);
        let answers = runtime.block_on(async {
            let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).expect("an address");
            let mut client = TimberLogClient::new(endpoint.connect().await.expect("a server"));
            client.append(ReceiverStream::new(receiver)).await.expect("a stream").into_inner()
        });
        Self { runtime, requests, answers }
    }
}

impl Connection for Stream {
    type Request = v1::AppendRequest;

    fn prepare(&self, body: Vec<u8>) -> v1::AppendRequest {
        let lines = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        v1::AppendRequest {
            records: lines.map(|line| record(line).encode_to_vec().into()).collect(),
            ..v1::AppendRequest::default()
        }
    }

    fn send(&mut self, request: &v1::AppendRequest) -> Result<u64, Error> {
        let Self { runtime, requests, answers } = self;
        let answer = runtime.block_on(async {
            requests.send(request.clone()).await.expect("an open stream");
            answers.message().await.expect("an answer").expect("an open stream")
        });
        match answer.error {
            None => Ok(u64::from(answer.accepted)),
            Some(error) if error.retry_after_ms > 0 => {
                let retry_after = Duration::from_millis(error.retry_after_ms);
                Err(Error::new(ErrorKind::Overloaded { retry_after }, error.message))
            }
            Some(error) => Err(Error::invalid(error.message)),
        }
    }
}

/// A record of a JSON line.
fn record(line: &[u8]) -> v1::Record {
    let fields: Map<String, Value> = serde_json::from_slice(line).expect("an object");
    let mut record = v1::Record::default();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("timestamp", Value::String(text)) => {
                record.timestamp_ns = Some(time::parse(text.as_bytes()).expect("a time"))
            }
            ("level", Value::String(text)) => record.level = Some(text),
            ("service", Value::String(text)) => record.service = text,
            ("message", Value::String(text)) => record.message = text,
            (_, value) => record.fields.push(v1::Field { name, value: Some(v1::Value { kind: kind(value) }) }),
        }
    }
    record
}

fn kind(value: Value) -> Option<v1::value::Kind> {
    use v1::value::Kind;
    Some(match value {
        Value::Null => Kind::Null(true),
        Value::Bool(truth) => Kind::Boolean(truth),
        Value::Number(number) => Kind::Number(number.to_string()),
        Value::String(text) => Kind::Text(text),
        value => Kind::Json(value.to_string()),
    })
}
