//! `labels`, `label/{name}/values` and `series`: what there is to select.

use super::answer::json;
use super::asked::Asked;
use super::error::LokiResult;
use super::params::Bounds;
use super::result::put_labels;
use super::run::run;
use crate::http::answer::put;
use crate::state::State;
use axum::extract::{Path, Request, State as Of};
use axum::response::Response;
use std::collections::BTreeSet;
use std::sync::Arc;
use timberlog_db::language::ast::LabelMatcher;
use timberlog_db::language::{parse_log, parse_selector};

/// The selector of a parameter; none if it was not sent.
pub fn selector(text: &str) -> LokiResult<Vec<LabelMatcher>> {
    if text.is_empty() { Ok(Vec::new()) } else { Ok(parse_selector(text)?) }
}

/// The selector of a parameter, which must not take streams that have none of its labels; none if it was not sent.
fn narrowing(text: &str) -> LokiResult<Vec<LabelMatcher>> {
    let matchers = selector(text)?;
    if !text.is_empty() {
        parse_log(text)?;
    }
    Ok(matchers)
}

/// The names of stream labels.
pub async fn labels(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    let bounds = Bounds::forward(&asked, state.env.clock.now_ns())?;
    let matchers = narrowing(asked.get("query"))?;
    run(&state, &asked.tenant.clone(), move |database, options| {
        Ok(list(&database.stream_label_names(&asked.tenant, &matchers, bounds.streams(), options)?))
    })
    .await
}

/// The values of a stream label.
pub async fn values(Of(state): Of<Arc<State>>, Path(name): Path<String>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    let bounds = Bounds::forward(&asked, state.env.clock.now_ns())?;
    let matchers = narrowing(asked.get("query"))?;
    run(&state, &asked.tenant.clone(), move |database, options| {
        Ok(list(&database.stream_label_values(&asked.tenant, &name, &matchers, bounds.streams(), options)?))
    })
    .await
}

/// Loki leaves an empty list out.
fn list(texts: &[String]) -> Response {
    let mut out = br#"{"status":"success""#.to_vec();
    if !texts.is_empty() {
        out.extend_from_slice(b",\"data\":");
        put(&mut out, texts);
    }
    out.push(b'}');
    json(out)
}

/// The streams that some selectors let through.
pub async fn series(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    let bounds = Bounds::forward(&asked, state.env.clock.now_ns())?;
    let texts: BTreeSet<&str> = asked.all("match").chain(asked.all("match[]")).collect();
    let selectors = texts.into_iter().map(parse_selector).collect::<Result<Vec<_>, _>>()?;
    run(&state, &asked.tenant.clone(), move |database, options| {
        let found = database.series(&asked.tenant, &selectors, bounds.streams(), options)?;
        let mut out = br#"{"status":"success","data":["#.to_vec();
        for (index, labels) in found.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            put_labels(&mut out, labels);
        }
        out.extend_from_slice(b"]}");
        Ok(json(out))
    })
    .await
}
