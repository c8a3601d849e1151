//! HTTP: the table of routes and what stands around every handler.
//!
//! The router is built from [`routes`] alone, so a test can hold the OpenAPI document against it.
//! One file per family of clients; foreign shapes do not leave their file.

pub(crate) mod answer;
pub(crate) mod ask;
mod backup;
mod compress;
mod delete;
mod export;
mod ingest;
mod loge;
mod logql;
mod logstream;
mod operations;
pub(crate) mod params;
mod push;
mod query;
mod retention;
mod search_plan;
pub(crate) mod selector;
mod shape;
pub(crate) mod short;
mod simulate;
pub(crate) mod timberlog;

pub use operations::OPENAPI;
pub(crate) use shape::is_number;

use crate::error::ApiError;
use crate::loki;
use crate::state::State;
use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete as axum_delete, get, post, put as axum_put};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

/// A route: one method of one path.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{name}` for a part that varies.
    pub path: &'static str,
    handler: MethodRouter<Arc<State>>,
    answers: Answers,
}

/// How answers of a route leave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// Compressed if the client accepts it and it pays.
    Whole,
    /// As the handler makes them: tiny, or compressed by the handler while it streams.
    AsTheyAre,
}

/// Every route of the server.
pub fn routes() -> Vec<Route> {
    let get =
        |path, handler: MethodRouter<Arc<State>>| Route { method: Method::GET, path, handler, answers: Answers::Whole };
    let post = |path, handler: MethodRouter<Arc<State>>| Route {
        method: Method::POST,
        path,
        handler,
        answers: Answers::Whole,
    };
    let raw = |route: Route| Route { answers: Answers::AsTheyAre, ..route };
    let replace = |path, handler: MethodRouter<Arc<State>>| Route { method: Method::PUT, ..get(path, handler) };
    let remove = |path, handler: MethodRouter<Arc<State>>| Route { method: Method::DELETE, ..get(path, handler) };
    vec![
        get("/", self::get(operations::page)),
        raw(get("/health", self::get(operations::health))),
        raw(get("/ready", self::get(operations::ready))),
        raw(get("/api/v1/healthz", self::get(operations::health))),
        raw(get("/api/v1/readyz", self::get(operations::ready))),
        get("/metrics", self::get(operations::metrics)),
        get("/openapi.json", self::get(operations::openapi)),
        raw(post("/ingest", self::post(ingest::ingest))),
        raw(post("/write", self::post(timberlog::write))),
        post("/query", self::post(timberlog::query)),
        get("/logs", self::get(logstream::logs)),
        get("/logs/recent", self::get(logstream::recent)),
        get("/stats", self::get(logstream::stats)),
        raw(post("/simulate", self::post(simulate::simulate))),
        raw(post("/api/v1/push", self::post(push::push))),
        get("/api/v1/query", self::get(short::query)),
        post("/api/v1/query", self::post(query::query)),
        post("/api/v1/search/plan", self::post(search_plan::search_plan)),
        raw(post("/api/v1/export", self::post(export::export))),
        post("/api/v1/admin/backup/pin", self::post(backup::pin)),
        post("/api/v1/admin/backup/renew", self::post(backup::renew)),
        post("/api/v1/admin/backup/release", self::post(backup::release)),
        raw(post("/api/v1/admin/backup/file", self::post(backup::part))),
        get("/api/v1/delete", self::get(delete::list)),
        post("/api/v1/delete", self::post(delete::add)),
        remove("/api/v1/delete", axum_delete(delete::cancel)),
        get("/api/v1/admin/retention", self::get(retention::status)),
        post("/api/v1/admin/retention/confirm", self::post(retention::confirm)),
        get("/api/v1/labels", self::get(loge::labels)),
        get("/api/v1/labels/{name}/values", self::get(loge::label_values)),
        get("/api/v1/stats", self::get(loge::stats)),
        raw(post("/loki/api/v1/push", self::post(loki::push::push))),
        raw(post("/api/prom/push", self::post(loki::push::push_legacy))),
        get("/loki/api/v1/query", self::get(loki::query::query)),
        post("/loki/api/v1/query", self::post(loki::query::query)),
        get("/loki/api/v1/query_range", self::get(loki::query::query_range)),
        post("/loki/api/v1/query_range", self::post(loki::query::query_range)),
        get("/loki/api/v1/labels", self::get(loki::labels::labels)),
        post("/loki/api/v1/labels", self::post(loki::labels::labels)),
        get("/loki/api/v1/label", self::get(loki::labels::labels)),
        post("/loki/api/v1/label", self::post(loki::labels::labels)),
        get("/loki/api/v1/label/{name}/values", self::get(loki::labels::values)),
        post("/loki/api/v1/label/{name}/values", self::post(loki::labels::values)),
        get("/loki/api/v1/series", self::get(loki::labels::series)),
        post("/loki/api/v1/series", self::post(loki::labels::series)),
        get("/loki/api/v1/index/stats", self::get(loki::index::stats)),
        post("/loki/api/v1/index/stats", self::post(loki::index::stats)),
        get("/loki/api/v1/index/volume", self::get(loki::index::volume)),
        post("/loki/api/v1/index/volume", self::post(loki::index::volume)),
        get("/loki/api/v1/index/volume_range", self::get(loki::index::volume_range)),
        post("/loki/api/v1/index/volume_range", self::post(loki::index::volume_range)),
        raw(get("/loki/api/v1/tail", self::get(loki::tail::tail))),
        get("/loki/api/v1/format_query", self::get(loki::status::format_query)),
        post("/loki/api/v1/format_query", self::post(loki::status::format_query)),
        get("/loki/api/v1/detected_labels", self::get(loki::detected::labels)),
        post("/loki/api/v1/detected_labels", self::post(loki::detected::labels)),
        get("/loki/api/v1/detected_fields", self::get(loki::detected::fields)),
        post("/loki/api/v1/detected_fields", self::post(loki::detected::fields)),
        get("/loki/api/v1/detected_field/{name}/values", self::get(loki::detected::values)),
        post("/loki/api/v1/detected_field/{name}/values", self::post(loki::detected::values)),
        get("/loki/api/v1/patterns", self::get(loki::patterns::patterns)),
        post("/loki/api/v1/patterns", self::post(loki::patterns::patterns)),
        get("/loki/api/v1/delete", self::get(loki::delete::list)),
        post("/loki/api/v1/delete", self::post(loki::delete::add)),
        replace("/loki/api/v1/delete", axum_put(loki::delete::add)),
        remove("/loki/api/v1/delete", axum_delete(loki::delete::cancel)),
        raw(get("/loki/api/v1/drilldown-limits", self::get(loki::detected::limits))),
        raw(get("/loki/api/v1/status/buildinfo", self::get(loki::status::buildinfo))),
        raw(get("/config", self::get(loki::status::config))),
        raw(get("/services", self::get(loki::status::services))),
    ]
}

