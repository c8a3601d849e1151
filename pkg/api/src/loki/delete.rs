//! `delete`: what is asked to be deleted, as Loki's compactor takes it.
//!
//! Parameters, statuses and words are Loki's. A delete here is at work, as a whole, before its answer
//! leaves: `max_interval` is checked and of no effect. It can be cancelled as long as no record was
//! removed from a file because of it; nothing brings one back, so `force` has no effect either.

use super::asked::Asked;
use super::error::{LokiError, LokiResult};
use crate::http::answer::{json, put};
use crate::state::State;
use axum::extract::{Request, State as Of};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::io::Write as _;
use std::sync::Arc;
use timberlog_db::language::parse_log;
use timberlog_db::language::units::{parse_go_duration, print_go_duration};
use timberlog_db::{Database, DeleteState, DeleteStatus, Tombstone};
use timberlog_types::time::{self, SECOND_NS};
use timberlog_types::{ErrorKind, TimeRange};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-delete-request-id");
/// Characters of a time in seconds.
const UNIX_CHARACTERS: usize = 10;
const MS_NS: i64 = 1_000_000;

/// Deletes what a query names.
pub async fn add(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    added(state, request).await.map_err(LokiError::into_line)
}

async fn added(state: Arc<State>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    let (tenant, now_ns) = (asked.tenant.clone(), state.env.clock.now_ns());
    let deleted = state.blocking(move |database| delete(database, &asked, now_ns)).await??;
    state.metrics.delete_received();
    tracing::info!(%tenant, id = deleted.id, query = deleted.selector, "a delete was received");
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(id) = HeaderValue::from_str(&deleted.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}

fn delete(database: &Database, asked: &Asked, now_ns: i64) -> LokiResult<Tombstone> {
    let query = asked.get("query");
    if query.is_empty() {
        return Err(LokiError::invalid("query not set"));
    }
    let expr = parse_log(query).map_err(|error| LokiError::invalid(format!("invalid query expression: {error}")))?;
    if asked.get("start").is_empty() {
        return Err(LokiError::invalid("start time not set"));
    }
    let start = when(asked, "start", now_ns)?;
    let end = when(asked, "end", now_ns)?;
    if end > now_ns {
        return Err(LokiError::invalid("deletes in the future are not allowed"));
    }
    if start >= end {
        return Err(LokiError::invalid("start time can't be greater than or equal to end time"));
    }
    if !expr.stages.is_empty() {
        check_interval(asked.get("max_interval"), end.saturating_sub(start))?;
    }
    Ok(database.delete(&asked.tenant, query, TimeRange { start, end })?)
}

/// RFC 3339 or seconds since 1970; now if it was not sent.
fn when(asked: &Asked, name: &str, now_ns: i64) -> LokiResult<i64> {
    let text = asked.get(name);
    if text.is_empty() {
        return Ok(now_ns);
    }
    let seconds = || {
        let seconds: f64 = text.parse().ok().filter(|_| text.len() == UNIX_CHARACTERS)?;
        // To the millisecond, as Loki keeps it; what is beyond the ends of time is at them.
        Some(((seconds * 1e3).round() as i64).saturating_mul(MS_NS))
    };
    time::parse_rfc3339(text.as_bytes())
        .ok()
        .or_else(seconds)
        .ok_or_else(|| LokiError::invalid(format!("invalid {name} time: require unix seconds or RFC3339 format")))
}

fn check_interval(text: &str, range_ns: i64) -> LokiResult<()> {
    if text.is_empty() {
        return Ok(());
    }
    match parse_go_duration(text) {
        Ok(ns) if ns > range_ns => Err(LokiError::invalid(format!(
            "max_interval can't be greater than the interval to be deleted ({})",
            print_go_duration(range_ns)
        ))),
        Ok(ns) if ns >= SECOND_NS => Ok(()),
        _ => Err(LokiError::invalid("invalid max_interval: valid time units are 's', 'm', 'h'")),
    }
}

/// The deletes of a tenant, oldest first.
pub async fn list(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    listed(state, request).await.map_err(LokiError::into_line)
}

async fn listed(state: Arc<State>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    let now_ns = state.env.clock.now_ns();
    let range = match (asked.get("start"), asked.get("end")) {
        ("", _) | (_, "") => TimeRange::ALL,
        _ => TimeRange { start: when(&asked, "start", now_ns)?, end: when(&asked, "end", now_ns)? },
    };
    let is_pending = asked.get("for_querytime_filtering") == "true";
    let deletes = state.blocking(move |database| database.deletes(&asked.tenant)).await?;
    let is_asked = |delete: &&DeleteStatus| {
        delete.tombstone.range.overlaps(range) && !(is_pending && delete.state == DeleteState::Processed)
    };
    let mut out = b"[".to_vec();
    for (index, delete) in deletes.iter().filter(is_asked).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_delete(&mut out, delete);
    }
    out.extend_from_slice(b"]\n");
    Ok(json(out))
}

