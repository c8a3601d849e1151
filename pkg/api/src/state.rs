//! What all handlers share: the database once it is open, limits, budgets and counters.

use crate::body::Bodies;
use crate::error::{ApiError, ApiResult};
use crate::metrics::Metrics;
use crate::options::ServerOptions;
use axum::http::StatusCode;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use timberlog_db::{Database, Env, Progress};
use timberlog_ingest::Decoder;
use timberlog_types::{Error, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Decoders kept between requests.
const DECODERS_KEPT_MAX: usize = 8;
/// A decoder that read a longer body than this is let go.
const DECODER_KEPT_BODY_BYTES_MAX: usize = 4 << 20;

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
    database: OnceLock<Result<Database, Error>>,
    progress: Arc<Progress>,
    decoders: Mutex<Vec<Decoder>>,
    queries: Arc<Semaphore>,
    queries_waiting: AtomicUsize,
    tails: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    draining: watch::Sender<bool>,
}

/// Where the server is between its start and its end.
pub enum Phase {
    /// The database opens; bytes of WAL done and in all.
    Starting(u64, u64),
    /// The database could not be opened, or takes no more records until a restart.
    Failed(String),
    /// At work.
    Ready,
    /// It was told to stop and ends what is under way.
    Stopping,
}

impl State {
    /// The state of a server whose database is not open yet.
    pub fn new(options: ServerOptions, env: Env, progress: Arc<Progress>) -> Self {
        Self {
            bodies: Arc::new(Bodies::new(options.bodies_bytes_max, options.read_timeout)),
            queries: Arc::new(Semaphore::new(options.query_concurrency.max(1))),
            tails: Arc::new(Semaphore::new(options.tails_max)),
            exports: Arc::new(Semaphore::new(options.exports_max)),
            started_ns: env.clock.monotonic_ns(),
            options,
            env,
            metrics: Metrics::default(),
            database: OnceLock::new(),
            progress,
            decoders: Mutex::default(),
            queries_waiting: AtomicUsize::new(0),
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

    /// Runs a query on a thread that may block, when it is its turn.
    ///
    /// # Errors
    /// 429 when too many wait or the wait is too long, and whatever `work` fails with.
    pub async fn query<T, F>(self: &Arc<Self>, work: F) -> ApiResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, Error> + Send + 'static,
    {
        let database = self.database()?.clone();
        let permit = self.query_turn().await?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&database);
            drop(permit);
            result
        });
        match done.await {
            Ok(result) => Ok(result?),
            Err(error) => {
                tracing::error!(%error, "a query ended in a panic");
                Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the query failed by a defect; see the log"))
            }
        }
    }

    /// Waits until a query may run.
    async fn query_turn(&self) -> ApiResult<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.queries).try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = Waiting::enter(&self.queries_waiting);
        if waiting.place >= self.options.queries_waiting_max {
            return Err(ApiError::overloaded(format!(
                "{} queries wait already (limit `queries_waiting_max`)",
                self.options.queries_waiting_max
            )));
        }
        let turn = tokio::time::timeout(self.options.query_timeout, Arc::clone(&self.queries).acquire_owned());
        match turn.await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(ApiError::overloaded("the query waited too long for its turn")),
        }
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
        self.queries_waiting.load(Ordering::Relaxed)
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

/// Counts one that waits, for as long as it lives.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    place: usize,
}

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        Self { place: count.fetch_add(1, Ordering::Relaxed), count }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
