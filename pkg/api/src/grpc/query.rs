//! `Query` and `Tail`: server streams of records.

use super::convert;
use super::service::Answers;
use crate::cancel::CancelOnDrop;
use crate::error;
use crate::state::State;
use std::sync::Arc;
use std::time::Duration;
use timberlog_db::query::{Cancel, Cursor, Order, Page, Query};
use timberlog_db::{Database, TailEvent};
use timberlog_proto::v1::{self, QueryRequest, QueryResponse, TailRequest, TailResponse};
use timberlog_types::{Error, Result, Tenant, TimeRange};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Records of one answer.
const PAGE_RECORDS: usize = 1_000;
/// Answers that may wait for the client.
const ANSWERS_WAITING_MAX: usize = 4;
/// How often a tail looks whether its client is still there.
const TAIL_TICK: Duration = Duration::from_millis(250);

/// Finds records, a page at a time; each page is a query of its own, so no thread waits for a
/// slow client.
pub async fn query(
    state: &Arc<State>,
    tenant: Tenant,
    request: QueryRequest,
) -> Result<Answers<QueryResponse>, Status> {
    let mut query = of_request(state, tenant, &request).map_err(error::status)?;
    let mut left = match usize::try_from(request.limit) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    // The first page is fetched before the call is answered: its errors are the call's.
    query.limit = left.min(PAGE_RECORDS);
    let first = page(state, query.clone()).await?;
    let (answers, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
    let state = Arc::clone(state);
    tokio::spawn(async move {
        let mut next = Ok(first);
        loop {
            let page = match next {
                Ok(page) => page,
                Err(status) => {
                    let _ = answers.send(Err(status)).await;
                    return;
                }
            };
            left = left.saturating_sub(page.records.len());
            query.cursor = page.next;
            query.limit = left.min(PAGE_RECORDS);
            let is_last = left == 0 || page.next.is_none();
            if answers.send(Ok(convert::query_response(page, is_last))).await.is_err() || is_last {
                return;
            }
            if state.is_draining() {
                let _ = answers.send(Err(Status::unavailable("the server is stopping"))).await;
                return;
            }
            next = tokio::select! {
                page = self::page(&state, query.clone()) => page,
                () = answers.closed() => return,
            };
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// A page; ends it when its future is dropped.
async fn page(state: &Arc<State>, query: Query) -> Result<Page, Status> {
    let query = Query { cancel: Cancel::default(), ..query };
    let _guard = CancelOnDrop(query.cancel.clone());
    let tenant = query.tenant.clone();
    state.query(&tenant, move |database| database.page(&query)).await.map_err(error::ApiError::into_status)
}

fn of_request(state: &State, tenant: Tenant, request: &QueryRequest) -> Result<Query> {
    let cursor = match request.cursor.as_str() {
        "" => None,
        text => Some(Cursor::parse(text)?),
    };
    let order = match v1::Order::try_from(request.order) {
        Ok(v1::Order::NewestFirst) => Order::NewestFirst,
        Ok(v1::Order::OldestFirst) => Order::OldestFirst,
        Err(_) => return Err(Error::invalid(format!("order {} is unknown", request.order))),
    };
    let range = TimeRange { start: request.start_ns.unwrap_or(i64::MIN), end: request.end_ns.unwrap_or(i64::MAX) };
    if range.is_empty() {
        return Err(Error::invalid("`start_ns` is after `end_ns`"));
    }
    Ok(Query {
        tenant,
        range,
        filter: convert::filter(request.filter.as_ref())?,
        order,
        limit: PAGE_RECORDS,
        cursor,
        limits: state.options.query_limits(),
        cancel: Cancel::default(),
    })
}

/// Follows new records on a thread of its own until the client or the server goes.
pub fn tail(
    state: &Arc<State>,
    database: &Database,
    tenant: &Tenant,
    request: TailRequest,
) -> Result<Answers<TailResponse>, Status> {
    let permit = state.tail_turn().map_err(error::ApiError::into_status)?;
    let filter = convert::filter(request.filter.as_ref()).map_err(error::status)?;
    let tail = database.tail(tenant, filter).map_err(error::status)?;
    let (answers, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
    let state = Arc::clone(state);
    let of = Arc::clone(&state);
    of.query_threads.spawn(move || {
        let _permit = permit;
        while !answers.is_closed() {
            if state.is_draining() {
                let _ = answers.blocking_send(Err(Status::unavailable("the server is stopping")));
                return;
            }
            let answer = match tail.next(TAIL_TICK) {
                Ok(None) => continue,
                Ok(Some(TailEvent::Records(records))) => {
                    Ok(TailResponse { records: records.into_iter().map(convert::record).collect(), missed: 0 })
                }
                Ok(Some(TailEvent::Missed(missed))) => Ok(TailResponse { records: Vec::new(), missed }),
                Err(error) => Err(error::status(error)),
            };
            let ended = answer.is_err();
            if answers.blocking_send(answer).is_err() || ended {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(receiver))
}
