//! From decoded records to an acknowledgement: the one way into the database, for all protocols.

use crate::metrics::Protocol;
use crate::state::State;
use axum::http::{HeaderName, HeaderValue};
use timberlog_db::{Appended, Database, Durability, ProducerBatch};
use timberlog_ingest::{DecodeOptions, Decoded, Decoder, IngestError, StreamRegistry};
use timberlog_types::{Batch, Error, ErrorKind, Result, Tenant};

/// The header of an answer that says when its records count as acknowledged.
pub const DURABILITY_HEADER: HeaderName = HeaderName::from_static("x-timberlog-durability");

/// The text of [`DURABILITY_HEADER`].
pub fn durability(database: &Database) -> HeaderValue {
    HeaderValue::from_static(match database.durability() {
        Durability::Fsync => "fsync",
        Durability::Async { .. } => "async",
    })
}

/// How a request wants to be decoded.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Whose records.
    pub tenant: Tenant,
    /// The fields that name the stream; `None` for the server's.
    pub stream_labels: Option<Vec<String>>,
    /// Whether one refused record refuses all.
    pub strict: bool,
}

/// The streams of one tenant, as decoders ask for them.
struct TenantStreams<'a> {
    database: &'a Database,
    tenant: &'a Tenant,
}

impl StreamRegistry for TenantStreams<'_> {
    fn admit(&self, hash: u64) -> bool {
        self.database.admit_stream(self.tenant, hash)
    }
}

/// Takes the bytes of a body, decompressed, as what its tenant sends now.
///
/// # Errors
/// `Overloaded` if that is more than it may.
pub fn admit(state: &State, tenant: &Tenant, bytes: usize) -> Result<()> {
    state.rates.take(tenant, bytes, state.env.clock.monotonic_ns())
}

/// Runs a decoder with the server's limits. `bytes` is the length of what is decoded.
pub fn decode<T>(
    state: &State,
    database: &Database,
    incoming: &Incoming,
    bytes: usize,
    work: impl FnOnce(&mut Decoder, &DecodeOptions<'_>) -> Result<T, IngestError>,
) -> Result<T, IngestError> {
    let streams = TenantStreams { database, tenant: &incoming.tenant };
    let options = DecodeOptions {
        now_ns: state.env.clock.now_ns(),
        keep_from_ns: database.retention_cutoff(&incoming.tenant).unwrap_or(i64::MIN),
        stream_labels: incoming.stream_labels.as_deref().unwrap_or(&state.options.stream_labels),
        default_service: "",
        strict: incoming.strict,
        limits: &state.options.ingest,
        streams: &streams,
    };
    state.with_decoder(bytes, |decoder| work(decoder, &options))
}

/// Stores a batch; returns when it is acknowledged. The batch is stored even if the caller goes
/// away meanwhile.
pub async fn append(
    state: &State,
    database: &Database,
    tenant: &Tenant,
    batch: Batch,
    producer: Option<ProducerBatch>,
) -> Result<Appended> {
    let _under_way = state.shares.enter(tenant);
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A receiver that is gone needs no answer.
    database.append_then(tenant, batch, producer, Box::new(move |result| drop(sender.send(result))));
    let closed = |_| Err(Error::new(ErrorKind::Closed, "the database closed before it could answer"));
    receiver.await.unwrap_or_else(closed).map_err(ours)
}

/// An error of storing as the client sees it: it names no file, so one that is gone is not what the
/// client did not find.
pub fn ours(error: Error) -> Error {
    match error.kind {
        ErrorKind::NotFound => Error::internal(error.message),
        _ => error,
    }
}

/// Counts what became of a decoded body.
pub fn count(state: &State, protocol: Protocol, decoded: &Decoded, bytes: usize) {
    state.metrics.records(protocol, decoded.accepted, decoded.refused_total, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_database_that_is_gone_is_not_the_clients_mistake() {
        let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert_eq!(ours(Error::io("make WAL file `1.wal`", &gone)).kind, ErrorKind::Internal);
        assert_eq!(ours(Error::invalid("x")).kind, ErrorKind::Invalid);
    }
}
