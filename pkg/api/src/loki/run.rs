//! Runs a query of Loki's API in its turn; ends it when its client goes away.

use super::error::{LokiError, LokiResult};
use crate::cancel::CancelOnDrop;
use crate::error::{ApiError, ApiResult};
use crate::http::limits;
use crate::state::State;
use axum::http::StatusCode;
use std::sync::Arc;
use timberlog_db::Database;
use timberlog_db::language::evaluate::EvaluateError;
use timberlog_db::query::logql::{MetricError, Options};
use timberlog_db::query::{Cancel, QueryError};
use timberlog_types::Error;

/// Runs `work` on a thread that may block, when it is its turn.
pub async fn run<T: Send + 'static>(
    state: &Arc<State>,
    work: impl FnOnce(&Database, &Options) -> LokiResult<T> + Send + 'static,
) -> LokiResult<T> {
    let cancel = Cancel::default();
    let guard = CancelOnDrop(cancel.clone());
    let options = Options {
        limits: limits(&state.options),
        derived: state.options.loki_derive_labels,
        cancel,
        now_ns: state.env.clock.now_ns(),
        ..Options::default()
    };
    let done: ApiResult<LokiResult<T>> = state.query(move |database| Ok(work(database, &options))).await;
    drop(guard);
    done?
}

/// An error of a metric query, with Loki's status.
pub fn metric_error(error: MetricError) -> LokiError {
    match error {
        EvaluateError::Leaves(error) => storage_error(error),
        // Loki does not know these for mistakes of the query.
        EvaluateError::ManyToMany { .. } | EvaluateError::ManyToOne | EvaluateError::NotUnique => {
            LokiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
        error => LokiError::invalid(error.to_string()),
    }
}

fn storage_error(error: QueryError) -> LokiError {
    ApiError::from(Error::from(error)).into()
}
