//! gRPC: LogsGo's ingestor and our own service, with reflection (v1, v1alpha) and health.

mod append;
mod budget;
pub(crate) mod convert;
mod log_ingestor;
mod query;
pub(crate) mod records;
mod service;

use crate::server::ACCEPT_PAUSE;
use crate::silence::Silence;
use crate::state::{Phase, State};
use budget::Budget;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use timberlog_proto::FILE_DESCRIPTOR_SET;
use timberlog_proto::logapi::log_ingestor_server::LogIngestorServer;
use timberlog_proto::v1::timber_log_server::TimberLogServer;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;

/// Streams that one connection may have open.
const STREAMS_PER_CONNECTION_MAX: u32 = 64;
/// How often health looks at whether the server is ready.
const HEALTH_TICK: Duration = Duration::from_millis(100);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves until the server is told to stop and every call has ended.
pub async fn serve(state: Arc<State>, listener: TcpListener) -> Result<(), BoxError> {
    let max = state.options.grpc_message_bytes_max;
    let ingestor = LogIngestorServer::new(log_ingestor::Ingestor { state: Arc::clone(&state) })
        .max_decoding_message_size(max)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    let own = TimberLogServer::new(service::Service { state: Arc::clone(&state) })
        .max_decoding_message_size(max)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .send_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Zstd);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(report_health(Arc::clone(&state), reporter));
    let mut draining = state.draining();
    let read_timeout = state.options.read_timeout;
    let budget = Budget { bodies: Arc::clone(&state.bodies), read_timeout };
    let connections = Arc::new(Semaphore::new(state.options.connections_max));
    let incoming = Box::pin(futures_util::stream::unfold(listener, move |listener| {
        accept(listener, Arc::clone(&connections), read_timeout)
    }));
    Server::builder()
        .layer(budget)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(Some(state.options.read_timeout))
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(ingestor)
        .add_service(own)
        .serve_with_incoming_shutdown(incoming, async move {
            // An error means that the server is gone, which is the same.
            let _ = draining.wait_for(|&draining| draining).await;
        })
        .await?;
    Ok(())
}

/// Waits until there is room for a connection, and for the next one.
async fn accept(
    listener: TcpListener,
    connections: Arc<Semaphore>,
    read_timeout: Duration,
) -> Option<(io::Result<Silence>, TcpListener)> {
    let place = connections.acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers must not wait for the client's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                return Some((Ok(Silence::new(stream, read_timeout).holding(place)), listener));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Tells the health service whether the server is ready: the same as `/ready` says.
async fn report_health(state: Arc<State>, reporter: tonic_health::server::HealthReporter) {
    let names = [
        "",
        <LogIngestorServer<log_ingestor::Ingestor> as tonic::server::NamedService>::NAME,
        <TimberLogServer<service::Service> as tonic::server::NamedService>::NAME,
    ];
    let set = async |status| {
        for name in names {
            reporter.set_service_status(name, status).await;
        }
    };
    set(tonic_health::ServingStatus::NotServing).await;
    let mut draining = state.draining();
    let mut was_ready = false;
    while !state.is_draining() {
        let is_ready = matches!(state.phase(), Phase::Ready);
        if is_ready != was_ready {
            use tonic_health::ServingStatus::{NotServing, Serving};
            set(if is_ready { Serving } else { NotServing }).await;
            was_ready = is_ready;
        }
        tokio::select! {
            () = tokio::time::sleep(HEALTH_TICK) => {}
            _ = draining.wait_for(|&draining| draining) => {}
        }
    }
    set(tonic_health::ServingStatus::NotServing).await;
}
