//! The connections of a listener: how many are open, which of them are idle, and how they end.
//!
//! A connection is idle while no request of it is under way: none that is being answered, none whose
//! answer its client has not read. One that is idle for too long is closed, and when all places are
//! taken those that have been idle the longest make room for new ones. They are told by their protocol's
//! own means (HTTP/2 by GOAWAY), so a request that is on its way to us is still answered. A connection
//! with a request under way is never cut.

use crate::metrics::Exposition;
use crate::silence::Silence;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tower::Service;

/// How long to wait when the system has no file handle left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A connection that was idle for less does not make room: its client is between two requests.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often another connection is asked to make room while one waits.
const ROOM_TICK: Duration = Duration::from_millis(100);
/// The log says at most so often that connections make room.
const TOLD_INTERVAL: Duration = Duration::from_secs(60);

/// As good as never, where a time is longer than a clock goes.
const FAR: Duration = Duration::from_secs(365 * 86_400);

/// The connections of one listener.
pub struct Connections {
    name: &'static str,
    max: usize,
    limits: Patience,
    places: Arc<Semaphore>,
    open: Mutex<Open>,
    closed_idle: AtomicU64,
    closed_for_others: AtomicU64,
}

/// How long connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until the client has said which protocol it speaks.
    pub silent: Duration,
    /// Without a request.
    pub idle: Duration,
    /// From when a connection was asked to end until it is cut; one with a request under way is not.
    pub ending: Duration,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Arc<Connection>>,
    told: Option<Instant>,
}

/// One connection, as others see it.
struct Connection {
    opened: Instant,
    requests: AtomicUsize,
    /// When the last request ended, in ms since `opened`.
    idle_since_ms: AtomicU64,
    end: Notify,
    is_ending: AtomicBool,
}

/// Takes a connection out of the open ones.
struct Entry {
    connections: Arc<Connections>,
    id: u64,
    _place: OwnedSemaphorePermit,
}

impl Connections {
    /// At most `max` connections; `name` stands in metrics and the log.
    pub fn new(name: &'static str, max: usize, limits: Patience) -> Self {
        Self {
            name,
            max,
            limits,
            places: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            open: Mutex::default(),
            closed_idle: AtomicU64::new(0),
            closed_for_others: AtomicU64::new(0),
        }
    }

