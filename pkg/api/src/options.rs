//! Settings of the server: addresses, and a named limit for everything that a client could make
//! large, slow or many.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use timberlog_db::language::evaluate::EvaluateLimits;
use timberlog_db::query::{QueryLimits, logql};

/// The port of HTTP.
pub const HTTP_PORT: u16 = 3100;
/// The port of gRPC.
pub const GRPC_PORT: u16 = 4317;

/// Settings of the server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where HTTP listens; port 0 is any free one.
    pub http_addr: SocketAddr,
    /// Where gRPC listens; port 0 is any free one.
    pub grpc_addr: SocketAddr,
    /// JSON keys that are stream labels, unless a request says otherwise.
    pub stream_labels: Vec<String>,
    /// Limits of what a batch and its records may be.
    pub ingest: timberlog_ingest::Limits,
    /// The longest body of an ingestion request, before and after decompression.
    pub body_bytes_max: usize,
    /// The longest gRPC message; each open call may hold one in memory.
    pub grpc_message_bytes_max: usize,
    /// The longest body of a query.
    pub query_body_bytes_max: usize,
    /// Bytes of request bodies and gRPC messages in memory at one time; beyond, requests are refused
    /// with 429 and calls with `RESOURCE_EXHAUSTED`.
    pub bodies_bytes_max: usize,
    /// Bytes a second that a tenant may send, decompressed; beyond, its requests are refused with 429 and calls with
    /// `RESOURCE_EXHAUSTED`. 0 for no limit.
    pub ingest_rate_max: u64,
    /// Bytes that a tenant may send at once when it was quiet before; 0 for those of two seconds.
    pub ingest_burst_max: u64,
    /// Connections to HTTP at one time, and as many to gRPC; for further ones those end that have been idle the
    /// longest, and where none is idle they wait.
    pub connections_max: usize,
    /// How long a connection may be without a request; one of HTTP/1 no longer than [`Self::read_timeout`].
    pub idle_timeout: Duration,
    /// How long a client may take for the head of a request, and for every 16 KiB of its body or message.
    pub read_timeout: Duration,
    /// Queries that run at one time.
    pub query_concurrency: usize,
    /// Queries that may wait for their turn, which tenants take by turns; beyond, they are refused
    /// with 429, those of the tenant first that has most in line.
    pub queries_waiting_max: usize,
    /// Long queries that may wait for others to go first, with what they have found so far in memory; beyond, long
    /// queries run to their end.
    pub queries_resting_max: usize,
    /// The longest time of a query, waiting included; an export may take as long as it needs.
    pub query_timeout: Duration,
    /// Bytes of columns that a query may look at; an export as many as it needs.
    pub query_bytes_max: u64,
    /// Bytes of memory that a query may take for what it has found, and as many for what it computes
    /// of it.
    pub query_memory_bytes_max: u64,
    /// The most points that a series of a metric query may have.
    pub query_points_max: u64,
    /// The most series that a metric query may answer with: those that its outermost aggregation
    /// leaves.
    pub query_series_max: usize,
    /// The most series that one range aggregation of a metric query may have, before anything is
    /// computed of them.
    pub query_range_series_max: usize,
    /// Bytes of answers that wait for their clients to read them; beyond, requests are refused with
    /// 429. A longer answer may be under way alone.
    pub answers_bytes_max: usize,
    /// How long a client may read nothing of its answer before its connection is closed.
    pub write_timeout: Duration,
    /// The most records in one answer.
    pub page_records_max: usize,
    /// How far back queries in the short form look when they name no start.
    pub lookback: Duration,
    /// The most lines that a query of Loki's API may ask for.
    pub loki_entries_max: usize,
    /// Whether labels that Loki derives are: `service_name`, and `detected_level`, for which lines
    /// that come by Loki's protocol are looked into.
    pub loki_derive_labels: bool,
    /// Exports at one time.
    pub exports_max: usize,
    /// Tails at one time.
    pub tails_max: usize,
    /// How long requests under way may take to end after the server was told to stop.
    pub drain_max: Duration,
}

/// The cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            http_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT)),
            grpc_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, GRPC_PORT)),
            stream_labels: vec!["service".to_owned()],
            ingest: timberlog_ingest::Limits::default(),
            body_bytes_max: 64 << 20,
            grpc_message_bytes_max: 16 << 20,
            query_body_bytes_max: 1 << 20,
            bodies_bytes_max: 128 << 20,
            ingest_rate_max: 0,
            ingest_burst_max: 0,
            connections_max: 8192,
            idle_timeout: Duration::from_secs(10 * 60),
            read_timeout: Duration::from_secs(30),
            query_concurrency: cores().max(2),
            queries_waiting_max: 256,
            queries_resting_max: 8,
            query_timeout: Duration::from_secs(30),
            query_bytes_max: 64 << 30,
            query_memory_bytes_max: 256 << 20,
            query_points_max: 11_000,
            query_series_max: 500,
            query_range_series_max: 100_000,
            answers_bytes_max: 256 << 20,
            write_timeout: Duration::from_secs(60),
            page_records_max: 10_000,
            lookback: Duration::from_secs(15 * 60),
            loki_entries_max: 5_000,
            loki_derive_labels: true,
            exports_max: 8,
            tails_max: 64,
            drain_max: Duration::from_secs(20),
        }
    }
}

impl ServerOptions {
    /// What a query may use.
    pub fn query_limits(&self) -> QueryLimits {
        QueryLimits { time: self.query_timeout, bytes: self.query_bytes_max, memory: self.query_memory_bytes_max }
    }

    /// How LogQL is run.
    pub fn logql(&self) -> logql::Options {
        logql::Options {
            limits: self.query_limits(),
            series_max: self.query_range_series_max,
            evaluate: EvaluateLimits {
                points_per_series_max: self.query_points_max,
                series_max: self.query_series_max,
                memory_max_bytes: self.query_memory_bytes_max,
            },
            derived: self.loki_derive_labels,
            ..logql::Options::default()
        }
    }
}
