//! `patterns`: the forms that lines have, and how many lines have each by steps of time.
//!
//! Steps are Loki's: multiples of `step`, which is 10 s at least. Loki asks for matchers alone;
//! here filters of lines and labels count too.

use super::answer::json;
use super::asked::Asked;
use super::error::{LokiError, LokiResult};
use super::params::{self, Bounds};
use super::run::run;
use crate::http::answer::put;
use crate::state::State;
use axum::extract::{Request, State as Of};
use axum::response::Response;
use std::io::Write as _;
use std::sync::Arc;
use timberlog_db::language::{Expr, parse};
use timberlog_db::query::logql::LinePattern;
use timberlog_types::time::SECOND_NS;

/// The shortest step, Loki's.
const STEP_MIN_NS: i64 = 10 * SECOND_NS;
/// Steps without lines are told if others follow within so long, as long as Loki keeps together.
const GAP_MAX_NS: i64 = 3_600 * SECOND_NS;

/// The patterns of the lines that a query lets through.
pub async fn patterns(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    let bounds = Bounds::of(&asked, state.env.clock.now_ns())?;
    let step_ns = params::step(&asked, bounds, state.options.query_points_max)?.max(STEP_MIN_NS);
    run(&state, &asked.tenant.clone(), move |database, options| {
        let Expr::Log(expr) = parse(asked.get("query"))? else {
            return Err(LokiError::invalid("only label matchers are supported"));
        };
        let found = database.line_patterns(&asked.tenant, &expr, bounds.lines(), step_ns, options)?;
        let mut out = br#"{"status":"success","data":["#.to_vec();
        for (index, pattern) in found.patterns.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            put_pattern(&mut out, pattern, step_ns);
        }
        out.push(b']');
        if !found.missing.is_empty() {
            out.extend_from_slice(b",\"warnings\":");
            put(&mut out, &found.missing);
        }
        out.push(b'}');
        Ok(json(out))
    })
    .await
}

fn put_pattern(out: &mut Vec<u8>, pattern: &LinePattern, step_ns: i64) {
    out.extend_from_slice(b"{\"pattern\":");
    put(out, &pattern.pattern);
    out.extend_from_slice(b",\"level\":");
    put(out, pattern.level);
    out.extend_from_slice(b",\"samples\":[");
    let mut last: Option<i64> = None;
    for &(begin, lines) in &pattern.samples {
        // Loki fills no gap at its own resolution.
        let near = last.filter(|last| step_ns > STEP_MIN_NS && begin.saturating_sub(*last) <= GAP_MAX_NS);
        let mut empty = near.map_or(begin, |last| last.saturating_add(step_ns));
        while empty < begin {
            put_sample(out, empty, 0);
            empty = empty.saturating_add(step_ns);
        }
        put_sample(out, begin, lines);
        last = Some(begin);
    }
    if last.is_some() {
        out.pop();
    }
    out.extend_from_slice(b"]}");
}

/// With a comma behind it.
fn put_sample(out: &mut Vec<u8>, begin: i64, lines: u64) {
    let _ = write!(out, "[{},{lines}],", begin.div_euclid(SECOND_NS));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_without_lines_are_told_between_near_ones() {
        let at = |minute: i64| minute * 60 * SECOND_NS;
        let pattern = LinePattern {
            pattern: "a \"<_>\"".to_owned(),
            level: "info",
            samples: vec![(at(1), 5), (at(4), 6), (at(100), 7)],
        };
        let shown = |step_ns| {
            let mut out = Vec::new();
            put_pattern(&mut out, &pattern, step_ns);
            String::from_utf8(out).unwrap()
        };
        let head = r#"{"pattern":"a \"<_>\"","level":"info","samples":"#;
        assert_eq!(shown(at(1)), format!("{head}[[60,5],[120,0],[180,0],[240,6],[6000,7]]}}"));
        assert_eq!(shown(STEP_MIN_NS), format!("{head}[[60,5],[240,6],[6000,7]]}}"));
    }
}
