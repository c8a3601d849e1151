//! `POST /api/v1/push`: loge's payloads as JSON, MessagePack or protobuf.
//!
//! A payload is stored whole or not at all. 200 says that it is on disk, 202 that it is written and
//! will be.

use super::answer::json_with;
use crate::body::{Collected, Encoding, MediaType};
use crate::error::{ApiError, ApiResult};
use crate::metrics::Protocol;
use crate::producer;
use crate::state::State;
use crate::store::{self, Incoming};
use crate::tenant::OfTenant;
use axum::body::Body;
use axum::extract::State as Of;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;
use timberlog_db::{Database, Durability};
use timberlog_ingest::PushForm;
use timberlog_types::Batch;

/// A form that a content type stands for.
#[derive(Clone, Copy)]
struct Content {
    form: PushForm,
    media: MediaType,
}

/// Stores a payload.
pub async fn push(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let database = state.database()?.clone();
    let content = content(&headers)?;
    let encoding = Encoding::of_request(&headers)?;
    let producer = producer::of_headers(&headers)?;
    let incoming = Incoming { tenant, stream_labels: None, strict: true };
    let body = state.bodies.collect(&headers, body, state.options.body_bytes_max).await?;
    let (batch, incoming) = decode(&state, &database, Received { content, encoding, body }, incoming).await?;
    let appended = store::append(&state, &database, &incoming.tenant, batch, producer).await?;
    let status = match database.durability() {
        Durability::Fsync => StatusCode::OK,
        Durability::Async { .. } => StatusCode::ACCEPTED,
    };
    let mut answer = json!({"status": "success", "accepted": appended.rows});
    if appended.duplicate {
        answer["duplicate"] = true.into();
    }
    let mut response = json_with(status, answer.to_string().into_bytes());
    response.headers_mut().insert(store::DURABILITY_HEADER, store::durability(&database));
    Ok(response)
}

/// What `Content-Type` says.
fn content(headers: &HeaderMap) -> ApiResult<Content> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let form = match essence.as_str() {
        "application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack" => PushForm::Msgpack,
        "application/protobuf" | "application/x-protobuf" | "application/vnd.google.protobuf" => PushForm::Protobuf,
        _ => {
            let media = MediaType::of_request(headers).map_err(|_| {
                ApiError::media_type(format!(
                    "content type `{}` is not supported: send application/json, application/msgpack or \
                     application/protobuf",
                    value.escape_default()
                ))
            })?;
            return Ok(Content { form: PushForm::Json, media });
        }
    };
    Ok(Content { form, media: MediaType::Json })
}

/// A body as it came.
struct Received {
    content: Content,
    encoding: Encoding,
    body: Collected,
}

async fn decode(
    state: &Arc<State>,
    database: &Database,
    received: Received,
    incoming: Incoming,
) -> ApiResult<(Batch, Incoming)> {
    let (of, database) = (Arc::clone(state), database.clone());
    let (tenant, bytes) = (incoming.tenant.clone(), received.body.bytes_decoded(received.encoding));
    let work = move || Ok((run(&of, &database, received, &incoming)?, incoming));
    state.decoding.run(&tenant, bytes, work).await?
}

fn run(state: &Arc<State>, database: &Database, received: Received, incoming: &Incoming) -> ApiResult<Batch> {
    let Received { content, encoding, body } = received;
    let body = state.bodies.decompress(encoding, body, state.options.body_bytes_max)?;
    let bytes = body.as_ref();
    store::admit(state, &incoming.tenant, bytes.len())?;
    let batch = store::decode(state, database, incoming, bytes.len(), |decoder, options| {
        decoder.push(bytes, content.form, options)
    });
    let (accepted, refused) = batch.as_ref().map_or((0, 1), |batch| (batch.rows(), 0));
    state.metrics.records(Protocol::Push, accepted, refused, bytes.len());
    batch.map_err(|error| content.media.explain(ApiError::invalid(format!("nothing was stored: {error}"))))
}
