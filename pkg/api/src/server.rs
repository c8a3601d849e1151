//! The server: two listeners, their connections, and the way to a clean end.
//!
//! It may be bound and started before the database is open: `/ready` and every other endpoint
//! answer 503 until [`Opening::opened`] is called.

use crate::grpc;
use crate::http;
use crate::options::ServerOptions;
use crate::state::State;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use timberlog_db::{Database, Env, Progress};
use timberlog_types::Error;
use tokio::net::TcpListener;

/// The longest read and write buffer of an HTTP/1 connection.
const CONNECTION_BUFFER_BYTES: usize = 512 << 10;

/// A server that is bound to its addresses and not yet running.
pub struct Server {
    state: Arc<State>,
    http: TcpListener,
    grpc: TcpListener,
}

/// Tells a running server that its database is open.
#[derive(Clone)]
pub struct Opening {
    state: Arc<State>,
}

impl Opening {
    /// The database is open, or could not be opened. The first call counts.
    pub fn opened(&self, database: Result<Database, Error>) {
        self.state.opened(database);
    }
}

impl Server {
    /// Binds both addresses. `progress` is the one that [`Database::open`] reports to.
    ///
    /// # Errors
    /// If an address is taken or not ours.
    pub async fn bind(options: ServerOptions, env: Env, progress: Arc<Progress>) -> io::Result<Self> {
        let bind = |addr: SocketAddr, what: &'static str| async move {
            let failed =
                |error: io::Error| io::Error::new(error.kind(), format!("{what} cannot listen on `{addr}`: {error}"));
            TcpListener::bind(addr).await.map_err(failed)
        };
        let http = bind(options.http_addr, "HTTP").await?;
        let grpc = bind(options.grpc_addr, "gRPC").await?;
        Ok(Self { state: Arc::new(State::new(options, env, progress)), http, grpc })
    }

    /// Where HTTP listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn http_addr(&self) -> io::Result<SocketAddr> {
        self.http.local_addr()
    }

    /// Where gRPC listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn grpc_addr(&self) -> io::Result<SocketAddr> {
        self.grpc.local_addr()
    }

    /// The handle by which the database is given to the server.
    pub fn opening(&self) -> Opening {
        Opening { state: Arc::clone(&self.state) }
    }

    /// Serves until `shutdown` is done and then until every request under way has its answer, at
    /// most [`ServerOptions::drain_max`]. The database is not closed.
    ///
    /// # Errors
    /// If gRPC cannot serve.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> io::Result<()> {
        let Self { state, http, grpc } = self;
        let http = tokio::spawn(serve_http(Arc::clone(&state), http));
        let grpc = tokio::spawn(grpc::serve(Arc::clone(&state), grpc));
        shutdown.await;
        state.drain();
        let drain_max = state.options.drain_max;
        let (http_abort, grpc_abort) = (http.abort_handle(), grpc.abort_handle());
        let both = async { tokio::join!(http, grpc) };
        match tokio::time::timeout(drain_max, both).await {
            Ok((http, grpc)) => {
                http.map_err(io::Error::other)?;
                grpc.map_err(io::Error::other)?.map_err(io::Error::other)
            }
            Err(_) => {
                http_abort.abort();
                grpc_abort.abort();
                tracing::warn!(seconds = drain_max.as_secs(), "requests did not end in time and were cut off");
                Ok(())
            }
        }
    }
}

async fn serve_http(state: Arc<State>, listener: TcpListener) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(state.options.read_timeout)
        // Not `pipeline_flush`: it holds an answer back while bytes behind its request are unread, and
        // so loses it when the connection ends there.
        .max_buf_size(CONNECTION_BUFFER_BYTES);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(state.options.read_timeout));
    state.http_connections.serve(listener, builder, http::router(&state), state.draining()).await;
}
