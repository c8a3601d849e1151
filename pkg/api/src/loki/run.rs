//! Runs a query of Loki's API in its turn; ends it when its client goes away or its time is over.

use super::error::{LokiError, LokiResult};
use crate::cancel::CancelOnDrop;
use crate::error::ApiError;
use crate::state::{Overtime, State};
use axum::http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use timberlog_db::Database;
use timberlog_db::language::evaluate::EvaluateError;
use timberlog_db::query::logql::{MetricError, Options};
use timberlog_db::query::{Cancel, QueryError};
use timberlog_types::{Error, Tenant};

/// Runs a tenant's `work` on a thread that may block, when it is its turn.
pub async fn run<T: Send + 'static>(
    state: &Arc<State>,
    tenant: &Tenant,
    work: impl FnOnce(&Database, &Options) -> LokiResult<T> + Send + 'static,
) -> LokiResult<T> {
    let cancel = Cancel::default();
    let _guard = CancelOnDrop(cancel.clone());
    let mut options = Options { cancel, now_ns: state.env.clock.now_ns(), ..state.options.logql() };
    // The time is looked at here, for a query that takes too long has an answer of its own.
    options.limits.time = Duration::MAX;
    match state.query_in_time(tenant, move |database| work(database, &options)).await? {
        Ok(done) => done,
        Err(Overtime(limit)) => Err(overtime(limit)),
    }
}

/// Loki's text, and what to do about it.
fn overtime(limit: Duration) -> LokiError {
    let message = format!(
        "request timed out, decrease the duration of the request or add more label matchers (prefer exact match over \
         regex match) to reduce the amount of data processed; the limit is {} ms (`--query-timeout`)",
        limit.as_millis()
    );
    LokiError::new(StatusCode::GATEWAY_TIMEOUT, message)
}

/// An error of a metric query, with Loki's status.
pub fn metric_error(error: MetricError) -> LokiError {
    let flag = match &error {
        EvaluateError::TooManySeries { .. } => " (`--query-series-max`)",
        EvaluateError::TooManyPoints { .. } => " (`--query-points-max`)",
        EvaluateError::Memory { .. } => " (`--query-memory-max`)",
        _ => "",
    };
    match error {
        EvaluateError::Leaves(error) => storage_error(error),
        // Loki does not know these for mistakes of the query.
        EvaluateError::ManyToMany { .. } | EvaluateError::ManyToOne | EvaluateError::NotUnique => {
            LokiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
        error => LokiError::invalid(format!("{error}{flag}")),
    }
}

fn storage_error(error: QueryError) -> LokiError {
    ApiError::from(Error::from(error)).into()
}
