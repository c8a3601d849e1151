//! `GET /api/v1/query`: LogsGo's queries in the short form. The answer has a series for each
//! service, level, message and set of labels: how many records, and the newest time; or how many
//! in each step of time.

use super::answer::{json, put};
use super::ask::limits;
use super::params::{self, Params};
use super::query::put_end;
use crate::cancel::CancelOnDrop;
use crate::error::{ApiError, ApiResult};
use crate::state::State;
use crate::tenant::OfTenant;
use axum::extract::State as Of;
use axum::response::Response;
use serde::Deserialize;
use std::sync::Arc;
use timberlog_db::language::parse_short;
use timberlog_db::query::{self, Query, Series, SeriesFound, SeriesQuery};
use timberlog_types::TimeRange;
use timberlog_types::time::SECOND_NS;

/// The most series of an answer.
const SERIES_MAX: usize = 10_000;

/// The query string of `GET /api/v1/query`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShortParams {
    expression: String,
    #[serde(default)]
    start: String,
    #[serde(default)]
    end: String,
    #[serde(default)]
    resolution: String,
}

/// Answers with series.
pub async fn query(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Params(params): Params<ShortParams>,
) -> ApiResult<Response> {
    state.database()?;
    let range = params.range(state.env.clock.now_ns(), state.options.lookback)?;
    let step = params.step(range, state.options.query_points_max)?;
    let filter =
        parse_short(&params.expression).map_err(|error| ApiError::from(timberlog_types::Error::from(error)))?;
    let records = Query { range, filter, limits: limits(&state.options), ..Query::new(tenant) };
    let _guard = CancelOnDrop(records.cancel.clone());
    let asked = SeriesQuery { records, step, series_max: SERIES_MAX };
    let tenant = asked.records.tenant.clone();
    state
        .query(&tenant, move |database| {
            let snapshot = database.snapshot(&asked.records.tenant);
            query::distinct_records(snapshot, asked).map(|found| json(of_series(&found, step.is_some())))
        })
        .await
}

impl ShortParams {
    pub(crate) fn range(&self, now_ns: i64, lookback: std::time::Duration) -> ApiResult<TimeRange> {
        let lookback = i64::try_from(lookback.as_nanos()).unwrap_or(i64::MAX);
        // The last second is meant as a whole.
        let end = match seconds(&self.end) {
            Some(second) => second.saturating_mul(SECOND_NS).saturating_add(SECOND_NS - 1),
            None => params::since(&self.end, now_ns)?.unwrap_or(now_ns),
        };
        let start = match seconds(&self.start) {
            Some(second) => second.saturating_mul(SECOND_NS),
            None => params::since(&self.start, now_ns)?.unwrap_or_else(|| end.saturating_sub(lookback)),
        };
        if start > end {
            return Err(ApiError::invalid("`start` is after `end`"));
        }
        Ok(TimeRange { start, end })
    }

    pub(crate) fn step(&self, range: TimeRange, steps_max: u64) -> ApiResult<Option<i64>> {
        if self.resolution.is_empty() {
            return Ok(None);
        }
        let text = self.resolution.trim();
        let step = params::duration_ns(text).filter(|&step| step > 0 && step % SECOND_NS == 0).ok_or_else(|| {
            let text = text.escape_default();
            ApiError::invalid(format!("resolution `{text}`, expected a number above 0 and s, m, h or d, as in `5m`"))
        })?;
        let steps = (i128::from(range.end) - i128::from(range.start)) / i128::from(step);
        if steps > i128::from(steps_max) {
            return Err(ApiError::invalid(format!(
                "resolution `{}` cuts the range into {steps} steps, at most {steps_max} are answered (limit \
                 `--query-points-max`); take a longer one, or a shorter range",
                text.escape_default()
            )));
        }
        Ok(Some(step))
    }
}

/// A time in unix seconds.
fn seconds(text: &str) -> Option<i64> {
    // Beyond, the number counts something smaller than seconds.
    text.trim().parse().ok().filter(|second: &i64| *second != 0 && second.unsigned_abs() < 100_000_000_000)
}

fn of_series(found: &SeriesFound, has_steps: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + found.series.len() * 256);
    out.extend_from_slice(b"{\"status\":\"success\",\"data\":[");
    for (index, series) in found.series.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_series(&mut out, series, has_steps);
    }
    out.push(b']');
    put_end(&mut out, &found.statistics, &found.missing);
    out
}

fn put_series(out: &mut Vec<u8>, series: &Series, has_steps: bool) {
    out.extend_from_slice(b"{\"service\":");
    put(out, &series.service);
    out.extend_from_slice(b",\"level\":");
    put(out, &series.level);
    out.extend_from_slice(b",\"message\":");
    put(out, &series.message);
    out.extend_from_slice(b",\"labels\":{");
    for (index, (name, value)) in series.labels.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put(out, name);
        out.push(b':');
        put(out, value);
    }
    out.extend_from_slice(b"},\"count\":");
    put(out, &series.count);
    out.extend_from_slice(b",\"last\":");
    put(out, &series.last.div_euclid(SECOND_NS));
    out.extend_from_slice(b",\"last_ns\":");
    put(out, &series.last);
    if has_steps {
        out.extend_from_slice(b",\"counts\":[");
        for (index, &(start, count)) in series.counts.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            put(out, &(start.div_euclid(SECOND_NS), count));
        }
        out.push(b']');
    }
    out.push(b'}');
}