/// The router of all routes.
pub fn router(state: &Arc<State>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let Route { path, handler, answers, .. } = route;
        let metrics = Arc::clone(state);
        let handler = handler.layer(from_fn(move |request: Request, next: Next| {
            let state = Arc::clone(&metrics);
            async move { edge(&state, path, answers, request, next).await }
        }));
        router = router.route(path, handler);
    }
    router.fallback(not_found).method_not_allowed_fallback(method_not_allowed).with_state(Arc::clone(state))
}

/// Around every handler: counts, compresses, and turns a panic into an answer.
async fn edge(state: &State, path: &'static str, answers: Answers, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let coding = match answers {
        Answers::Whole => compress::accepted(request.headers()),
        Answers::AsTheyAre => None,
    };
    let response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!(path, "a handler ended in a panic");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed by a defect; see the log")
                .into_response()
        }
    };
    let response = match coding {
        Some(coding) => compress::whole(coding, response).await,
        None => response,
    };
    let response = match answers {
        Answers::Whole => state.answers.hold(response).await.unwrap_or_else(|error| refusal(path, error)),
        Answers::AsTheyAre => response,
    };
    state.metrics.request(path, response.status().as_u16(), started.elapsed());
    response
}

/// An error in the words of a route's family.
fn refusal(path: &str, error: ApiError) -> Response {
    if path.starts_with("/loki/") { loki::LokiError::from(error).into_response() } else { error.into_response() }
}

async fn not_found(request: Request) -> ApiError {
    let path: String = request.uri().path().chars().take(200).collect();
    ApiError::new(StatusCode::NOT_FOUND, format!("no such endpoint: `{path}`; GET / names them all"))
}

async fn method_not_allowed(request: Request) -> ApiError {
    let path = request.uri().path();
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("`{path}` does not take {}", request.method()))
}
