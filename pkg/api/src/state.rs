//! What all handlers share: the database once it is open, limits, budgets and counters.

use crate::answers::Answers;
use crate::body::Bodies;
use crate::connections::{Connections, Patience};
use crate::decoding::Decoding;
use crate::error::{ApiError, ApiResult};
use crate::metrics::Metrics;
use crate::options::{self, ServerOptions};
use crate::rates::Rates;
use crate::shares::Shares;
use crate::threads::LowThreads;
use crate::turns::{Turn, Turns, Waiting};
use axum::http::StatusCode;
use serde_json::json;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use timberlog_db::query::{QueryError, resting};
use timberlog_db::{Database, Env, Progress};
use timberlog_ingest::Decoder;
use timberlog_types::{Error, ErrorKind, Tenant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// Decoders kept between requests.
const DECODERS_KEPT_MAX: usize = 8;
/// A decoder that read a longer body than this is let go.
const DECODER_KEPT_BODY_BYTES_MAX: usize = 4 << 20;
/// How long a long query rests between two waves while flushes fall behind what comes in.
const TIGHT_REST: Duration = Duration::from_millis(20);

/// What all handlers share.
pub struct State {
    /// The settings.
    pub options: ServerOptions,
    /// The clock, for times of arrival.
    pub env: Env,
    /// When the server started, on the monotonic clock.
    pub started_ns: u64,
    /// The server's counters.
    pub metrics: Metrics,
    /// How bodies are read.
    pub bodies: Arc<Bodies>,
    /// Where they are decoded.
    pub decoding: Arc<Decoding>,
    /// What tenants have under way of appends.
    pub shares: Arc<Shares>,
    /// Answers that wait for their clients.
    pub answers: Arc<Answers>,
    /// What queries, exports and tails run on.
    pub query_threads: LowThreads,
    /// How much tenants may send.
    pub rates: Rates,
    /// Connections to HTTP.
    pub http_connections: Arc<Connections>,
    /// Connections to gRPC.
    pub grpc_connections: Arc<Connections>,
    database: OnceLock<Result<Database, Error>>,
    progress: Arc<Progress>,
    decoders: Mutex<Vec<Decoder>>,
    queries: Arc<Turns>,
    tails: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    draining: watch::Sender<bool>,
}

/// Where the server is between its start and its end.
pub enum Phase {
    /// The database opens; bytes of WAL done and in all.
    Starting(u64, u64),
    /// The database could not be opened, or needs a restart to take records for good.
    Failed(String),
    /// At work.
    Ready,
    /// It was told to stop and ends what is under way.
    Stopping,
}

/// A query took longer than it may, its time in line included, and was not kept waiting for most of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overtime(pub Duration);

impl State {
    /// The state of a server whose database is not open yet.
    pub fn new(options: ServerOptions, env: Env, progress: Arc<Progress>) -> Self {
        let patience =
            Patience { silent: options.read_timeout, idle: options.idle_timeout, ending: options.write_timeout };
        let connections = |listener| Arc::new(Connections::new(listener, options.connections_max, patience));
        let shares = Arc::new(Shares::new(options::cores()));
        Self {
            rates: Rates::new(options.ingest_rate_max, options.ingest_burst_max),
            http_connections: connections("http"),
            grpc_connections: connections("grpc"),
            answers: Arc::new(Answers::new(options.answers_bytes_max, options.write_timeout)),
            bodies: Arc::new(Bodies::new(options.bodies_bytes_max, options.read_timeout)),
            queries: Arc::new(Turns::new(
                options.query_concurrency,
                options.queries_waiting_max,
                options.queries_resting_max,
            )),
            decoding: Arc::new(Decoding::new(options::cores(), Arc::clone(&shares))),
            shares,
            tails: Arc::new(Semaphore::new(options.tails_max)),
            exports: Arc::new(Semaphore::new(options.exports_max)),
            query_threads: LowThreads::new("timberlog-query"),
            started_ns: env.clock.monotonic_ns(),
            options,
            env,
            metrics: Metrics::default(),
            database: OnceLock::new(),
            progress,
            decoders: Mutex::default(),
            draining: watch::Sender::new(false),
        }
    }

    /// Tells that the database is open, or why it is not.
    pub fn opened(&self, database: Result<Database, Error>) {
        // The first one stays.
        let _ = self.database.set(database);
    }

    /// The database.
    ///
    /// # Errors
    /// 503 while it opens (with the progress) and if it could not be opened.
    pub fn database(&self) -> Result<&Database, Error> {
        match self.database.get() {
            Some(Ok(database)) => Ok(database),
            Some(Err(error)) => {
                Err(Error::new(ErrorKind::Unavailable, format!("the database could not be opened: {error}")))
            }
            None => {
                let (done, total) = self.progress.get();
                let message = format!("the database is starting: {done} of {total} bytes of WAL are replayed");
                Err(Error::new(ErrorKind::Unavailable, message))
            }
        }
    }

    /// Where the server is.
    pub fn phase(&self) -> Phase {
        if self.is_draining() {
            return Phase::Stopping;
        }
        match self.database.get() {
            Some(Ok(database)) => database.failure().map_or(Phase::Ready, Phase::Failed),
            Some(Err(error)) => Phase::Failed(error.to_string()),
            None => {
                let (done, total) = self.progress.get();
                Phase::Starting(done, total)
            }
        }
    }

    /// Seconds since the server started.
    pub fn uptime_s(&self) -> f64 {
        self.env.clock.monotonic_ns().saturating_sub(self.started_ns) as f64 / 1e9
    }

    /// Runs `work` with a decoder that keeps its buffers from one request to the next. `bytes` is
    /// the length of what is decoded: buffers that grew for an unusual body are let go.
    pub fn with_decoder<T>(&self, bytes: usize, work: impl FnOnce(&mut Decoder) -> T) -> T {
        let mut decoder = self.decoders.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let result = work(&mut decoder);
        if bytes <= DECODER_KEPT_BODY_BYTES_MAX {
            let mut decoders = self.decoders.lock().unwrap_or_else(PoisonError::into_inner);
            if decoders.len() < DECODERS_KEPT_MAX {
                decoders.push(decoder);
            }
        }
        result
    }

    /// Runs a tenant's query on a thread that may block, when it is its turn.
    ///
    /// # Errors
    /// 429 when too many wait or it takes too long, and whatever `work` fails with.
    pub async fn query<T, F>(self: &Arc<Self>, tenant: &Tenant, work: F) -> ApiResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, Error> + Send + 'static,
    {
        match self.query_in_time(tenant, work).await? {
            Ok(done) => Ok(done?),
            Err(Overtime(limit)) => Err(Error::from(QueryError::Time { limit }).into()),
        }
    }

    /// The same; a query that takes too long, waiting included, is told apart, unless it waited for most of the time:
    /// that is 429. Its work goes on until it is cancelled, and keeps its turn for so long.
    pub async fn query_in_time<T, F>(self: &Arc<Self>, tenant: &Tenant, work: F) -> ApiResult<Result<T, Overtime>>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> T + Send + 'static,
    {
        let database = self.database()?.clone();
        let limit = self.options.query_timeout;
        let end = Instant::now().checked_add(limit);
        let _question = self.shares.ask(tenant);
        let waiting = Arc::new(Waiting::default());
        let of_query = Arc::clone(&waiting);
        let run = async {
            let mut turn = self.query_turn(tenant).await?;
            of_query.end();
            let storing = database.clone();
            // The turn goes with what is called between waves of the query.
            let rest = move || {
                of_query.begin();
                turn.rest();
                if turn.is_long() && storing.is_tight() {
                    std::thread::sleep(TIGHT_REST);
                }
                of_query.end();
            };
            let done = self.query_threads.spawn(move || resting(rest, || work(&database)));
            done.await.map_err(|error| {
                tracing::error!(%error, "a query ended in a panic");
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the query failed by a defect; see the log")
            })
        };
        match end {
            None => run.await.map(Ok),
            Some(end) => match tokio::time::timeout_at(end, run).await {
                Ok(done) => done.map(Ok),
                Err(_) if waiting.so_far() * 2 > limit => Err(ApiError::overloaded(format!(
                    "the query waited {} ms of the {} ms that it may take (`--query-timeout`) for others to end, which run \
                     `--query-concurrency` at a time; try again later",
                    waiting.so_far().as_millis(),
                    limit.as_millis()
                ))),
                Err(_) => Ok(Err(Overtime(limit))),
            },
        }
    }

    /// Runs work that waits for the disk on a thread that may block; it is no query, and goes on if
    /// the client goes away.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> T + Send + 'static,
    ) -> ApiResult<T> {
        let database = self.database()?.clone();
        tokio::task::spawn_blocking(move || work(&database)).await.map_err(|error| {
            tracing::error!(%error, "a request ended in a panic");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed by a defect; see the log")
        })
    }

    /// Waits until a query of a tenant may run.
    pub async fn query_turn(&self, tenant: &Tenant) -> ApiResult<Turn> {
        self.shares.notice(tenant);
        self.queries.take(tenant).await.map_err(|_| {
            ApiError::overloaded(format!(
                "{} queries wait already (limit `--queries-waiting-max`)",
                self.options.queries_waiting_max
            ))
        })
    }

    /// Takes a place among the tails.
    pub fn tail_turn(&self) -> ApiResult<OwnedSemaphorePermit> {
        Arc::clone(&self.tails).try_acquire_owned().map_err(|_| {
            ApiError::overloaded(format!("{} tails run already (limit `tails_max`)", self.options.tails_max))
        })
    }

    /// Takes a place among the exports, which run as long as their clients read.
    pub fn export_turn(&self) -> ApiResult<OwnedSemaphorePermit> {
        Arc::clone(&self.exports).try_acquire_owned().map_err(|_| {
            ApiError::overloaded(format!("{} exports run already (limit `exports_max`)", self.options.exports_max))
        })
    }

    /// Queries that wait for their turn.
    pub fn queries_waiting(&self) -> usize {
        self.queries.waiting()
    }

    /// Long queries that let others go first.
    pub fn queries_resting(&self) -> usize {
        self.queries.resting()
    }

    /// Queries that run: those that have not noticed yet that they are to end count too.
    pub fn queries_running(&self) -> usize {
        self.queries.running()
    }

    /// Tells long answers to end.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether the server was told to stop.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Turns true when the server is told to stop.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }
}

impl Phase {
    /// Status and answer of `/ready`.
    pub fn answer(&self) -> (StatusCode, serde_json::Value) {
        match self {
            Self::Ready => (StatusCode::OK, json!({"status": "ready"})),
            Self::Starting(done, total) => {
                let progress = if *total == 0 { 0.0 } else { *done as f64 / *total as f64 };
                let replay = json!({"done_bytes": done, "total_bytes": total, "progress": progress});
                let error = "the database is starting";
                (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "starting", "error": error, "replay": replay}))
            }
            Self::Failed(error) => (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "failed", "error": error})),
            Self::Stopping => {
                let error = "the server is stopping";
                (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "stopping", "error": error}))
            }
        }
    }
}
