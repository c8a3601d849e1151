//! `index/stats`, `index/volume` and `index/volume_range`: how much a selector finds, from indexes.

use super::answer::{Answered, json_of};
use super::asked::{Asked, Categories};
use super::error::{LokiError, LokiResult};
use super::params::{self, Bounds, RangeAsked};
use super::result::{put_labels, put_point};
use super::run::run;
use crate::state::State;
use axum::extract::{Request, State as Of};
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;
use timberlog_db::language::ast::LabelMatcher;
use timberlog_db::language::{parse, parse_selector};
use timberlog_db::query::Statistics;
use timberlog_db::query::logql::{Volume, VolumeBy, VolumeQuery};

/// Volumes of an answer when nothing is said.
const VOLUMES_DEFAULT: u32 = 100;

/// How many streams, chunks, records and bytes a selector finds.
pub async fn stats(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    let range = RangeAsked::of(&asked, state.env.clock.now_ns(), state.options.query_points_max)?;
    let matchers = choosy_selector(asked.get("query"))?;
    run(&state, &asked.tenant.clone(), move |database, options| {
        let found = database.selector_stats(&asked.tenant, &matchers, range.bounds.streams(), options)?;
        Ok(json_of(&json!(found)))
    })
    .await
}

/// Bytes by labels, in all.
pub async fn volume(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    let limit = volume_limit(&asked)?;
    let bounds = Bounds::forward(&asked, state.env.clock.now_ns())?;
    answer(state, asked, limit, bounds, None).await
}

/// Bytes by labels, by steps of time.
pub async fn volume_range(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    let limit = volume_limit(&asked)?;
    let bounds = Bounds::forward(&asked, state.env.clock.now_ns())?;
    let step_ns = params::step(&asked, bounds, state.options.query_points_max)?;
    answer(state, asked, limit, bounds, Some(step_ns)).await
}

/// 0 is the default here.
fn volume_limit(asked: &Asked) -> LokiResult<usize> {
    if asked.get("limit") == "0" {
        return Ok(VOLUMES_DEFAULT as usize);
    }
    Ok(params::number(asked, "limit", VOLUMES_DEFAULT)? as usize)
}

/// A selector that cannot let every stream through.
pub fn choosy_selector(text: &str) -> LokiResult<Vec<LabelMatcher>> {
    let selector = parse_selector(text)?;
    // Says why such a selector does not do.
    parse(text)?;
    Ok(selector)
}

/// The same, or the one that means all.
fn volume_selector(text: &str) -> LokiResult<Vec<LabelMatcher>> {
    if text == "{}" {
        return Ok(Vec::new());
    }
    choosy_selector(text)
}

async fn answer(
    state: Arc<State>,
    asked: Asked,
    limit: usize,
    bounds: Bounds,
    step_ns: Option<i64>,
) -> LokiResult<Response> {
    let by = match asked.get("aggregateBy") {
        "" | "series" => VolumeBy::Series,
        "labels" => VolumeBy::Labels,
        _ => return Err(LokiError::invalid("invalid aggregation option")),
    };
    let targets = asked.get("targetLabels");
    let query = VolumeQuery {
        selector: volume_selector(asked.get("query"))?,
        targets: if targets.is_empty() { Vec::new() } else { targets.split(',').map(str::to_owned).collect() },
        by,
        range: bounds.streams(),
        step_ns,
        limit,
    };
    run(&state, &asked.tenant.clone(), move |database, options| {
        let volumes = database.volume(&asked.tenant, &query, options)?;
        // Loki tells steps without records, too: what is found in a range of several steps is a matrix.
        let spans_steps = |step: i64| query.range.start.div_euclid(step) != query.range.end.div_euclid(step);
        let is_matrix = !volumes.is_empty() && query.step_ns.is_some_and(|step| spans_steps(step.max(1)));
        let answered = Answered {
            result_type: if is_matrix { "matrix" } else { "vector" },
            categories: Categories::Merged,
            returned: volumes.len(),
            statistics: &Statistics::default(),
            missing: &[],
        };
        Ok(answered.frame(|out| put_volumes(out, &volumes, is_matrix)))
    })
    .await
}

fn put_volumes(out: &mut Vec<u8>, volumes: &[Volume], is_matrix: bool) {
    out.push(b'[');
    for (index, volume) in volumes.iter().filter(|volume| !volume.bytes.is_empty()).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"metric\":");
        if volume.name.is_empty() {
            put_labels(out, &volume.labels);
        } else {
            put_name(out, &volume.name);
        }
        out.extend_from_slice(if is_matrix { b",\"values\":[" } else { b",\"value\":" });
        for (index, &(end_ns, bytes)) in volume.bytes.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            put_point(out, end_ns, bytes as f64);
        }
        out.extend_from_slice(if is_matrix { b"]}" } else { b"}" });
    }
    out.push(b']');
}

/// A label alone is told with an empty value, which a set of labels cannot hold.
fn put_name(out: &mut Vec<u8>, name: &str) {
    out.push(b'{');
    crate::http::answer::put(out, name);
    out.extend_from_slice(b":\"\"}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use timberlog_db::language::Labels;

    #[test]
    fn one_step_is_a_vector_and_several_are_a_matrix() {
        let volume =
            |bytes: &[(i64, u64)]| Volume { name: String::new(), labels: Labels::default(), bytes: bytes.to_vec() };
        let shown = |volumes: &[Volume], is_matrix| {
            let mut out = Vec::new();
            put_volumes(&mut out, volumes, is_matrix);
            String::from_utf8(out).unwrap()
        };
        let second = 1_000_000_000;
        assert_eq!(shown(&[volume(&[(second, 5)])], false), r#"[{"metric":{},"value":[1,"5"]}]"#);
        let named = Volume { name: "app".to_owned(), ..volume(&[(second, 5), (2 * second, 6)]) };
        assert_eq!(shown(&[named], true), r#"[{"metric":{"app":""},"values":[[1,"5"],[2,"6"]]}]"#);
    }
}
