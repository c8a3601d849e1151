//! Flags of `serve` that say what queries may take.

use bytesize::ByteSize;
use clap::Args;
use timberlog_api::ServerOptions;

/// What queries may take.
#[derive(Args)]
pub struct Queries {
    /// Queries that run at one time; 0 is the number of cores, at least 2
    #[arg(long, value_name = "N", env = "TIMBERLOG_QUERY_CONCURRENCY", default_value_t = 0)]
    query_concurrency: usize,
    /// Queries that wait for their turn, which tenants take by turns; further ones are answered with 429
    #[arg(long, value_name = "N", env = "TIMBERLOG_QUERIES_WAITING_MAX", default_value_t = 256)]
    queries_waiting_max: usize,
    /// Long queries that may be interrupted for others to go first, each with what it has found in memory; further long
    /// ones run to their end
    #[arg(long, value_name = "N", env = "TIMBERLOG_QUERIES_RESTING_MAX", default_value_t = 8)]
    queries_resting_max: usize,
    /// The longest time of a query, waiting included
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_QUERY_TIMEOUT", default_value = "30s")]
    query_timeout: humantime::Duration,
    /// Bytes of columns that a query may look at
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_QUERY_BYTES_MAX", default_value = "64GiB")]
    query_bytes_max: ByteSize,
    /// Memory that a query may take for what it finds, and as much again for what it computes of it
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_QUERY_MEMORY_MAX", default_value = "256MiB")]
    query_memory_max: ByteSize,
    /// The most points of a series of a metric query
    #[arg(long, value_name = "N", env = "TIMBERLOG_QUERY_POINTS_MAX", default_value_t = 11_000)]
    query_points_max: u64,
    /// The most series of a metric query's answer, behind its outermost aggregation
    #[arg(long, value_name = "N", env = "TIMBERLOG_QUERY_SERIES_MAX", default_value_t = 500)]
    query_series_max: usize,
    /// The most series of one range aggregation within a metric query
    #[arg(long, value_name = "N", env = "TIMBERLOG_QUERY_RANGE_SERIES_MAX", default_value_t = 100_000)]
    query_range_series_max: usize,
    /// Memory for answers that wait for their clients to read them; beyond it requests are answered with 429
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_ANSWERS_BYTES_MAX", default_value = "256MiB")]
    answers_bytes_max: ByteSize,
    /// Close the connection of a client that reads nothing of its answer for so long
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_WRITE_TIMEOUT", default_value = "60s")]
    write_timeout: humantime::Duration,
}

impl Queries {
    /// The flags that are 0 and must not be.
    pub fn zeros(&self) -> [(&'static str, bool); 6] {
        [
            ("--query-timeout", self.query_timeout.is_zero()),
            ("--query-bytes-max", self.query_bytes_max.as_u64() == 0),
            ("--query-memory-max", self.query_memory_max.as_u64() == 0),
            ("--query-points-max", self.query_points_max == 0),
            ("--query-series-max", self.query_series_max == 0),
            ("--query-range-series-max", self.query_range_series_max == 0),
        ]
    }

    /// The server's options with these.
    pub fn apply(&self, options: ServerOptions) -> ServerOptions {
        ServerOptions {
            query_concurrency: if self.query_concurrency == 0 {
                options.query_concurrency
            } else {
                self.query_concurrency
            },
            queries_waiting_max: self.queries_waiting_max,
            queries_resting_max: self.queries_resting_max,
            query_timeout: *self.query_timeout,
            query_bytes_max: self.query_bytes_max.as_u64(),
            query_memory_bytes_max: self.query_memory_max.as_u64(),
            query_points_max: self.query_points_max,
            query_series_max: self.query_series_max,
            query_range_series_max: self.query_range_series_max,
            answers_bytes_max: usize::try_from(self.answers_bytes_max.as_u64()).unwrap_or(usize::MAX),
            write_timeout: *self.write_timeout,
            ..options
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        queries: Queries,
    }

    /// Without the environment's help.
    fn options(flags: &[&str]) -> ServerOptions {
        let words = ["program"].iter().chain(flags);
        Program::try_parse_from(words).unwrap().queries.apply(ServerOptions::default())
    }

    #[test]
    fn what_no_flag_says_is_as_a_library_has_it() {
        let [ours, default] = [options(&[]), ServerOptions::default()].map(|options| format!("{options:?}"));
        assert_eq!(ours, default);
    }

    #[test]
    fn every_flag_sets_its_limit() {
        let set = options(&[
            "--query-concurrency=3",
            "--queries-waiting-max=4",
            "--query-timeout=5s",
            "--query-bytes-max=6KiB",
            "--query-memory-max=7KiB",
            "--query-points-max=8",
            "--query-series-max=9",
            "--query-range-series-max=10",
            "--answers-bytes-max=11KiB",
            "--write-timeout=12s",
        ]);
        let logql = set.logql();
        assert_eq!((set.query_concurrency, set.queries_waiting_max, set.answers_bytes_max), (3, 4, 11 << 10));
        assert_eq!((logql.limits.time.as_secs(), logql.limits.bytes, logql.limits.memory), (5, 6 << 10, 7 << 10));
        assert_eq!((logql.evaluate.memory_max_bytes, logql.evaluate.points_per_series_max), (7 << 10, 8));
        assert_eq!((logql.evaluate.series_max, logql.series_max, set.write_timeout.as_secs()), (9, 10, 12));
    }
}
