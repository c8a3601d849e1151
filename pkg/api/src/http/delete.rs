//! `/api/v1/delete`: deletes with what Loki's endpoint cannot carry: how many records one would remove
//! (`dry_run`), times to the nanosecond or none, and how many records were removed.

use super::answer::json_of;
use super::params::{self, NoParams, Params, When};
use crate::cancel::CancelOnDrop;
use crate::error::ApiResult;
use crate::state::State;
use crate::tenant::OfTenant;
use axum::body::Body;
use axum::extract::State as Of;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use timberlog_db::query::Cancel;
use timberlog_db::{DeleteState, DeleteStatus};
use timberlog_types::time;

/// Asks for a delete.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteAsk {
    query: String,
    start: Option<When>,
    end: Option<When>,
    #[serde(default)]
    dry_run: bool,
}

/// The query string of a cancellation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelParams {
    id: String,
}

/// Deletes what a query names, or tells how many records that would be.
pub async fn add(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Params(NoParams {}): Params<NoParams>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    state.database()?;
    let DeleteAsk { query, start, end, dry_run } = params::json(&state, &headers, body).await?;
    let now_ns = state.env.clock.now_ns();
    let resolve = |when: Option<When>| when.map_or(Ok(None), |when| when.resolve(now_ns));
    let range = params::range([("start", resolve(start)?), ("end", resolve(end)?)])?;
    if dry_run {
        let cancel = Cancel::default();
        let _guard = CancelOnDrop(cancel.clone());
        let (of, limits) = (tenant.clone(), state.options.query_limits());
        let work = move |database: &timberlog_db::Database| {
            let counted = database.count_deleted(&tenant, &query, range, limits, &cancel)?;
            let records: u64 = counted.groups.iter().map(|group| group.count).sum();
            Ok(json_of(&json!({"status": "success", "data": {"records": records}, "missing": counted.missing})))
        };
        return state.query(&of, work).await;
    }
    let of = tenant.clone();
    let deleted = state.blocking(move |database| database.delete(&of, &query, range)).await??;
    state.metrics.delete_received();
    tracing::info!(%tenant, id = deleted.id, query = deleted.selector, "a delete was received");
    let data =
        told(&DeleteStatus { tombstone: deleted, state: DeleteState::Received, rows_removed: 0, processed_ns: None });
    Ok(json_of(&json!({"status": "success", "data": data})))
}

/// The deletes of a tenant, oldest first.
pub async fn list(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Params(NoParams {}): Params<NoParams>,
) -> ApiResult<Response> {
    let deletes = state.blocking(move |database| database.deletes(&tenant)).await?;
    let data: Vec<Value> = deletes.iter().map(told).collect();
    Ok(json_of(&json!({"status": "success", "data": data})))
}

/// Cancels a delete.
pub async fn cancel(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Params(CancelParams { id }): Params<CancelParams>,
) -> ApiResult<Response> {
    state.blocking(move |database| database.cancel_delete(&tenant, &id)).await??;
    state.metrics.delete_cancelled();
    Ok(json_of(&json!({"status": "success"})))
}

fn told(delete: &DeleteStatus) -> Value {
    let tombstone = &delete.tombstone;
    // An end that was left open is not told as a time.
    let time = |ns: i64| if ns == i64::MIN || ns == i64::MAX { None } else { Some(time::format_rfc3339(ns)) };
    json!({
        "id": tombstone.id,
        "query": tombstone.selector,
        "start": time(tombstone.range.start),
        "end": time(tombstone.range.end),
        "created_at": time(tombstone.created_ns),
        "state": match delete.state {
            DeleteState::Received => "received",
            DeleteState::Processed => "processed",
        },
        "records_removed": delete.rows_removed,
        "processed_at": delete.processed_ns.and_then(time),
    })
}
