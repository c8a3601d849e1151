//! `POST /simulate`: made-up records of five services, to see something at once.

use super::answer::json_of;
use super::params::Params;
use crate::error::{ApiError, ApiResult};
use crate::metrics::Protocol;
use crate::state::State;
use crate::store;
use crate::tenant::OfTenant;
use axum::extract::State as Of;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use timberlog_types::batch::BuildError;
use timberlog_types::time::SECOND_NS;
use timberlog_types::{BatchBuilder, ValueKind};

const COUNT_DEFAULT: usize = 10_000;
const COUNT_MAX: usize = 1_000_000;
/// Records of one batch.
const BATCH_RECORDS: usize = 1_000;
/// The records are spread over this time before now.
const SPREAD_NS: i64 = 300 * SECOND_NS;

const SERVICES: [&str; 5] = ["auth-service", "payment-service", "user-service", "order-service", "api-gateway"];
/// Of each hundred: 70 INFO, 15 WARNING, 12 ERROR, 3 CRITICAL.
const LEVELS: [(u64, &str, [&str; 3]); 4] = [
    (70, "INFO", ["request completed", "user logged in", "order created"]),
    (85, "WARNING", ["slow query", "retrying upstream", "cache miss rate is high"]),
    (97, "ERROR", ["authentication failure", "upstream timed out", "payment declined"]),
    (100, "CRITICAL", ["out of disk space", "database connection lost", "payment gateway down"]),
];

/// The query string of `POST /simulate`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulateParams {
    count: Option<usize>,
}

/// Stores made-up records.
pub async fn simulate(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    Params(params): Params<SimulateParams>,
) -> ApiResult<Response> {
    let database = state.database()?.clone();
    let count = params.count.unwrap_or(COUNT_DEFAULT);
    if count == 0 || count > COUNT_MAX {
        return Err(ApiError::invalid(format!("`count` is {count}, expected 1 to {COUNT_MAX}")));
    }
    let mut made = Made { seed: state.env.random.next_u64() | 1, now_ns: state.env.clock.now_ns(), done: 0, count };
    while made.done < count {
        let rows = BATCH_RECORDS.min(count - made.done);
        let batch = made.batch(rows).map_err(|error| timberlog_types::Error::internal(error.to_string()))?;
        let Some(batch) = batch else { break };
        let bytes = batch.as_bytes().len();
        store::append(&state, &database, &tenant, batch, None).await?;
        state.metrics.records(Protocol::Simulate, rows, 0, bytes);
    }
    let mut response = json_of(&json!({"status": "success", "logs": made.done}));
    response.headers_mut().insert(store::DURABILITY_HEADER, store::durability(&database));
    Ok(response)
}

struct Made {
    seed: u64,
    now_ns: i64,
    done: usize,
    count: usize,
}

impl Made {
    fn random(&mut self) -> u64 {
        // xorshift64*: good enough for made-up traffic.
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        self.seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn pick<T: Copy + Default>(&mut self, from: &[T]) -> T {
        let index = self.random() as usize % from.len().max(1);
        from.get(index).copied().unwrap_or_default()
    }

    fn batch(&mut self, rows: usize) -> Result<Option<timberlog_types::Batch>, BuildError> {
        let mut builder = BatchBuilder::new();
        for _ in 0..rows {
            let service = self.pick(&SERVICES);
            let share = self.random() % 100;
            let (_, level, messages) = LEVELS.iter().find(|(below, ..)| share < *below).unwrap_or(&LEVELS[0]);
            let request = self.random();
            let duration = self.random() % 900 + 1;
            let message = format!("{} (request {request:012x}, {duration} ms)", self.pick(messages));
            let stream = builder.stream(service, &[("service", service)])?;
            let level = builder.level(Some(level))?;
            builder.field("duration_ms", ValueKind::Number, duration.to_string().as_bytes())?;
            builder.field("host", ValueKind::String, format!("host-{:02}", self.random() % 20).as_bytes())?;
            builder.field("request_id", ValueKind::String, format!("{request:012x}").as_bytes())?;
            let left = i64::try_from(self.count - self.done).unwrap_or(0);
            let timestamp = self.now_ns - SPREAD_NS / i64::try_from(self.count).unwrap_or(1).max(1) * left;
            builder.finish_row(timestamp, stream, level, message.as_bytes())?;
            self.done += 1;
        }
        Ok(builder.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_records_are_made_as_asked() {
        let mut made = Made { seed: 7, now_ns: 1_700_000_000 * SECOND_NS, done: 0, count: 1500 };
        let first = made.batch(1000).unwrap().unwrap();
        let second = made.batch(500).unwrap().unwrap();
        assert_eq!((first.rows(), second.rows(), made.done), (1000, 500, 1500));
        assert_eq!(first.stream_count(), SERVICES.len());
        assert!(second.timestamp(499) < made.now_ns && first.timestamp(0) >= made.now_ns - SPREAD_NS);
    }
}
