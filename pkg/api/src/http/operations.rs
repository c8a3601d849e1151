//! For people and machines that look after the server: the page, health, metrics, OpenAPI.

use super::answer::{json_of, json_with, put};
use crate::connections;
use crate::metrics::Exposition;
use crate::state::{Phase, State};
use axum::extract::State as Of;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

const PAGE: &str = include_str!("page.html");

/// The OpenAPI document of this server.
pub const OPENAPI: &str = include_str!("../../../../docs/openapi.json");

/// A page that names the endpoints.
pub async fn page() -> Html<&'static str> {
    Html(PAGE)
}

/// The process is alive.
pub async fn health() -> Response {
    json_of(&json!({"status": "ok"}))
}

/// Whether the server takes requests.
pub async fn ready(Of(state): Of<Arc<State>>) -> Response {
    let (status, answer) = state.phase().answer();
    let mut body = Vec::new();
    put(&mut body, &answer);
    let mut response = json_with(status, body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The OpenAPI document.
pub async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

/// Metrics for Prometheus.
pub async fn metrics(Of(state): Of<Arc<State>>) -> impl IntoResponse {
    let mut out = Exposition::default();
    out.head("timberlog_build_info", "gauge", "Always 1; the label has the version.");
    out.line("timberlog_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let ready = u8::from(matches!(state.phase(), Phase::Ready));
    out.single("timberlog_ready", "gauge", "1 when the server takes requests.", ready);
    out.single("timberlog_uptime_seconds", "gauge", "Seconds since the start.", state.uptime_s());
    let bytes = state.bodies.used_bytes();
    out.single("timberlog_request_bodies_bytes", "gauge", "Bytes of request bodies in memory.", bytes);
    let waiting = state.queries_waiting();
    out.single("timberlog_queries_waiting", "gauge", "Queries that wait for their turn.", waiting);
    let bytes = state.answers.bytes();
    out.single("timberlog_answers_bytes", "gauge", "Bytes of answers that wait for their clients.", bytes);
    let running = state.queries_running();
    out.single("timberlog_queries_running", "gauge", "Queries that run.", running);
    let resting = state.queries_resting();
    out.single("timberlog_queries_resting", "gauge", "Long queries that let others go first.", resting);
    out.single(
        "timberlog_appends_beyond_share_total",
        "counter",
        "Appends of tenants that had more under way than cores while others were there: they gave way to these.",
        state.shares.beyond(),
    );
    let (requests, bytes) = state.rates.refused();
    let help = "Requests that were more than their tenant may send (`--ingest-rate-max`).";
    out.single("timberlog_ingest_rate_refused_total", "counter", help, requests);
    out.single("timberlog_ingest_rate_refused_bytes_total", "counter", "Bytes of these requests.", bytes);
    connections::write(&[&state.http_connections, &state.grpc_connections], &mut out);
    state.metrics.write(&mut out);
    if let Ok(database) = state.database() {
        out.engine(&database.stats());
        out.retention(&database.retention_status());
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out.into_text())
}
