//! What `timberlog backup create` asks of a server: a pinned root, and the bytes of its files. Read
//! only: where a backup goes, and with which credentials, only the client knows.

use super::answer::json_of;
use super::params;
use crate::error::{ApiError, ApiResult};
use crate::state::State;
use crate::store::ours;
use axum::body::Body;
use axum::extract::State as Of;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use timberlog_db::{ColdFiles, Database};
use timberlog_types::Error;

/// How long a pin is held when nothing is said.
const TTL_DEFAULT: u64 = 3_600;
/// The most bytes of one answer.
const PART_BYTES_MAX: u64 = 16 << 20;

/// Asks for a pin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinAsk {
    ttl_seconds: Option<u64>,
    #[serde(default)]
    include_cold: bool,
}

/// Names a pin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfPin {
    id: String,
    ttl_seconds: Option<u64>,
}

/// Asks for bytes of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartAsk {
    id: String,
    path: String,
    offset: u64,
    len: u64,
}

fn ttl(seconds: Option<u64>) -> Duration {
    Duration::from_secs(seconds.unwrap_or(TTL_DEFAULT))
}

/// Runs work that reads or flushes on a thread that may block.
async fn blocking<T: Send + 'static>(
    state: &State,
    work: impl FnOnce(&Database) -> Result<T, Error> + Send + 'static,
) -> ApiResult<T> {
    Ok(state.blocking(work).await?.map_err(ours)?)
}

/// Flushes, pins what is there, and names its files.
pub async fn pin(Of(state): Of<Arc<State>>, headers: HeaderMap, body: Body) -> ApiResult<Response> {
    let ask: PinAsk = params::json(&state, &headers, body).await?;
    let cold = if ask.include_cold { ColdFiles::Copy } else { ColdFiles::Refer };
    let pinned = blocking(&state, move |database| database.pin_backup(ttl(ask.ttl_seconds), cold)).await?;
    Ok(json_of(&pinned))
}

/// Holds a pin for longer.
pub async fn renew(Of(state): Of<Arc<State>>, headers: HeaderMap, body: Body) -> ApiResult<Response> {
    let OfPin { id, ttl_seconds } = params::json(&state, &headers, body).await?;
    let expires = blocking(&state, move |database| database.renew_pin(&id, ttl(ttl_seconds))).await?;
    Ok(json_of(&json!({ "status": "success", "expires": expires })))
}

/// Lets a pin go.
pub async fn release(Of(state): Of<Arc<State>>, headers: HeaderMap, body: Body) -> ApiResult<Response> {
    let OfPin { id, .. } = params::json(&state, &headers, body).await?;
    blocking(&state, move |database| {
        database.release_pin(&id);
        Ok(())
    })
    .await?;
    Ok(json_of(&json!({ "status": "success" })))
}

/// Bytes of a pinned file; `wal` is the end of the WAL.
pub async fn part(Of(state): Of<Arc<State>>, headers: HeaderMap, body: Body) -> ApiResult<Response> {
    let ask: PartAsk = params::json(&state, &headers, body).await?;
    if ask.len > PART_BYTES_MAX {
        return Err(ApiError::invalid(format!("`len` is {}, expected at most {PART_BYTES_MAX}", ask.len)));
    }
    let PartAsk { id, path, offset, len } = ask;
    let bytes = blocking(&state, move |database| database.read_pinned(&id, &path, offset, len)).await?;
    let mut response = Response::new(Body::from(bytes));
    let media = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(response)
}
