//! `POST /loki/api/v1/push`: streams as JSON or as snappy-compressed protobuf.
//!
//! A body that cannot be read stores nothing. Of one that can, the good entries are stored, and the
//! others are told in a 400, which clients do not send again.

use super::error::{LokiError, LokiResult};
use crate::body::{Collected, Encoding, USUAL_RATIO};
use crate::error::ApiError;
use crate::metrics::Protocol;
use crate::producer;
use crate::refusals::Refusals;
use crate::state::State;
use crate::store::{self, Incoming};
use crate::tenant;
use axum::body::Body;
use axum::extract::State as Of;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::fmt::Write as _;
use std::sync::Arc;
use timberlog_db::Database;
use timberlog_ingest::{Decoded, IngestError, LokiForm, LokiPush, STREAM_LIMIT_WORDS};

/// Stores a push request.
pub async fn push(of: Of<Arc<State>>, headers: HeaderMap, body: Body) -> LokiResult<Response> {
    store(of.0, LokiForm::Json, &headers, body).await.map_err(LokiError::into_line)
}

/// Stores a push request of the older path, whose JSON is another one.
pub async fn push_legacy(of: Of<Arc<State>>, headers: HeaderMap, body: Body) -> LokiResult<Response> {
    store(of.0, LokiForm::LegacyJson, &headers, body).await.map_err(LokiError::into_line)
}

async fn store(state: Arc<State>, json: LokiForm, headers: &HeaderMap, body: Body) -> LokiResult<Response> {
    let database = state.database()?.clone();
    let tenant = tenant::of_headers(headers)?;
    let form = form(headers, json)?;
    let encoding = encoding(headers)?;
    let mut producer = producer::of_headers(headers)?;
    let incoming = Incoming { tenant, stream_labels: None, strict: false };
    let body = state.bodies.collect(headers, body, state.options.body_bytes_max).await?;
    let (decoded, incoming) = decode(&state, &database, Received { form, encoding, body }, incoming).await?;
    let mut decoded = decoded?;
    let refusals = Refusals::of(&decoded);
    let Some(batch) = decoded.batch.take() else {
        return if refusals.total == 0 { Ok(no_content(&database)) } else { Err(refused(&refusals, Stored::Nothing)) };
    };
    refusals.keep_with(&mut producer);
    let appended = store::append(&state, &database, &incoming.tenant, batch, producer).await?;
    let refusals = if appended.duplicate { Refusals::of_duplicate(&appended) } else { refusals };
    match refusals.total {
        0 => Ok(no_content(&database)),
        _ => {
            let mut response = refused(&refusals, Stored::Others).into_line().into_response();
            response.headers_mut().insert(store::DURABILITY_HEADER, store::durability(&database));
            Ok(response)
        }
    }
}

fn no_content(database: &Database) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(store::DURABILITY_HEADER, store::durability(database));
    response
}

/// What `Content-Type` says: JSON, or else protobuf.
fn form(headers: &HeaderMap, json: LokiForm) -> LokiResult<LokiForm> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim() {
        "" => Err(LokiError::invalid("mime: no media type")),
        essence if essence.eq_ignore_ascii_case("application/json") => Ok(json),
        _ => Ok(LokiForm::Protobuf),
    }
}

/// What `Content-Encoding` says. `snappy` tells what protobuf is in any case.
fn encoding(headers: &HeaderMap) -> LokiResult<Encoding> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Encoding::Identity) };
    match value.to_str().unwrap_or_default() {
        "" | "snappy" | "identity" => Ok(Encoding::Identity),
        "gzip" => Ok(Encoding::Gzip),
        "deflate" => Ok(Encoding::Deflate),
        "zstd" => Ok(Encoding::Zstd),
        other => Err(LokiError::invalid(format!("Content-Encoding {other:?} not supported"))),
    }
}

/// A body as it came.
struct Received {
    form: LokiForm,
    encoding: Encoding,
    body: Collected,
}

type Answer = Result<Decoded, LokiError>;

async fn decode(
    state: &Arc<State>,
    database: &Database,
    received: Received,
    incoming: Incoming,
) -> LokiResult<(Answer, Incoming)> {
    let (of, database) = (Arc::clone(state), database.clone());
    // Protobuf is within snappy besides.
    let snappy = if received.form == LokiForm::Protobuf { USUAL_RATIO } else { 1 };
    let bytes = received.body.bytes_decoded(received.encoding).saturating_mul(snappy);
    let tenant = incoming.tenant.clone();
    let work = move || (run(&of, &database, received, &incoming), incoming);
    Ok(state.decoding.run(&tenant, bytes, work).await.map_err(ApiError::from)?)
}

fn run(state: &State, database: &Database, received: Received, incoming: &Incoming) -> Answer {
    let Received { form, encoding, body } = received;
    let max = state.options.body_bytes_max;
    let mut body = state.bodies.decompress(encoding, body, max)?;
    if form == LokiForm::Protobuf {
        body = state.bodies.unsnap(&body, max)?;
    }
    let bytes = body.as_ref();
    store::admit(state, &incoming.tenant, bytes.len())?;
    let push = LokiPush { form, derive_labels: state.options.loki_derive_labels };
    let decoded =
        store::decode(state, database, incoming, bytes.len(), |decoder, options| decoder.loki(bytes, push, options));
    if let Ok(decoded) = &decoded {
        store::count(state, Protocol::Loki, decoded, bytes.len());
    }
    decoded.map_err(|error| match error {
        IngestError::NoStreams => LokiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
        error => LokiError::invalid(error.to_string()),
    })
}

/// What became of the entries that were not refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stored {
    Nothing,
    Others,
}

/// Says why entries were refused. A stream too many may be known later, so that is worth another
/// try; but not of what is stored in part, which would then be stored twice.
fn refused(refusals: &Refusals, stored: Stored) -> LokiError {
    let retry = stored == Stored::Nothing
        && refusals.named.iter().any(|refused| refused.reason.starts_with(STREAM_LIMIT_WORDS));
    let status = if retry { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::BAD_REQUEST };
    LokiError::new(status, grouped(refusals))
}

/// The reasons in the order in which they first came, each once, as Loki counts them.
fn grouped(refusals: &Refusals) -> String {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for refused in &refusals.named {
        if let Some((_, count)) = groups.iter_mut().find(|(reason, _)| *reason == refused.reason) {
            *count += 1;
        } else if groups.len() < REASONS_MAX {
            groups.push((&refused.reason, 1));
        }
    }
    let told: usize = groups.iter().map(|(_, count)| count).sum();
    if let [(reason, 1)] = groups[..]
        && refusals.total == 1
    {
        return reason.to_owned();
    }
    let mut text = String::new();
    for (index, (reason, count)) in groups.iter().enumerate() {
        let _ = write!(text, "{}{count} errors like: {reason}", if index == 0 { "" } else { "; " });
    }
    if refusals.total > told {
        let _ = write!(text, "; and {} more", refusals.total - told);
    }
    text
}

/// Reasons in one answer.
const REASONS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use timberlog_ingest::Refused;

    #[test]
    fn reasons_are_told_once_each() {
        let refusals = |reasons: &[&str], total| Refusals {
            named: reasons.iter().map(|reason| Refused { index: 0, reason: (*reason).to_owned() }).collect(),
            total,
        };
        assert_eq!(grouped(&refusals(&["a"], 1)), "a");
        assert_eq!(grouped(&refusals(&["a", "a"], 2)), "2 errors like: a");
        assert_eq!(grouped(&refusals(&["a", "b", "a"], 5)), "2 errors like: a; 1 errors like: b; and 2 more");
    }
}
