//! The frame of an answer, and the statistics in it: ours, in Loki's fields.

use super::asked::Categories;
use crate::http::answer::put;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use timberlog_db::query::Statistics;

/// A JSON answer, as Loki marks it.
pub fn json(body: Vec<u8>) -> Response {
    json_with(StatusCode::OK, body)
}

/// A JSON answer with a status.
pub fn json_with(status: StatusCode, mut body: Vec<u8>) -> Response {
    body.push(b'\n');
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    response
}

/// A JSON answer of a value.
pub fn json_of(value: &Value) -> Response {
    json(value.to_string().into_bytes())
}

/// The answer of a query.
pub struct Answered<'a> {
    /// `streams`, `vector`, `matrix` or `scalar`.
    pub result_type: &'static str,
    /// How lines are told.
    pub categories: Categories,
    /// Lines or series in it.
    pub returned: usize,
    /// What the query looked at.
    pub statistics: &'a Statistics,
    /// What could not be read.
    pub missing: &'a [String],
}

impl Answered<'_> {
    /// Writes the frame around a result.
    pub fn frame(&self, result: impl FnOnce(&mut Vec<u8>)) -> Response {
        let mut out = Vec::with_capacity(4096);
        out.extend_from_slice(b"{\"status\":\"success\"");
        if !self.missing.is_empty() {
            out.extend_from_slice(b",\"warnings\":");
            put(&mut out, self.missing);
        }
        out.extend_from_slice(b",\"data\":{\"resultType\":");
        put(&mut out, self.result_type);
        // Numbers have no lines whose labels could stand apart.
        if self.categories == Categories::Apart && self.result_type == "streams" {
            out.extend_from_slice(b",\"encodingFlags\":[\"categorize-labels\"]");
        }
        out.extend_from_slice(b",\"result\":");
        result(&mut out);
        out.extend_from_slice(b",\"stats\":");
        put(&mut out, &statistics(self.statistics, self.returned));
        out.extend_from_slice(b"}}");
        json(out)
    }
}

/// Our statistics in Loki's fields: a chunk is a block or a buffered batch.
fn statistics(of: &Statistics, returned: usize) -> Value {
    let seconds = of.elapsed_ns as f64 / 1e9;
    let rate = |number: u64| if seconds > 0.0 { (number as f64 / seconds) as u64 } else { 0 };
    let chunks = of.blocks.saturating_sub(of.blocks_pruned);
    let store = |downloaded: u64, referenced: u64, lines: u64, bytes: u64, kept: u64, compressed: u64| {
        json!({
            "totalChunksRef": referenced, "totalChunksDownloaded": downloaded, "chunksDownloadTime": 0,
            "queryReferencedStructuredMetadata": false, "queryUsedV2Engine": false,
            "chunk": {
                "headChunkBytes": 0, "headChunkLines": 0, "decompressedBytes": bytes, "decompressedLines": lines,
                "compressedBytes": compressed, "totalDuplicates": 0, "postFilterLines": kept,
                "headChunkStructuredMetadataBytes": 0, "decompressedStructuredMetadataBytes": 0
            },
            "chunkRefsFetchTime": 0, "congestionControlLatency": 0, "pipelineWrapperFilteredLines": 0
        })
    };
    let cache = json!({
        "entriesFound": 0, "entriesRequested": 0, "entriesStored": 0, "bytesReceived": 0, "bytesSent": 0,
        "requests": 0, "downloadTime": 0, "queryLengthServed": 0
    });
    let caches: serde_json::Map<String, Value> =
        CACHES.map(|name| (name.to_owned(), cache.clone())).into_iter().collect();
    json!({
        "summary": {
            "bytesProcessedPerSecond": rate(of.bytes_read), "linesProcessedPerSecond": rate(of.rows_scanned),
            "totalBytesProcessed": of.bytes_read, "totalLinesProcessed": of.rows_scanned, "execTime": seconds,
            "queueTime": 0, "subqueries": 0, "totalEntriesReturned": returned, "splits": 0, "shards": 0,
            "totalPostFilterLines": of.rows_matched, "totalStructuredMetadataBytesProcessed": 0
        },
        "querier": {
            "store": store(of.blocks_read, of.blocks, of.rows_scanned, of.bytes_read, of.rows_matched, of.object_bytes),
            "querierExecTime": seconds
        },
        "ingester": {
            "totalReached": 1, "totalChunksMatched": of.batches_read, "totalBatches": of.batches_read,
            "totalLinesSent": 0, "store": store(0, 0, 0, 0, 0, 0)
        },
        "cache": caches,
        // Not Loki's.
        "objectStore": { "gets": of.object_gets, "bytes": of.object_bytes },
        "index": {
            "totalChunks": of.blocks, "postFilterChunks": chunks, "shardsDuration": 0, "usedBloomFilters": false,
            "totalStreams": 0, "chunkRefsLookupTime": 0, "bloomFilterTime": 0
        }
    })
}

/// Loki's caches; we have one for all and tell it in `/metrics`.
const CACHES: [&str; 10] = [
    "chunk",
    "index",
    "result",
    "statsResult",
    "volumeResult",
    "seriesResult",
    "labelResult",
    "instantMetricResult",
    "logResult",
    "taskResult",
];
