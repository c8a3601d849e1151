//! gRPC: LogsGo's ingestor and our own service, with reflection (v1, v1alpha) and health.

mod append;
mod convert;
mod log_ingestor;
mod query;
mod service;

use crate::silence::Silence;
use crate::state::State;
use std::sync::Arc;
use timberlog_proto::FILE_DESCRIPTOR_SET;
use timberlog_proto::logapi::log_ingestor_server::LogIngestorServer;
use timberlog_proto::v1::timber_log_server::TimberLogServer;
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// Streams that one connection may have open.
const STREAMS_PER_CONNECTION_MAX: u32 = 64;
/// How often health looks at whether the database is open.
const HEALTH_TICK: std::time::Duration = std::time::Duration::from_millis(100);

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
    let incoming = TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .map(move |stream| stream.map(|stream| Silence::new(stream, read_timeout)));
    Server::builder()
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

/// Tells the health service when the database is open and when the server stops.
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
    while state.database().is_err() {
        tokio::select! {
            () = tokio::time::sleep(HEALTH_TICK) => {}
            _ = draining.wait_for(|&draining| draining) => return,
        }
    }
    set(tonic_health::ServingStatus::Serving).await;
    let _ = draining.wait_for(|&draining| draining).await;
    set(tonic_health::ServingStatus::NotServing).await;
}
