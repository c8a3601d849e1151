//! What Grafana asks to know whom it talks to, and `format_query`, which needs no database.

use super::answer::json_with;
use super::asked::Asked;
use super::error::LokiResult;
use crate::state::State;
use axum::extract::{Request, State as Of};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;
use timberlog_db::language::{parse, pretty};

/// The version of Loki whose API this is: clients switch features by it.
pub const LOKI_VERSION: &str = "3.5.0";

/// Which Loki this is.
pub async fn buildinfo() -> Response {
    let info = json!({
        "version": LOKI_VERSION, "revision": env!("CARGO_PKG_VERSION"), "branch": "timberlog", "buildUser": "",
        "buildDate": "", "goVersion": ""
    });
    ([(header::CONTENT_TYPE, "application/json")], info.to_string()).into_response()
}

/// A query, laid out for people.
pub async fn format_query(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    let asked = Asked::of(&state, request).await?;
    // In the order in which Loki has the keys.
    let (code, status, key, text) = match parse(asked.get("query")) {
        Ok(expr) => (StatusCode::OK, "success", "data", pretty(&expr)),
        Err(error) => (StatusCode::BAD_REQUEST, "invalid-query", "error", error.to_string()),
    };
    Ok(json_with(code, format!(r#"{{"status":"{status}","{key}":{}}}"#, json!(text)).into_bytes()))
}

/// The settings that a client of Loki may want to know, as YAML.
pub async fn config(Of(state): Of<Arc<State>>) -> Response {
    let options = &state.options;
    let text = format!(
        "target: all\nserver:\n  http_listen_address: {}\n  http_listen_port: {}\nlimits_config:\n  \
         max_entries_limit_per_query: {}\n  max_label_names_per_series: {}\n  max_line_size: {}\n  \
         allow_structured_metadata: true\n  discover_log_levels: {}\n  volume_enabled: true\n",
        options.http_addr.ip(),
        options.http_addr.port(),
        options.loki_entries_max,
        options.ingest.labels_max,
        options.ingest.record_bytes_max,
        options.loki_derive_labels
    );
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// The parts of the server, of which there is one.
pub async fn services(Of(state): Of<Arc<State>>) -> Response {
    let (status, _) = state.phase().answer();
    let what = if status == StatusCode::OK { "Running" } else { "Starting" };
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("timberlog => {what}\n")).into_response()
}
