//! `/api/v1/admin/retention`: what retention keeps, and the word of somebody who knows that the clock
//! is right.

use super::answer::json_of;
use crate::error::ApiResult;
use crate::state::State;
use axum::extract::State as Of;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use timberlog_db::{RetentionRule, RetentionStatus};
use timberlog_types::time;

/// What retention does now.
pub async fn status(Of(state): Of<Arc<State>>) -> ApiResult<Response> {
    let status = state.blocking(|database| database.retention_status()).await?;
    Ok(json_of(&json!({"status": "success", "data": told(&status)})))
}

/// Lets retention go on that was paused because the clock had jumped ahead.
pub async fn confirm(Of(state): Of<Arc<State>>) -> ApiResult<Response> {
    let status =
        state.blocking(|database| database.confirm_retention().map(|()| database.retention_status())).await??;
    tracing::info!(clock = time::format_rfc3339(status.clock_ns), "retention was told that the clock is right");
    Ok(json_of(&json!({"status": "success", "data": told(&status)})))
}

fn told(status: &RetentionStatus) -> Value {
    let rule = |rule: &RetentionRule| {
        json!({
            "tenant": rule.tenant.as_ref().map(ToString::to_string),
            "selector": rule.selector,
            "age_seconds": rule.age.as_secs(),
        })
    };
    json!({
        "rules": status.rules.iter().map(rule).collect::<Vec<_>>(),
        "bytes_max": status.bytes_max,
        "bytes": status.bytes,
        "clock": time::format_rfc3339(status.clock_ns),
        "paused": status.paused,
    })
}
