//! `POST /api/v1/query`: records, counts or a plan.

use super::answer::{json, put};
use super::ask::Ask;
use super::logql;
use super::params::{self, NoParams, Params};
use super::shape::{Shape, put_records};
use crate::cancel::CancelOnDrop;
use crate::error::{ApiError, ApiResult};
use crate::state::{Overtime, State};
use crate::tenant::OfTenant;
use axum::body::Body;
use axum::extract::State as Of;
use axum::http::HeaderMap;
use axum::response::Response;
use std::sync::Arc;
use timberlog_db::Database;
use timberlog_db::language::ast::LogExpr;
use timberlog_db::query::{Aggregation, Cancel, Explain, Groups, Page, Query, QueryError, Statistics};
use timberlog_types::{Tenant, time};

/// Where records stand in an answer, and what stands behind them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// `data`.
    Query,
    /// `hot`; then no `segments`, and until when their addresses can be used.
    SearchPlan {
        /// Now.
        now_ns: i64,
    },
}

/// Answers a question.
pub async fn query(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Params(NoParams {}): Params<NoParams>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    state.database()?;
    let mut ask: Ask = params::json(&state, &headers, body).await?;
    if ask.cold.is_some() {
        return Err(ApiError::invalid("`cold` is of POST /api/v1/search/plan"));
    }
    let of = tenant.clone();
    in_turn(&state, &of, move |state, database, cancel| {
        let now_ns = state.env.clock.now_ns();
        if let Some(expr) = ask.logql()? {
            return entries(state, database, tenant, &ask, expr, Frame::Query, cancel);
        }
        if let Some(aggregate) = ask.aggregate.take().filter(|_| !ask.explain) {
            let counts = Aggregation { cancel, ..ask.counts(tenant, now_ns, &state.options, &aggregate)? };
            return Ok(json(of_groups(&counts.by, &database.aggregate(&counts)?)));
        }
        let query = Query { cancel, ..ask.records(tenant, now_ns, &state.options)? };
        Ok(if ask.explain { of_explain(&database.explain(&query)?) } else { json(of_page(&database.page(&query)?)) })
    })
    .await
}

/// Runs a tenant's work on a thread that may block, when it is its turn; what it runs is cancelled when the client goes
/// away. Texts of queries are parsed there too: a long one takes long.
pub async fn in_turn<T: Send + 'static>(
    state: &Arc<State>,
    tenant: &Tenant,
    work: impl FnOnce(&State, &Database, Cancel) -> ApiResult<T> + Send + 'static,
) -> ApiResult<T> {
    let cancel = Cancel::default();
    let _guard = CancelOnDrop(cancel.clone());
    let of = Arc::clone(state);
    match state.query_in_time(tenant, move |database| work(&of, database, cancel)).await? {
        Ok(done) => done,
        Err(Overtime(limit)) => Err(timberlog_types::Error::from(QueryError::Time { limit }).into()),
    }
}

/// Answers a LogQL log query.
pub fn entries(
    state: &State,
    database: &Database,
    tenant: Tenant,
    ask: &Ask,
    expr: LogExpr,
    frame: Frame,
    cancel: Cancel,
) -> ApiResult<Response> {
    let mut query = logql::question(ask, expr, state.env.clock.now_ns(), &state.options)?;
    query.options.cancel = cancel;
    if ask.explain {
        return Ok(of_explain(&database.explain_log_query(&tenant, &query)?));
    }
    let found = database.log_query(&tenant, &query)?;
    let mut out = Vec::with_capacity(256 + found.entries.len() * 512);
    frame.begin(&mut out);
    logql::put_entries(&mut out, &found.entries);
    frame.end(&mut out, &found.statistics, &found.missing);
    Ok(json(out))
}

impl Frame {
    fn begin(self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self {
            Self::Query => b"{\"status\":\"success\",\"data\":",
            Self::SearchPlan { .. } => b"{\"status\":\"success\",\"hot\":",
        });
    }

    fn end(self, out: &mut Vec<u8>, statistics: &Statistics, missing: &[String]) {
        if let Self::SearchPlan { now_ns } = self {
            out.extend_from_slice(b",\"segments\":[],\"expires_at\":");
            put(out, &time::format_rfc3339(now_ns));
        }
        put_end(out, statistics, missing);
    }
}

fn of_page(page: &Page) -> Vec<u8> {
    let frame = Frame::Query;
    let mut out = Vec::with_capacity(256 + page.records.len() * 512);
    frame.begin(&mut out);
    put_records(&mut out, Shape::Line, &page.records);
    out.extend_from_slice(b",\"next\":");
    put(&mut out, &page.next.as_ref().map(ToString::to_string));
    frame.end(&mut out, &page.statistics, &page.missing);
    out
}

fn of_explain(explain: &Explain) -> Response {
    let mut out = b"{\"status\":\"success\",\"data\":".to_vec();
    put(&mut out, explain);
    out.push(b'}');
    json(out)
}

fn of_groups(by: &[String], groups: &Groups) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + groups.groups.len() * 64);
    out.extend_from_slice(b"{\"status\":\"success\",\"data\":[");
    for (index, group) in groups.groups.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
        if let Some(bucket) = group.bucket {
            out.extend_from_slice(b"\"timestamp\":");
            put(&mut out, &bucket);
            out.push(b',');
        }
        out.extend_from_slice(b"\"labels\":{");
        for (at, (name, value)) in by.iter().zip(&group.key).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            put(&mut out, name);
            out.push(b':');
            put(&mut out, value);
        }
        out.extend_from_slice(b"},\"count\":");
        put(&mut out, &group.count);
        out.push(b'}');
    }
    out.push(b']');
    put_end(&mut out, &groups.statistics, &groups.missing);
    out
}

/// Appends what was looked at and what is missing, and ends the answer.
pub fn put_end(out: &mut Vec<u8>, statistics: &Statistics, missing: &[String]) {
    out.extend_from_slice(b",\"statistics\":");
    put(out, statistics);
    out.extend_from_slice(b",\"missing\":");
    put(out, missing);
    out.push(b'}');
}
