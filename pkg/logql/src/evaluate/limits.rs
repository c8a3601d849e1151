//! How much a metric query may come to.

/// How much a metric query may come to. 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluateLimits {
    /// Steps of a range query.
    pub points_per_series_max: u64,
    /// Series of the answer, counted after the outermost aggregation.
    pub series_max: usize,
    /// Bytes that samples, labels and the answer may take up together during the evaluation.
    pub memory_max_bytes: u64,
}

impl Default for EvaluateLimits {
    /// Those of Loki: 11,000 points, 500 series; and 1 GiB.
    fn default() -> Self {
        Self { points_per_series_max: 11_000, series_max: 500, memory_max_bytes: 1 << 30 }
    }
}
