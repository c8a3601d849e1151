//! `POST /api/v1/export`: every record of a query, one JSON object a line, streamed.
//!
//! Memory is bounded: a thread reads ahead by a few chunks and waits for the client. The head leaves when the query is
//! planned: what is wrong with it has a status. An error behind the head cuts the answer off, so that a client sees that
//! it is not whole; so do damaged parts, once all that could be read was given.

use super::ask::Ask;
use super::compress::{self, Encoder};
use super::params::{self, NoParams, Params};
use super::shape::{Shape, put_record};
use crate::cancel::CancelOnDrop;
use crate::error::{ApiError, ApiResult};
use crate::state::State;
use crate::tenant::OfTenant;
use axum::body::Body;
use axum::extract::State as Of;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use std::io::{self, Write};
use std::sync::Arc;
use timberlog_db::Database;
use timberlog_db::query::Export;
use timberlog_types::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 64 << 10;
/// How long the last chunk has to leave before an answer is broken off.
const LEAVING: std::time::Duration = std::time::Duration::from_millis(100);
/// Chunks that may wait for the client.
const CHUNKS_WAITING_MAX: usize = 4;

/// Streams every record that a question finds.
pub async fn export(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Params(NoParams {}): Params<NoParams>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let database = state.database()?.clone();
    let ask: Ask = params::json(&state, &headers, body).await?;
    if ask.aggregate.is_some() || ask.explain {
        return Err(ApiError::invalid("`aggregate` and `explain` are asked with POST /api/v1/query"));
    }
    let limit = ask.limit.filter(|&limit| limit > 0);
    let of = Arc::clone(&state);
    // A long text takes long to parse.
    let question = move |_: &Database| {
        if ask.logql()?.is_some() {
            return Err(ApiError::invalid("LogQL with a pipeline is asked with POST /api/v1/query"));
        }
        ask.records(tenant, of.env.clock.now_ns(), &of.options)
    };
    let mut query = state.blocking(question).await??;
    // It may take as long as the client takes to read it.
    query.limits.time = std::time::Duration::MAX;
    query.limits.bytes = u64::MAX;
    let coding = compress::accepted(&headers);
    let permit = state.export_turn()?;
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
    let (planned, plan) = oneshot::channel();
    // What finds nothing for long does not notice that nobody reads: the answer ends it when it goes.
    let guard = CancelOnDrop(query.cancel.clone());
    state.query_threads.spawn(move || {
        let _permit = permit;
        let export = match database.export(query).planned() {
            Ok(export) => export,
            // If the client is gone, nobody is to be told.
            Err(error) => return drop(planned.send(Err(error))),
        };
        if planned.send(Ok(())).is_err() {
            return;
        }
        if let Err(error) = run(export, limit, coding, &sender) {
            tracing::warn!(%error, "an export ended early");
            // An answer that breaks off takes with it what has not left yet.
            std::thread::sleep(LEAVING);
            let _ = sender.blocking_send(Err(io::Error::other(error)));
        }
    });
    plan.await.map_err(|_| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the export could not be planned by a defect; see the log")
    })??;
    let chunks = ReceiverStream::new(receiver).map(move |chunk| {
        let _ = &guard;
        chunk
    });
    let mut response = Response::new(Body::from_stream(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    if let Some(coding) = coding {
        compress::mark(response.headers_mut(), coding);
    }
    Ok(response)
}

fn run(
    mut export: Export,
    limit: Option<usize>,
    coding: Option<compress::Coding>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), Error> {
    let failed = |error: io::Error| Error::io("export", &error);
    let mut out = Encoder::new(coding, Chunks { sender, chunk: Vec::new() }).map_err(failed)?;
    let mut line = Vec::with_capacity(4096);
    let mut left = limit.unwrap_or(usize::MAX);
    'pages: for records in &mut export {
        for record in &records? {
            if left == 0 {
                break 'pages;
            }
            left -= 1;
            line.clear();
            put_record(&mut line, Shape::Record, record);
            line.push(b'\n');
            out.write_all(&line).map_err(failed)?;
        }
    }
    out.finish().and_then(|mut chunks| chunks.send()).map_err(failed)?;
    match export.missing().first() {
        None => Ok(()),
        Some(first) => Err(Error::corrupt(format!("not everything could be read, the first: {first}"))),
    }
}

/// Cuts what is written into chunks for the client.
struct Chunks<'a> {
    sender: &'a mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl Chunks<'_> {
    fn send(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES + 4096)));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone");
        self.sender.blocking_send(Ok(chunk)).map_err(gone)
    }
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}
