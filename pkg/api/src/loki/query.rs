//! `query` and `query_range`: LogQL, at one time and over a range.

use super::answer::Answered;
use super::asked::Asked;
use super::error::{LokiError, LokiResult};
use super::params::{self, RangeAsked};
use super::result::{kind_of, put_streams, put_value};
use super::run::{metric_error, run};
use crate::state::State;
use axum::extract::{Request, State as Of};
use axum::response::Response;
use std::sync::Arc;
use timberlog_db::Database;
use timberlog_db::language::ast::{Expr, LogExpr, MetricExpr};
use timberlog_db::language::evaluate::Steps;
use timberlog_db::language::{ParseError, parse};
use timberlog_db::query::logql::{LogQuery, Options};
use timberlog_types::Tenant;

impl From<ParseError> for LokiError {
    fn from(error: ParseError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// A metric query at one time.
pub async fn query(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    params::limit(&asked)?;
    let time_ns = params::timestamp(asked.get("time"), state.env.clock.now_ns()).map_err(LokiError::invalid)?;
    params::direction(&asked)?;
    let steps = Steps { start_ns: time_ns, end_ns: time_ns, step_ns: 0 };
    // Parsing compiles the query's regular expressions, which takes its time.
    run(&state, &asked.tenant.clone(), move |database, options| match parse(asked.get("query"))? {
        Expr::Log(_) => Err(LokiError::invalid(
            "log queries are not supported as an instant query type, please change your query to a range query type",
        )),
        Expr::Metric(expr) => metric(database, options, &asked, &expr, steps),
    })
    .await
}

/// A query over a range.
pub async fn query_range(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    let range = RangeAsked::of(&asked, state.env.clock.now_ns(), state.options.query_points_max)?;
    let entries_max = state.options.loki_entries_max;
    run(&state, &asked.tenant.clone(), move |database, options| match parse(asked.get("query"))? {
        Expr::Log(expr) => {
            params::entries_within(range.limit as usize, entries_max)?;
            log(database, options, &asked, expr, range)
        }
        Expr::Metric(expr) => {
            let (bounds, step_ns) = (range.bounds, range.step_ns);
            let steps = Steps { start_ns: bounds.start, end_ns: bounds.end, step_ns };
            metric(database, options, &asked, &expr, steps)
        }
    })
    .await
}

fn log(
    database: &Database,
    options: &Options,
    asked: &Asked,
    expr: LogExpr,
    range: RangeAsked,
) -> LokiResult<Response> {
    let query = LogQuery {
        expr,
        range: range.bounds.lines(),
        order: range.order,
        limit: range.limit as usize,
        interval_ns: range.interval_ns,
        options: options.clone(),
    };
    let found = database.log_query(&asked.tenant, &query)?;
    let answered = Answered {
        result_type: "streams",
        categories: asked.categories,
        returned: found.entries.len(),
        statistics: &found.statistics,
        missing: &found.missing,
    };
    Ok(answered.frame(|out| put_streams(out, &found.entries, asked.categories)))
}

fn metric(
    database: &Database,
    options: &Options,
    asked: &Asked,
    expr: &MetricExpr,
    steps: Steps,
) -> LokiResult<Response> {
    let tenant: &Tenant = &asked.tenant;
    let computed = database.metric_query(tenant, expr, steps, options).map_err(metric_error)?;
    let (result_type, returned) = kind_of(&computed.value);
    let answered = Answered {
        result_type,
        categories: asked.categories,
        returned,
        statistics: &computed.statistics,
        missing: &computed.missing,
    };
    Ok(answered.frame(|out| put_value(out, &computed.value)))
}
