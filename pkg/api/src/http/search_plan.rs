//! `POST /api/v1/search/plan`: the records that the server holds itself, and what a client needs to read the cold
//! segments from the object store itself.
//!
//! A page behind the first one names the segments that the client reads (`cold`), so that a segment which goes to the
//! store between two pages is neither lost nor read twice.

use super::answer::{json, put};
use super::ask::Ask;
use super::params::{self, NoParams, Params};
use super::query::{Frame, entries, in_turn, put_end};
use super::shape::{Shape, put_records};
use crate::error::{ApiError, ApiResult};
use crate::state::State;
use crate::tenant::OfTenant;
use axum::body::Body;
use axum::extract::State as Of;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json as value};
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;
use timberlog_db::query::{ColdPart, Query, Rank, Split, split};
use timberlog_db::{Hide, Segment, Snapshot, Upto};
use timberlog_types::{Result, time};

/// How long the addresses of a plan can be used.
const EXPIRES_IN: Duration = Duration::from_secs(15 * 60);

/// Answers with the records that are here, and where the others are.
pub async fn search_plan(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Params(NoParams {}): Params<NoParams>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    state.database()?;
    let mut ask: Ask = params::json(&state, &headers, body).await?;
    if ask.aggregate.is_some() || ask.explain {
        return Err(ApiError::invalid("`aggregate` and `explain` are asked with POST /api/v1/query"));
    }
    let of = tenant.clone();
    in_turn(&state, &of, move |state, database, cancel| {
        let now_ns = state.env.clock.now_ns();
        if let Some(expr) = ask.logql()? {
            // What a pipeline makes is not there to be merged: the server reads everything.
            return entries(state, database, tenant, &ask, expr, Frame::SearchPlan { now_ns }, cancel);
        }
        let cold = ask.cold.take();
        let query = Query { cancel, ..ask.records(tenant, now_ns, &state.options)? };
        let expires_at = now_ns.saturating_add(i64::try_from(EXPIRES_IN.as_nanos()).unwrap_or(i64::MAX));
        let snapshot = database.snapshot(&query.tenant);
        // A store without signed addresses is read by the server; one segment tells of all.
        let has_addresses = OnceCell::new();
        let sign = |segment: &Segment| segment.presign(EXPIRES_IN).is_ok_and(|urls| urls.is_some());
        let is_readable = |segment: &Segment| *has_addresses.get_or_init(|| sign(segment));
        let parts = split(&snapshot, &query, cold.as_deref(), &is_readable)?;
        Ok(json(of_split(&parts, &snapshot, expires_at)?))
    })
    .await
}

fn of_split(parts: &Split, snapshot: &Snapshot, expires_at: i64) -> Result<Vec<u8>> {
    let page = &parts.hot.page;
    let mut out = Vec::with_capacity(512 + page.records.len() * 512);
    out.extend_from_slice(b"{\"status\":\"success\",\"hot\":");
    put_records(&mut out, Shape::Line, &page.records);
    out.extend_from_slice(b",\"hot_ranks\":");
    put(&mut out, &parts.hot.ranks.iter().map(rank).collect::<Vec<_>>());
    out.extend_from_slice(b",\"next\":");
    put(&mut out, &page.next.as_ref().map(ToString::to_string));
    out.extend_from_slice(b",\"segments\":");
    put(&mut out, &parts.cold.iter().map(segment).collect::<Result<Vec<_>>>()?);
    out.extend_from_slice(b",\"hidden\":");
    put(&mut out, &hidden(snapshot));
    out.extend_from_slice(b",\"expires_at\":");
    put(&mut out, &time::format_rfc3339(expires_at));
    put_end(&mut out, &page.statistics, &page.missing);
    Ok(out)
}

/// The hash of the stream, as text since it has 64 bits, and the sequence number.
fn rank(rank: &Rank) -> Value {
    value!([format!("{:016x}", rank.stream), rank.seq])
}

fn segment(part: &ColdPart) -> Result<Value> {
    let urls = part.segment.presign(EXPIRES_IN)?;
    let (log, index) = urls.map_or((None, None), |urls| (Some(urls.log), Some(urls.index)));
    let ranges: Vec<[u64; 2]> = part.ranges.iter().map(|range| [range.start, range.end]).collect();
    let entry = &part.segment.entry;
    Ok(value!({
        "id": entry.id, "day": part.segment.day.to_string(), "url": log, "index_url": index, "ranges": ranges,
        "entry": &**entry,
    }))
}

/// What of the segments is deleted or expired.
fn hidden(snapshot: &Snapshot) -> Value {
    let hidden = &snapshot.hidden;
    let hide = |hide: &Arc<Hide>| {
        let upto = match hide.upto {
            Upto::Seq(seq) => Some(seq),
            Upto::Always => None,
        };
        value!({
            "name": hide.name, "query": hide.selector,
            "start": hide.range.start, "end": hide.range.end, "seq": upto,
        })
    };
    let start = Some(hidden.start()).filter(|&start| start != i64::MIN);
    value!({ "before": start, "deletes": hidden.hides().iter().map(hide).collect::<Vec<_>>() })
}
