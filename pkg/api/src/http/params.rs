//! What requests say beside their body: query strings, headers, times.

use crate::body::{Encoding, MediaType};
use crate::error::{ApiError, ApiResult};
use crate::state::State;
use axum::body::Body;
use axum::extract::{FromRequestParts, Query};
use axum::http::{HeaderMap, request::Parts};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use timberlog_ingest::STREAM_LABELS_MAX;
use timberlog_types::TimeRange;
use timberlog_types::time::{self, SECOND_NS};

/// The query string of a request; an unknown or malformed parameter is refused.
pub struct Params<T>(pub T);

/// The query string of a request that takes none: what stands there was meant for its body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let Query(params) = Query::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::invalid(format!("query string: {}", innermost(&error))))?;
        Ok(Self(params))
    }
}

fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> String {
    let mut error: &'a (dyn std::error::Error + 'static) = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The stream labels that a request asks for, if it does.
pub fn stream_labels(headers: &HeaderMap) -> ApiResult<Option<Vec<String>>> {
    let Some(value) = headers.get("x-timberlog-stream-labels") else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| ApiError::invalid("the header `X-TimberLog-Stream-Labels` is not UTF-8"))?;
    let names: Vec<String> =
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.len() > STREAM_LABELS_MAX {
        return Err(ApiError::invalid(format!(
            "the header `X-TimberLog-Stream-Labels` names {} labels, expected at most {STREAM_LABELS_MAX}",
            names.len()
        )));
    }
    Ok(Some(names))
}

/// Reads a JSON body of a query.
pub async fn json<T: DeserializeOwned>(state: &Arc<State>, headers: &HeaderMap, body: Body) -> ApiResult<T> {
    let media = MediaType::of_request(headers)?;
    let encoding = Encoding::of_request(headers)?;
    let max = state.options.query_body_bytes_max;
    let named = |error: ApiError| error.map_message(|text| text.replace("`body_bytes_max`", "`query_body_bytes_max`"));
    let body = state.bodies.collect(headers, body, max).await.map_err(named)?;
    let body = state.bodies.decompress(encoding, body, max).map_err(named)?;
    let bytes = body.as_ref().trim_ascii_start();
    if !bytes.starts_with(b"{") {
        return Err(media.explain(ApiError::invalid("the body is not a JSON object")));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| media.explain(ApiError::invalid(format!("the body is not what this endpoint reads: {error}"))))
}

/// A time in a request: ns since 1970 as a number, or a text (see [`When::resolve`]).
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a time: a number of ns since 1970, or a text such as `now-15m` or RFC 3339")]
pub enum When {
    /// ns since 1970.
    Ns(i64),
    /// RFC 3339, a unix time whose unit its magnitude tells, `now`, or `now-15m`.
    Text(String),
}

impl When {
    /// The time in ns; `None` for 0 and for an empty text, which leave a range open.
    pub fn resolve(&self, now_ns: i64) -> ApiResult<Option<i64>> {
        let text = match self {
            Self::Ns(0) => return Ok(None),
            Self::Ns(ns) => return Ok(Some(*ns)),
            Self::Text(text) => text.trim(),
        };
        if text.is_empty() || text == "0" {
            return Ok(None);
        }
        if let Some(rest) = text.strip_prefix("now") {
            if rest.is_empty() {
                return Ok(Some(now_ns));
            }
            if let Some(ns) = rest.strip_prefix('-').and_then(duration_ns) {
                return Ok(Some(now_ns.saturating_sub(ns)));
            }
        }
        time::parse(text.as_bytes()).map(Some).map_err(|error| {
            ApiError::invalid(format!(
                "`{}` is not a time: {error}; `now` and `now-15m` are too",
                text.escape_default()
            ))
        })
    }
}

/// A time of a query string: as [`When::resolve`], or a span before now such as `15m`.
pub fn since(text: &str, now_ns: i64) -> ApiResult<Option<i64>> {
    match duration_ns(text.trim()) {
        Some(ns) => Ok(Some(now_ns.saturating_sub(ns))),
        None => When::Text(text.to_owned()).resolve(now_ns),
    }
}

/// A range of times from its two bounds, each with its name; one that is not said leaves it open.
///
/// # Errors
/// 400 if it ends before it starts: nothing can be found in it, and whoever asks should know why.
pub fn range(bounds: [(&str, Option<i64>); 2]) -> ApiResult<TimeRange> {
    let [(first, start), (last, end)] = bounds;
    let range = TimeRange { start: start.unwrap_or(i64::MIN), end: end.unwrap_or(i64::MAX) };
    if range.is_empty() {
        return Err(ApiError::invalid(format!("`{first}` is after `{last}`")));
    }
    Ok(range)
}

/// The ns of a span: a number and one of `ns us ms s m h d w`.
pub fn duration_ns(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND_NS,
        "m" => 60 * SECOND_NS,
        "h" => 3600 * SECOND_NS,
        "d" => 86_400 * SECOND_NS,
        "w" => 7 * 86_400 * SECOND_NS,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn times_come_in_many_forms() {
        let now = 1_700_000_000 * SECOND_NS;
        let text = |text: &str| When::Text(text.to_owned()).resolve(now);
        assert_eq!(When::Ns(0).resolve(now).unwrap(), None);
        assert_eq!(When::Ns(-5).resolve(now).unwrap(), Some(-5));
        assert_eq!(text("now").unwrap(), Some(now));
        assert_eq!(text("now-15m").unwrap(), Some(now - 900 * SECOND_NS));
        assert_eq!(text("1970-01-01T00:00:01Z").unwrap(), Some(SECOND_NS));
        assert_eq!(text("1700000000").unwrap(), Some(now));
        assert_eq!(since("1h", now).unwrap(), Some(now - 3600 * SECOND_NS));
        for wrong in ["yesterday", "now-", "now-5", "now+5m", "9999-12-31T00:00:00Z"] {
            assert!(text(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration_ns("9223372036854775807w"), None);
    }

    #[test]
    fn stream_labels_are_a_list_of_names() {
        assert_eq!(stream_labels(&HeaderMap::new()).unwrap(), None);
        let read = stream_labels(&headers("x-timberlog-stream-labels", "service, host,,")).unwrap();
        assert_eq!(read, Some(vec!["service".to_owned(), "host".to_owned()]));
        assert!(stream_labels(&headers("x-timberlog-stream-labels", &"a,".repeat(65))).is_err());
    }
}
