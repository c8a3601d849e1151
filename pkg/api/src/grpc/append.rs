//! `Append`: a stream of batches, each answered in order once it is as durable as promised.
//!
//! Batches are handed to the WAL as they come, so that several share one fsync; the answers wait
//! in a bounded queue, and a client that does not read them is not read from either.

use super::budget::Charge;
use super::convert;
use super::records::Append;
use super::service::Answers;
use crate::decoding::{DEFECT, Defect};
use crate::error;
use crate::metrics::Protocol;
use crate::refusals::Refusals;
use crate::shares;
use crate::state::State;
use crate::store::{self, Incoming};
use std::sync::Arc;
use timberlog_db::{Appended, Database, Durability, ProducerBatch};
use timberlog_ingest::Refused;
use timberlog_proto::Encoded;
use timberlog_proto::v1::{self, AppendError, AppendResponse};
use timberlog_types::{Error, ErrorKind, Result, Tenant};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Batches of one call that may wait for their acknowledgement.
const BATCHES_WAITING_MAX: usize = 32;

/// A batch on its way: what its answer says already, and what the WAL will say.
struct Waiting {
    response: AppendResponse,
    appended: Option<oneshot::Receiver<Result<Appended>>>,
    _under_way: shares::Request,
}

/// What waits to be told to the client, in order; a status is the last.
type Next = Result<Waiting, Status>;

/// Who appends, and where to.
pub struct Appender {
    /// What all handlers share.
    pub state: Arc<State>,
    /// The database.
    pub database: Database,
    /// Whose records.
    pub tenant: Tenant,
    /// What the messages of the call take.
    pub charge: Option<Arc<Charge>>,
}

/// Reads batches until the client ends its side or the server is told to stop.
pub fn serve(appender: Appender, requests: Streaming<Encoded>) -> Answers<AppendResponse> {
    let (waiting, acknowledged) = mpsc::channel(BATCHES_WAITING_MAX);
    let (answers, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
    tokio::spawn(acknowledge(acknowledged, answers));
    tokio::spawn(read(appender, requests, waiting));
    ReceiverStream::new(receiver)
}

async fn read(appender: Appender, mut requests: Streaming<Encoded>, waiting: mpsc::Sender<Next>) {
    let Appender { state, database, tenant, charge } = appender;
    let mut draining = state.draining();
    loop {
        let request = tokio::select! {
            request = requests.message() => request,
            _ = draining.wait_for(|&draining| draining) => Err(Status::unavailable("the server is stopping")),
        };
        let next = match request {
            Ok(Some(Encoded(request))) => {
                let counted = charge.as_ref().map_or(Ok(()), |charge| charge.grow_to(request.len()));
                let (of, database, of_tenant) = (Arc::clone(&state), database.clone(), tenant.clone());
                let bytes = request.len();
                // The request goes with it: its records are counted as the database's from there on.
                let work = move || match Append::of(&request) {
                    Ok(request) => {
                        let incoming = Incoming { tenant: of_tenant, stream_labels: None, strict: request.strict };
                        Ok(append(&of, &database, &incoming, &request, counted))
                    }
                    Err(reason) => Err(Status::invalid_argument(reason)),
                };
                let next = state.decoding.run(&tenant, bytes, work).await;
                let next = next.unwrap_or_else(|Defect| Err(Status::internal(DEFECT)));
                if let Some(charge) = &charge {
                    charge.release();
                }
                next
            }
            Ok(None) => return,
            Err(status) => Err(status),
        };
        let is_last = next.is_err();
        if waiting.send(next).await.is_err() || is_last {
            return;
        }
    }
}

/// Decodes a batch and hands it to the WAL.
fn append(
    state: &State,
    database: &Database,
    incoming: &Incoming,
    request: &Append<'_>,
    counted: Result<()>,
) -> Waiting {
    let mut response = AppendResponse {
        number: request.number,
        durability: match database.durability() {
            Durability::Fsync => v1::Durability::Fsync,
            Durability::Async { .. } => v1::Durability::Async,
        }
        .into(),
        ..AppendResponse::default()
    };
    let _under_way = state.shares.enter(&incoming.tenant);
    match counted.and_then(|()| decode(state, database, incoming, request, &mut response)) {
        Ok((batch, producer)) => {
            let (sender, receiver) = oneshot::channel();
            database.append_then(
                &incoming.tenant,
                batch,
                producer,
                Box::new(move |result| drop(sender.send(result.map_err(store::ours)))),
            );
            Waiting { response, appended: Some(receiver), _under_way }
        }
        Err(error) => {
            response.error = Some(of_error(&error));
            Waiting { response, appended: None, _under_way }
        }
    }
}

fn decode(
    state: &State,
    database: &Database,
    incoming: &Incoming,
    request: &Append<'_>,
    response: &mut AppendResponse,
) -> Result<(timberlog_types::Batch, Option<ProducerBatch>)> {
    let mut producer = match request.producer {
        "" => None,
        producer => Some(ProducerBatch::new(producer, request.number)?),
    };
    let bytes = request.records_bytes;
    store::admit(state, &incoming.tenant, bytes)?;
    let mut decoded = store::decode(state, database, incoming, bytes, |decoder, options| {
        decoder.records(|records| request.read(records), options)
    })?;
    store::count(state, Protocol::Append, &decoded, bytes);
    let refusals = Refusals::of(&decoded);
    refusals.keep_with(&mut producer);
    response.refused = wire(refusals);
    match decoded.batch.take() {
        Some(batch) => Ok((batch, producer)),
        None => Err(Error::invalid(convert::all_refused(&decoded))),
    }
}

fn wire(refusals: Refusals) -> Vec<v1::Refused> {
    let refused = |refused: Refused| v1::Refused {
        index: u32::try_from(refused.index).unwrap_or(u32::MAX),
        reason: refused.reason,
    };
    refusals.named.into_iter().map(refused).collect()
}

fn of_error(error: &Error) -> AppendError {
    AppendError {
        code: error::codes(error.kind).1.into(),
        message: error.message.clone(),
        retry_after_ms: error::retry_after_ms(error.kind).unwrap_or(0),
    }
}

/// Sends the answers in order, each when the WAL has spoken.
async fn acknowledge(mut waiting: mpsc::Receiver<Next>, answers: mpsc::Sender<Result<AppendResponse, Status>>) {
    while let Some(next) = waiting.recv().await {
        let answer = match next {
            Ok(waiting) => Ok(acknowledged(waiting).await),
            Err(status) => Err(status),
        };
        if answers.send(answer).await.is_err() {
            return;
        }
    }
}

async fn acknowledged(Waiting { mut response, appended, _under_way }: Waiting) -> AppendResponse {
    let Some(appended) = appended else { return response };
    let closed = || Err(Error::new(ErrorKind::Closed, "the database closed before it could answer"));
    match appended.await.unwrap_or_else(|_| closed()) {
        Ok(appended) => {
            response.accepted = u32::try_from(appended.rows).unwrap_or(u32::MAX);
            response.duplicate = appended.duplicate;
            if appended.duplicate {
                response.refused = wire(Refusals::of_duplicate(&appended));
            }
        }
        Err(error) => response.error = Some(of_error(&error)),
    }
    response
}
