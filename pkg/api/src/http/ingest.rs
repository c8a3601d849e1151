//! `POST /ingest`: records as JSON in any of its forms, stored before the answer leaves.

use super::answer::{self, put};
use super::params::{self, Params};
use crate::body::{Collected, Encoding, MediaType};
use crate::error::{ApiError, ApiResult};
use crate::metrics::Protocol;
use crate::producer;
use crate::refusals::Refusals;
use crate::state::State;
use crate::store::{self, Incoming};
use crate::tenant::OfTenant;
use axum::body::Body;
use axum::extract::State as Of;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use timberlog_db::{Appended, Database};
use timberlog_ingest::{Decoded, IngestError, Refused};

/// The query string of `POST /ingest`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestParams {
    /// Whether one refused record refuses all.
    #[serde(default)]
    pub strict: bool,
}

/// Stores the records of a body.
pub async fn ingest(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Params(params): Params<IngestParams>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let database = state.database()?.clone();
    let media = MediaType::of_request(&headers)?;
    let encoding = Encoding::of_request(&headers)?;
    let mut producer = producer::of_headers(&headers)?;
    let incoming = Incoming { tenant, stream_labels: params::stream_labels(&headers)?, strict: params.strict };
    let body = state.bodies.collect(&headers, body, state.options.body_bytes_max).await?;
    let (decoded, incoming) = decode(&state, &database, encoding, body, incoming).await?;
    let mut decoded = match decoded {
        Ok(decoded) => decoded,
        Err(error) => return Err(media.explain(ApiError::invalid(format!("nothing was stored: {error}")))),
    };
    let Some(batch) = decoded.batch.take() else {
        return Err(media.explain(nothing_stored(&decoded, incoming.strict)));
    };
    let id = (batch.rows() == 1).then(|| own_id(&batch));
    let refusals = Refusals::of(&decoded);
    refusals.keep_with(&mut producer);
    let appended = store::append(&state, &database, &incoming.tenant, batch, producer).await?;
    let refusals = if appended.duplicate { Refusals::of_duplicate(&appended) } else { refusals };
    let mut response = answer::json(accepted(&refusals, &appended, id.as_ref()));
    response.headers_mut().insert(store::DURABILITY_HEADER, store::durability(&database));
    Ok(response)
}

async fn decode(
    state: &Arc<State>,
    database: &Database,
    encoding: Encoding,
    body: Collected,
    incoming: Incoming,
) -> ApiResult<(Result<Decoded, IngestError>, Incoming)> {
    let (of, database) = (Arc::clone(state), database.clone());
    let (tenant, bytes) = (incoming.tenant.clone(), body.bytes_decoded(encoding));
    let work = move || {
        let body = of.bodies.decompress(encoding, body, of.options.body_bytes_max)?;
        Ok((run(&of, &database, &body, &incoming)?, incoming))
    };
    state.decoding.run(&tenant, bytes, work).await?
}

fn run(
    state: &State,
    database: &Database,
    body: &Collected,
    incoming: &Incoming,
) -> ApiResult<Result<Decoded, IngestError>> {
    let body = body.as_ref();
    store::admit(state, &incoming.tenant, body.len())?;
    let decoded = store::decode(state, database, incoming, body.len(), |decoder, options| decoder.json(body, options));
    if let Ok(decoded) = &decoded {
        store::count(state, Protocol::Ingest, decoded, body.len());
    }
    Ok(decoded)
}

/// The `id` that a single record brought along; null or an empty text names nothing.
fn own_id(batch: &timberlog_types::Batch) -> Option<String> {
    let value = batch.field("id")?.get(0).filter(|value| !value.text.is_empty())?;
    Some(String::from_utf8_lossy(value.text).into_owned())
}

fn nothing_stored(decoded: &Decoded, strict: bool) -> ApiError {
    let total = decoded.refused_total;
    let first = decoded.refused.first().map_or("", |refused| refused.reason.as_str());
    let message = match (strict, total) {
        (_, 1) => format!("nothing was stored: {first}"),
        (true, _) => format!("nothing was stored: strict, and {total} records were refused, the first one: {first}"),
        (false, _) => format!("nothing was stored: all {total} records were refused, the first one: {first}"),
    };
    let refused = decoded.refused.iter().map(|Refused { index, reason }| json!({"index": index, "reason": reason}));
    ApiError::invalid(message)
        .with("accepted", 0.into())
        .with("refused", Value::Array(refused.collect()))
        .with("refused_total", total.into())
}

fn accepted(refusals: &Refusals, appended: &Appended, id: Option<&Option<String>>) -> Vec<u8> {
    let Refusals { named, total } = refusals;
    let mut out = Vec::with_capacity(64 + named.len() * 80);
    out.extend_from_slice(b"{\"status\":\"accepted\"");
    if let Some(own) = id {
        out.extend_from_slice(b",\"id\":");
        match own {
            Some(own) => put(&mut out, own),
            // The batch's number in the WAL and the record's place in it.
            None => put(&mut out, &format!("{}-0", appended.seq)),
        }
    }
    out.extend_from_slice(b",\"accepted\":");
    put(&mut out, &appended.rows);
    out.extend_from_slice(b",\"refused\":[");
    for (at, Refused { index, reason }) in named.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"index\":" } else { b",{\"index\":" });
        put(&mut out, index);
        out.extend_from_slice(b",\"reason\":");
        put(&mut out, reason);
        out.push(b'}');
    }
    out.push(b']');
    if *total > named.len() {
        out.extend_from_slice(b",\"refused_total\":");
        put(&mut out, total);
    }
    if appended.duplicate {
        out.extend_from_slice(b",\"duplicate\":true");
    }
    out.push(b'}');
    out
}
