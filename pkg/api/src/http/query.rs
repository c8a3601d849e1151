//! `POST /api/v1/query`: records, counts or a plan.

use super::answer::{json, put};
use super::ask::Ask;
use super::params;
use super::shape::{Shape, put_records};
use crate::error::ApiResult;
use crate::state::State;
use crate::tenant::OfTenant;
use axum::body::Body;
use axum::extract::State as Of;
use axum::http::HeaderMap;
use axum::response::Response;
use std::sync::Arc;
use timberlog_db::query::{Groups, Page};

/// Answers a question.
pub async fn query(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    state.database()?;
    let mut ask: Ask = params::json(&state, &headers, body).await?;
    let now_ns = state.env.clock.now_ns();
    if let Some(aggregate) = ask.aggregate.take().filter(|_| !ask.explain) {
        let counts = ask.counts(tenant, now_ns, &state.options, &aggregate)?;
        return state
            .query(move |database| database.aggregate(&counts).map(|groups| json(of_groups(&counts.by, &groups))))
            .await;
    }
    let query = ask.records(tenant, now_ns, &state.options)?;
    if ask.explain {
        return state
            .query(move |database| {
                let explain = database.explain(&query)?;
                let mut out = b"{\"status\":\"success\",\"data\":".to_vec();
                put(&mut out, &explain);
                out.push(b'}');
                Ok(json(out))
            })
            .await;
    }
    state.query(move |database| database.page(&query).map(|page| json(of_page(&page)))).await
}

fn of_page(page: &Page) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + page.records.len() * 512);
    out.extend_from_slice(b"{\"status\":\"success\",\"data\":");
    put_records(&mut out, Shape::Line, &page.records);
    out.extend_from_slice(b",\"next\":");
    put(&mut out, &page.next.as_ref().map(ToString::to_string));
    put_end(&mut out, &page.statistics, &page.missing);
    out
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

fn put_end(out: &mut Vec<u8>, statistics: &timberlog_db::query::Statistics, missing: &[String]) {
    out.extend_from_slice(b",\"statistics\":");
    put(out, statistics);
    out.extend_from_slice(b",\"missing\":");
    put(out, missing);
    out.push(b'}');
}
