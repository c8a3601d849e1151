//! gRPC: LogsGo's ingestor and our own service, with reflection (v1, v1alpha) and health.

mod append;
mod budget;
pub(crate) mod convert;
pub(crate) mod entries;
mod log_ingestor;
mod query;
pub(crate) mod records;
mod service;

use crate::state::{Phase, State};
use budget::Budget;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use std::sync::Arc;
use std::time::Duration;
use timberlog_proto::FILE_DESCRIPTOR_SET;
use timberlog_proto::logapi::log_ingestor_server::LogIngestorServer;
use timberlog_proto::v1::timber_log_server::TimberLogServer;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tower::Layer;

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
    let routes = Routes::new(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(ingestor)
        .add_service(own)
        .prepare();
    let budget = Budget { bodies: Arc::clone(&state.bodies), read_timeout: state.options.read_timeout };
    let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .keep_alive_interval(Some(state.options.read_timeout));
    state.grpc_connections.serve(listener, builder, budget.layer(routes), state.draining()).await;
    Ok(())
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
