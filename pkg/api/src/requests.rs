//! What reads requests, each part reached by itself: for the fuzz targets, and nothing else may use it.

use crate::body::{Bodies, Encoding, MediaType};
use crate::grpc::convert;
use crate::grpc::entries::Entries;
use crate::grpc::records::Append;
use crate::http::ask::Ask;
use crate::http::params::{self, When};
use crate::http::short::ShortParams;
use crate::http::timberlog::AnyCase;
use crate::loki::asked::Asked;
use crate::loki::form;
use crate::loki::params::{Bounds, RangeAsked, number, seconds_or_duration, timestamp};
use crate::options::ServerOptions;
use crate::{producer, tenant};
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use std::sync::Arc;
use std::time::Duration;
use timberlog_db::filter::Filter;
use timberlog_ingest::{DecodeOptions, Decoder};
use timberlog_proto::v1;
use timberlog_types::{Tenant, TimeRange};

const NOW_NS: i64 = 1_767_225_600_000_000_000;

/// Undoes what a body is compressed with (0 gzip, 1 zstd, 2 deflate, 3 snappy): at most `max` bytes.
pub fn body(how: u8, bytes: &[u8], max: usize) -> Option<Vec<u8>> {
    let bodies = Arc::new(Bodies::new(2 * max, Duration::from_secs(1)));
    let held = bodies.hold(Tenant::default(), bytes).ok()?;
    let encoding = match how {
        0 => Encoding::Gzip,
        1 => Encoding::Zstd,
        2 => Encoding::Deflate,
        _ => return Some(bodies.unsnap(&held, max).ok()?.as_ref().to_vec()),
    };
    Some(bodies.decompress(encoding, held, max).ok()?.as_ref().to_vec())
}

/// Reads a JSON body as each question that is asked with one.
pub fn json(bytes: &[u8]) {
    if let Ok(ask) = serde_json::from_slice::<Ask>(bytes) {
        let _ = ask.logql();
        let _ = ask.records(Tenant::default(), NOW_NS, &ServerOptions::default());
        if let Some(what) = &ask.aggregate {
            let _ = ask.counts(Tenant::default(), NOW_NS, &ServerOptions::default(), what);
        }
    }
    if let Ok(query) = serde_json::from_slice::<AnyCase>(bytes) {
        let _ = query.query().map(|query| query.filter());
    }
    if let Ok(when) = serde_json::from_slice::<When>(bytes) {
        let _ = when.resolve(NOW_NS);
    }
}

/// Reads a query string, or a form, as Loki's requests and ours.
pub fn query_string(bytes: &[u8]) {
    if let Ok(pairs) = form::pairs(bytes) {
        for (_, value) in &pairs {
            let _ = (timestamp(value, 0), seconds_or_duration(value), params::since(value, NOW_NS));
            let _ = crate::http::selector::parse_selector(value);
        }
        let asked = Asked::of_pairs(pairs);
        let _ = (Bounds::of(&asked, NOW_NS), Bounds::forward(&asked, NOW_NS));
        let _ = (RangeAsked::of(&asked, NOW_NS, 11_000), number(&asked, "line_limit", 1));
    }
    let uri = std::str::from_utf8(bytes).ok().and_then(|text| format!("/?{text}").parse::<Uri>().ok());
    if let Some(Ok(Query(asked))) = uri.map(|uri| Query::<ShortParams>::try_from_uri(&uri))
        && let Ok(range) = asked.range(NOW_NS, Duration::from_secs(3600))
    {
        assert!(range.start <= range.end);
        let _ = asked.step(range, 11_000);
    }
}

/// Reads the headers that say what a body is and whose: one a line, `name:value`.
pub fn headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n').take(16) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.get(1..).unwrap_or_default()))
        {
            headers.append(name, value);
        }
    }
    let _ = (producer::of_headers(&headers), params::stream_labels(&headers), tenant::of_headers(&headers));
    let _ = (Encoding::of_request(&headers), MediaType::of_request(&headers));
}

/// Takes the records of a gRPC request: each is stored, or refused by its index.
pub fn append(bytes: &[u8], options: &DecodeOptions<'_>) {
    let Ok(request) = Append::of(bytes) else { return };
    if let Ok(decoded) = Decoder::new().records(|records| request.read(records), options) {
        assert_eq!(decoded.accepted + decoded.refused_total, request.count);
        assert_eq!(decoded.accepted, decoded.batch.as_ref().map_or(0, |batch| batch.rows()));
    }
}

/// Takes the entries of LogsGo's gRPC requests: one, or a batch.
pub fn upload(bytes: &[u8], options: &DecodeOptions<'_>) {
    for entries in [Entries::One(bytes), Entries::Batch(bytes)] {
        let Ok(count) = entries.count() else { continue };
        if let Ok(decoded) = Decoder::new().records(|records| entries.read(records), options) {
            assert_eq!(decoded.accepted + decoded.refused_total, count);
        }
    }
}

/// The filter and the range of a gRPC query.
pub fn query(request: &v1::QueryRequest) -> Option<(Filter, TimeRange)> {
    let filter = convert::filter(request.filter.as_ref()).ok()?;
    Some((filter, TimeRange { start: request.start_ns.unwrap_or(0), end: request.end_ns.unwrap_or(0) }))
}
