//! For people and machines that look after the server: the page, health, metrics, OpenAPI.

use super::answer::{json_of, json_with, put};
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
    state.metrics.write(&mut out);
    if let Ok(database) = state.database() {
        engine(&mut out, &database.stats());
        retention(&mut out, &database.retention_status());
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out.into_text())
}

fn engine(out: &mut Exposition, stats: &timberlog_db::Stats) {
    let mut counter =
        |name: &str, help: &str, value: u64| out.single(&format!("timberlog_{name}"), "counter", help, value);
    counter("records_appended_total", "Records acknowledged.", stats.records_appended);
    counter("batches_appended_total", "Batches acknowledged.", stats.batches_appended);
    counter("wal_bytes_appended_total", "Bytes of batches written to the WAL.", stats.bytes_appended);
    counter("records_overloaded_total", "Records of batches refused for want of room.", stats.records_refused);
    counter("batches_duplicate_total", "Batches that a producer sent again.", stats.duplicates);
    counter("flushes_total", "Flushes of the buffer to segments.", stats.flushes);
    counter("flushes_failed_total", "Flushes that failed and are tried again.", stats.flushes_failed);
    counter("cache_hits_total", "Parts found in the chunk cache.", stats.cache_hits);
    counter("cache_misses_total", "Parts not found in the chunk cache.", stats.cache_misses);
    let flush_s = stats.flush_ns as f64 / 1e9;
    out.single("timberlog_flush_seconds_total", "counter", "Seconds that flushes took.", flush_s);
    let mut gauge = |name: &str, help: &str, value: u64| out.single(&format!("timberlog_{name}"), "gauge", help, value);
    gauge("buffer_records", "Records in the memory buffer.", stats.buffer_records);
    gauge("buffer_bytes", "Bytes of the memory buffer, flushes under way included.", stats.buffer_bytes);
    gauge("appends_waiting", "Appends that wait for room in the buffer.", stats.appends_waiting);
    gauge("segments", "Segments.", stats.segments);
    gauge("partitions", "Partitions.", stats.partitions);
    gauge("tenants", "Tenants that have records.", stats.tenants);
    gauge("segment_records", "Records in segments.", stats.segment_records);
    gauge("segment_bytes", "Bytes of segments on disk, indexes included.", stats.segment_bytes);
    gauge("segment_raw_bytes", "Bytes of text in segments before compression.", stats.segment_raw_bytes);
    gauge("cache_bytes", "Bytes of the chunk cache.", stats.cache_bytes);
    gauge("manifest_version", "The newest root of the manifest.", stats.manifest_version);
    gauge("flushed_seq", "Every batch up to this number is in segments.", stats.flushed_seq);
    gauge("visible_seq", "Every batch up to this number is visible to queries.", stats.visible_seq);
    gauge("synced_seq", "Every batch up to this number is on disk.", stats.synced_seq);
    gauge("damages", "Damaged parts that the start found.", stats.damage.len() as u64);
    compaction(out, &stats.compaction);
    tier(out, &stats.tier);
    if let Some(stats) = &stats.archive {
        archive(out, stats);
    }
}

fn tier(out: &mut Exposition, stats: &timberlog_db::TierStats) {
    if !stats.enabled {
        return;
    }
    for (name, help, value) in [
        ("segments_uploaded_total", "Segments that were brought into the object store.", stats.segments_uploaded),
        ("uploaded_bytes_total", "Bytes that were sent for that.", stats.bytes_uploaded),
        ("commits_total", "Roots of the bucket that were committed.", stats.commits),
        ("failures_total", "Passes that failed, and are tried again.", stats.failures),
        ("objects_collected_total", "Objects that nothing named and that were removed.", stats.objects_collected),
        ("collected_bytes_total", "Bytes of them.", stats.bytes_collected),
    ] {
        out.single(&format!("timberlog_tier_{name}"), "counter", help, value);
    }
    for (name, help, value) in [
        ("segments", "Segments in the object store.", stats.segments_stored),
        ("bytes", "Bytes of segments in the object store.", stats.bytes_stored),
        ("segments_waiting", "Segments that are to be uploaded.", stats.segments_waiting),
        ("waiting_bytes", "Bytes of them.", stats.bytes_waiting),
        ("epoch", "The epoch of this writer, or of the one that is followed.", stats.epoch),
        ("version", "The newest root of the bucket.", stats.version),
        ("up", "1 if the last pass went well.", u64::from(stats.is_up())),
    ] {
        out.single(&format!("timberlog_tier_{name}"), "gauge", help, value);
    }
}

