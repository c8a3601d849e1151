//! loge's small endpoints: label names and values, statistics of the storage.
//!
//! `GET /api/v1/labels` is LogsGo's too: the answer has the keys of both.

use super::answer::json_of;
use super::params::{self, Params};
use crate::cancel::CancelOnDrop;
use crate::error::ApiResult;
use crate::state::State;
use crate::tenant::OfTenant;
use axum::extract::{Path, State as Of};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use timberlog_db::query::{self, Cancel, Scope};

/// The most values of one name in `CustomLabels`.
const CUSTOM_VALUES_MAX: usize = 1_000;

/// The query string of label endpoints.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelParams {
    start: Option<String>,
    end: Option<String>,
}

impl LabelParams {
    /// What is listed, until the guard goes.
    fn scope(&self, state: &State) -> ApiResult<(Scope, CancelOnDrop)> {
        let now_ns = state.env.clock.now_ns();
        let resolve = |text: &Option<String>| text.as_deref().map_or(Ok(None), |text| params::since(text, now_ns));
        let range = params::range([("start", resolve(&self.start)?), ("end", resolve(&self.end)?)])?;
        let cancel = Cancel::default();
        Ok((Scope { range, limits: state.options.query_limits(), cancel: cancel.clone() }, CancelOnDrop(cancel)))
    }
}

/// The names of labels and fields, the services, the levels, and the values of stream labels.
pub async fn labels(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Params(params): Params<LabelParams>,
) -> ApiResult<Response> {
    let (scope, _guard) = params.scope(&state)?;
    let of = tenant.clone();
    state
        .query(&of, move |database| {
            let snapshot = database.snapshot(&tenant);
            let names = query::label_names(&snapshot, scope.clone())?;
            let services = query::label_values(&snapshot, "service", scope.clone())?;
            let levels = query::label_values(&snapshot, "level", scope.clone())?;
            let mut custom: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            let mut cut: BTreeSet<String> = BTreeSet::new();
            for stream in query::streams(&snapshot, scope)? {
                for (name, value) in stream.labels {
                    let values = custom.entry(name.clone()).or_default();
                    values.insert(value);
                    // The first ones stay.
                    if values.len() > CUSTOM_VALUES_MAX {
                        values.pop_last();
                        cut.insert(name);
                    }
                }
            }
            Ok(json_of(&json!({
                "status": "success",
                "data": names,
                "Services": services,
                "Levels": levels,
                "CustomLabels": custom,
                "CustomLabelsCut": cut,
            })))
        })
        .await
}

/// The values of a stream label, of `service` or of `level`.
pub async fn label_values(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Path(name): Path<String>,
    Params(params): Params<LabelParams>,
) -> ApiResult<Response> {
    let (scope, _guard) = params.scope(&state)?;
    let of = tenant.clone();
    state
        .query(&of, move |database| {
            let values = query::label_values(&database.snapshot(&tenant), &name, scope)?;
            Ok(json_of(&json!({"status": "success", "data": values})))
        })
        .await
}

/// What is stored.
pub async fn stats(Of(state): Of<Arc<State>>) -> ApiResult<Response> {
    let stats = state.database()?.stats();
    Ok(json_of(&json!({
        "status": "success",
        "segments_total": stats.segments,
        "segments_local": stats.segments_local,
        "segments_remote": stats.segments - stats.segments_local,
        "rows_total": stats.segment_records + stats.buffer_records,
        "min_timestamp": stats.timestamp_min.unwrap_or(0),
        "max_timestamp": stats.timestamp_max.unwrap_or(0),
    })))
}