    /// Serves the connections of a listener until `draining` turns true, and then until all have ended.
    pub async fn serve<S, B>(
        self: &Arc<Self>,
        listener: TcpListener,
        builder: Builder<TokioExecutor>,
        service: S,
        mut draining: watch::Receiver<bool>,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let builder = Arc::new(builder);
        // Closed when the last connection has dropped its receiver.
        let (alive, of_listener) = watch::channel(());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = draining.wait_for(|&draining| draining) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let place = tokio::select! {
                place = self.place() => place,
                _ = draining.wait_for(|&draining| draining) => break,
            };
            let Some(place) = place else { break };
            // Small answers must not wait for the client's delayed acknowledgement.
            let _ = stream.set_nodelay(true);
            let stream = TokioIo::new(Silence::new(stream, self.limits.silent));
            let (connection, entry) = self.enter(place);
            let service =
                Watched { inner: TowerToHyperService::new(service.clone()), connection: Arc::clone(&connection) };
            let (builder, draining, of_connection) = (Arc::clone(&builder), draining.clone(), of_listener.clone());
            tokio::spawn(async move {
                let served = pin!(builder.serve_connection_with_upgrades(stream, service));
                if let Err(error) = entry.run(served, &connection, draining).await {
                    tracing::debug!(%error, "a connection ended early");
                }
                drop((entry, of_connection));
            });
        }
        drop((listener, of_listener));
        alive.closed().await;
    }

    /// Waits for a place among the connections, and asks idle ones to make room.
    async fn place(self: &Arc<Self>) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        let mut place = pin!(Arc::clone(&self.places).acquire_owned());
        loop {
            self.make_room();
            tokio::select! {
                place = &mut place => return place.ok(),
                () = tokio::time::sleep(ROOM_TICK) => {}
            }
        }
    }

    /// Asks the connection to end that has been idle for the longest time.
    fn make_room(&self) {
        let mut open = self.open();
        let idle = open.connections.values().filter(|connection| !connection.is_ending.load(Relaxed));
        let oldest =
            idle.filter_map(|connection| Some((connection.idle_since()?, connection))).min_by_key(|&(since, _)| since);
        let made = match oldest {
            Some((since, connection)) if since.elapsed() >= PAUSE_MAX => {
                connection.is_ending.store(true, Relaxed);
                connection.end.notify_one();
                self.closed_for_others.fetch_add(1, Relaxed);
                true
            }
            _ => false,
        };
        if open.told.is_none_or(|told| told.elapsed() >= TOLD_INTERVAL) {
            open.told = Some(Instant::now());
            let (listener, max) = (self.name, self.max);
            let text = if made { "idle ones make room" } else { "none has been idle for long, so others wait" };
            tracing::warn!(listener, "all {max} connections (`--connections-max`) are taken: {text}");
        }
    }

    fn enter(self: &Arc<Self>, place: OwnedSemaphorePermit) -> (Arc<Connection>, Entry) {
        let connection = Arc::new(Connection {
            opened: Instant::now(),
            requests: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::new(0),
            end: Notify::new(),
            is_ending: AtomicBool::new(false),
        });
        let mut open = self.open();
        let id = open.next;
        open.next += 1;
        open.connections.insert(id, Arc::clone(&connection));
        (connection, Entry { connections: Arc::clone(self), id, _place: place })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Runs a connection to its end, which is asked for when it has been idle for too long, has to make room, or all is
    /// to end.
    async fn run<C: GracefulConnection>(
        &self,
        mut served: Pin<&mut C>,
        connection: &Connection,
        mut draining: watch::Receiver<bool>,
    ) -> Result<(), C::Error> {
        let Patience { idle, ending, .. } = self.connections.limits;
        let mut is_ending = false;
        let mut due = pin!(tokio::time::sleep(idle));
        loop {
            tokio::select! {
                done = served.as_mut() => return done,
                () = connection.end.notified(), if !is_ending => {}
                _ = draining.wait_for(|&draining| draining), if !is_ending => {}
                () = due.as_mut() => {
                    let max = if is_ending { ending } else { idle };
                    let idle_since = connection.idle_since().unwrap_or_else(Instant::now);
                    if idle_since.elapsed() < max {
                        due.as_mut().reset(after(idle_since, max));
                        continue;
                    }
                    if is_ending {
                        tracing::debug!(listener = self.connections.name, "an idle connection did not end and is cut");
                        return Ok(());
                    }
                    self.connections.closed_idle.fetch_add(1, Relaxed);
                }
            }
            is_ending = true;
            connection.is_ending.store(true, Relaxed);
            served.as_mut().graceful_shutdown();
            due.as_mut().reset(after(Instant::now(), ending));
        }
    }
}

/// A time in the future, however long it takes.
fn after(at: Instant, time: Duration) -> Instant {
    at.checked_add(time).unwrap_or(at + FAR)
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.open().connections.remove(&self.id);
    }
}

/// Writes the metrics of listeners.
pub fn write(listeners: &[&Connections], out: &mut Exposition) {
    let name = "timberlog_connections";
    out.head(name, "gauge", "Open connections, by listener.");
    for listener in listeners {
        out.line(name, &[("listener", listener.name)], listener.open().connections.len());
    }
    let name = "timberlog_connections_closed_total";
    out.head(name, "counter", "Idle connections that the server has closed, by listener and reason.");
    for listener in listeners {
        for (reason, count) in [("idle", &listener.closed_idle), ("room", &listener.closed_for_others)] {
            out.line(name, &[("listener", listener.name), ("reason", reason)], count.load(Relaxed));
        }
    }
}

impl Connection {
    /// Since when no request is under way.
    fn idle_since(&self) -> Option<Instant> {
        let ms = || Duration::from_millis(self.idle_since_ms.load(SeqCst));
        (self.requests.load(SeqCst) == 0).then(|| self.opened + ms())
    }
}

/// A request under way.
struct UnderWay(Arc<Connection>);

impl UnderWay {
    fn begin(connection: &Arc<Connection>) -> Self {
        connection.requests.fetch_add(1, SeqCst);
        Self(Arc::clone(connection))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let ms = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.idle_since_ms.store(ms, SeqCst);
        self.0.requests.fetch_sub(1, SeqCst);
    }
}

/// A service that counts the requests of its connection.
struct Watched<S> {
    inner: S,
    connection: Arc<Connection>,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Watched<S>
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let under_way = UnderWay::begin(&self.connection);
        let call = self.inner.call(request);
        Box::pin(async move { Ok(call.await?.map(|inner| Answer { inner, _under_way: under_way })) })
    }
}

/// The body of an answer; its request is under way until it has left.
struct Answer<B> {
    inner: B,
    _under_way: UnderWay,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