fn archive(out: &mut Exposition, stats: &timberlog_db::ArchiveStats) {
    for (name, kind, help, value) in [
        ("objects_total", "counter", "Objects sent to the archive of the WAL.", stats.objects),
        ("sent_bytes_total", "counter", "Bytes of these objects.", stats.bytes_sent),
        ("failures_total", "counter", "Tries to archive that failed and are tried again.", stats.failures),
        ("backlog_bytes", "gauge", "Bytes of the WAL that wait for the archive.", stats.backlog_bytes),
        (
            "backlog_bytes_max",
            "gauge",
            "The most bytes that may wait before records are refused.",
            stats.backlog_bytes_max,
        ),
        ("seq", "gauge", "Every batch up to this number is archived.", stats.archived_seq),
    ] {
        out.single(&format!("timberlog_archive_{name}"), kind, help, value);
    }
    let help = "How long a batch has waited that is not archived yet; 0 if none waits.";
    out.single("timberlog_archive_lag_seconds", "gauge", help, stats.lag_seconds);
    let time = stats.timestamp_archived.unwrap_or(0) as f64 / 1e9;
    let help = "When the last archived batch was committed, in seconds since 1970; 0 before the first one.";
    out.single("timberlog_archive_time_seconds", "gauge", help, time);
}

fn retention(out: &mut Exposition, status: &timberlog_db::RetentionStatus) {
    let paused = u8::from(status.paused.is_some());
    let help = "1 when nothing expires until somebody confirms the clock.";
    out.single("timberlog_retention_paused", "gauge", help, paused);
    if let Some(max) = status.bytes_max {
        let help = "Bytes of segments beyond which the oldest days go.";
        out.single("timberlog_retention_bytes_max", "gauge", help, max);
    }
}

fn compaction(out: &mut Exposition, stats: &timberlog_db::CompactionStats) {
    for (name, help, value) in [
        ("jobs_total", "Merges of segments.", stats.jobs),
        ("jobs_failed_total", "Merges that were abandoned; nothing is lost by that.", stats.jobs_failed),
        ("segments_merged_total", "Segments that merges have replaced.", stats.segments_merged),
        ("records_total", "Records that merges have written.", stats.records),
        ("read_bytes_total", "Bytes of the files that merges have read.", stats.bytes_read),
        ("written_bytes_total", "Bytes of the files that merges have written.", stats.bytes_written),
        ("flushed_bytes_total", "Bytes of segments that flushes have written.", stats.bytes_flushed),
    ] {
        out.single(&format!("timberlog_compaction_{name}"), "counter", help, value);
    }
    let seconds = stats.jobs_ns as f64 / 1e9;
    out.single("timberlog_compaction_seconds_total", "counter", "Seconds that merges took.", seconds);
    for (name, help, value) in [
        ("segments_waiting", "Segments that are to be merged.", stats.segments_waiting),
        ("segments_left_alone", "Damaged segments that are not merged.", stats.segments_left_alone),
        ("paused", "1 while compaction is paused.", u64::from(stats.paused)),
    ] {
        out.single(&format!("timberlog_compaction_{name}"), "gauge", help, value);
    }
    let help = "Bytes that flushes and merges have written for each byte of flushes.";
    out.single("timberlog_compaction_write_amplification", "gauge", help, stats.write_amplification);
}
