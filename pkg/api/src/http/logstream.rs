//! LogStream's queries: `GET /logs`, `GET /logs/recent`, `GET /stats`.

use super::answer::{json, json_of, put};
use super::ask::{limit_within, limits};
use super::params::{self, NoParams, Params};
use super::shape::{Shape, put_records};
use crate::cancel::CancelOnDrop;
use crate::error::ApiResult;
use crate::state::State;
use crate::tenant::OfTenant;
use axum::extract::State as Of;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json as value};
use std::sync::Arc;
use timberlog_db::filter::Filter;
use timberlog_db::query::{Order, Page, Query};
use timberlog_types::Tenant;
use timberlog_types::time::HOUR_NS;

/// Records of `GET /logs` when nothing is said.
const LOGS_DEFAULT: usize = 1_000;
/// Records of `GET /logs/recent`.
const RECENT: usize = 100;

/// The query string of `GET /logs`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogsParams {
    level: Option<String>,
    service: Option<String>,
    since: Option<String>,
    until: Option<String>,
    contains: Option<String>,
    limit: Option<usize>,
}

/// The newest records that match; without a level and a time those of the last hour.
pub async fn logs(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Params(params): Params<LogsParams>,
) -> ApiResult<Response> {
    let now_ns = state.env.clock.now_ns();
    let resolve = |text: &Option<String>| text.as_deref().map_or(Ok(None), |text| params::since(text, now_ns));
    let since = resolve(&params.since)?;
    let until = resolve(&params.until)?;
    let level = params.level.filter(|level| !level.is_empty());
    let hour = || (level.is_none() && until.is_none()).then(|| now_ns.saturating_sub(HOUR_NS));
    let mut query = newest(tenant, &state);
    query.range = params::range([("since", since.or_else(hour)), ("until", until)])?;
    query.limit = limit_within(params.limit, LOGS_DEFAULT, &state.options)?;
    for (name, value) in [("level", level), ("service", params.service)] {
        if let Some(value) = value {
            query.filter = query.filter.and(Filter::eq(name, value));
        }
    }
    if let Some(text) = params.contains {
        query.filter = query.filter.and(Filter::contains(text));
    }
    answer(&state, query).await
}

/// The newest 100 records.
pub async fn recent(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Params(NoParams {}): Params<NoParams>,
) -> ApiResult<Response> {
    let query = Query { limit: RECENT, ..newest(tenant, &state) };
    answer(&state, query).await
}

fn newest(tenant: Tenant, state: &State) -> Query {
    Query { order: Order::NewestFirst, limits: limits(&state.options), ..Query::new(tenant) }
}

async fn answer(state: &Arc<State>, query: Query) -> ApiResult<Response> {
    let tenant = query.tenant.clone();
    let _guard = CancelOnDrop(query.cancel.clone());
    state.query(&tenant, move |database| database.page(&query).map(|page| json(of_page(&page)))).await
}

fn of_page(page: &Page) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + page.records.len() * 512);
    out.extend_from_slice(b"{\"count\":");
    put(&mut out, &page.records.len());
    out.extend_from_slice(b",\"logs\":");
    put_records(&mut out, Shape::Log, &page.records);
    out.extend_from_slice(b",\"missing\":");
    put(&mut out, &page.missing);
    out.push(b'}');
    out
}

/// What the server and the engine count.
pub async fn stats(Of(state): Of<Arc<State>>) -> ApiResult<Response> {
    let database = state.database()?;
    let engine = database.stats();
    let (processed, dropped) = state.metrics.totals();
    let uptime = state.uptime_s();
    let stored = engine.buffer_records + engine.segment_records;
    let mut stats = value!({
        // Accepted by a decoder and then acknowledged, or refused for want of room.
        "total_processed": engine.records_appended,
        "total_dropped": dropped + engine.records_refused,
        "total_received": processed + dropped,
        "uptime_seconds": uptime,
        "avg_throughput": if uptime > 0.0 { engine.records_appended as f64 / uptime } else { 0.0 },
        "logs_in_storage": stored,
        "durability": crate::store::durability(database).to_str().unwrap_or_default(),
    });
    if let (Value::Object(stats), Ok(engine)) = (&mut stats, serde_json::to_value(&engine)) {
        stats.insert("engine".to_owned(), engine);
    }
    Ok(json_of(&stats))
}