fn put_delete(out: &mut Vec<u8>, delete: &DeleteStatus) {
    let Tombstone { id, selector, range, created_ns, .. } = &delete.tombstone;
    out.extend_from_slice(b"{\"request_id\":");
    put(out, id);
    for (name, ns) in [("start_time", range.start), ("end_time", range.end)] {
        let _ = write!(out, ",\"{name}\":{}", Seconds(ns));
    }
    out.extend_from_slice(b",\"query\":");
    put(out, selector);
    let status = match delete.state {
        DeleteState::Received => "received",
        DeleteState::Processed => "processed",
    };
    let _ = write!(out, ",\"status\":\"{status}\",\"created_at\":{},\"user_id\":\"\"}}", Seconds(*created_ns));
}

/// A time in ns as Loki tells it: seconds, with as many digits of milliseconds as it takes.
struct Seconds(i64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = self.0.div_euclid(MS_NS);
        let sign = if ms < 0 { "-" } else { "" };
        let (seconds, rest) = (ms.unsigned_abs() / 1_000, ms.unsigned_abs() % 1_000);
        if rest == 0 {
            return write!(f, "{sign}{seconds}");
        }
        write!(f, "{sign}{seconds}.{}", format!("{rest:03}").trim_end_matches('0'))
    }
}

/// Cancels a delete.
pub async fn cancel(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    cancelled(state, request).await.map_err(LokiError::into_line)
}

async fn cancelled(state: Arc<State>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    let (id, tenant) = (asked.get("request_id").to_owned(), asked.tenant.clone());
    let done = state.blocking(move |database| {
        let is_processed = |delete: &DeleteStatus| delete.tombstone.id == id && delete.state == DeleteState::Processed;
        if database.deletes(&tenant).iter().any(is_processed) {
            return Err(LokiError::invalid(
                "deletion of request which is in process or already processed is not allowed",
            ));
        }
        database.cancel_delete(&tenant, &id).map_err(|error| match error.kind {
            ErrorKind::NotFound => LokiError::new(StatusCode::NOT_FOUND, "could not find delete request with given id"),
            ErrorKind::Conflict => LokiError::invalid(format!(
                "Cancellation of partially completed delete request is not allowed: {}",
                error.message
            )),
            _ => error.into(),
        })
    });
    done.await??;
    state.metrics.delete_cancelled();
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_told_as_loki_does() {
        let now = 1_700_000_000_123_456_789;
        let read = |text: &str| when(&Asked::of_query(&format!("start={text}")), "start", now);
        for (text, ns) in [
            ("", now),
            ("1591616227", 1_591_616_227 * SECOND_NS),
            ("9999999999", i64::MAX),
            ("2020-06-08T11:37:07Z", 1_591_616_227 * SECOND_NS),
            ("2020-06-08T13:37:07.5%2B02:00", 1_591_616_227_500_000_000),
        ] {
            assert_eq!(read(text).unwrap(), ns, "{text}");
        }
        for text in ["159161622", "15916162270", "yesterday", "2020-06-08", "1591616227000000000"] {
            let error = read(text).unwrap_err().message();
            assert_eq!(error, "invalid start time: require unix seconds or RFC3339 format", "{text}");
        }
        for (ns, text) in [
            (0, "0"),
            (1_591_616_227 * SECOND_NS, "1591616227"),
            (1_591_616_227_500_000_000, "1591616227.5"),
            (1_591_616_227_019_999_999, "1591616227.019"),
            (-1_500_000_000, "-1.5"),
        ] {
            assert_eq!(Seconds(ns).to_string(), text);
        }
    }

    #[test]
    fn intervals_are_refused_as_loki_does() {
        let day = 86_400 * SECOND_NS;
        for text in ["", "1s", "24h", "90m"] {
            check_interval(text, day).unwrap();
        }
        for (text, expected) in [
            ("1", "invalid max_interval: valid time units are 's', 'm', 'h'"),
            ("500ms", "invalid max_interval: valid time units are 's', 'm', 'h'"),
            ("1d", "invalid max_interval: valid time units are 's', 'm', 'h'"),
            ("25h", "max_interval can't be greater than the interval to be deleted (24h0m0s)"),
        ] {
            assert_eq!(check_interval(text, day).unwrap_err().message(), expected, "{text}");
        }
    }
}
