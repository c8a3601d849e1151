//! `timberlog.v1.TimberLog`.

use super::append::{self, Appender};
use super::budget::Charge;
use super::query;
use crate::error;
use crate::state::State;
use crate::tenant;
use std::sync::Arc;
use timberlog_proto::Encoded;
use timberlog_proto::v1::timber_log_server::TimberLog;
use timberlog_proto::v1::{AppendResponse, QueryRequest, QueryResponse, TailRequest, TailResponse};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The service.
pub struct Service {
    pub(super) state: Arc<State>,
}

/// Answers that a call sends one after the other; few wait, so a slow client slows its call.
pub type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl TimberLog for Service {
    type AppendStream = Answers<AppendResponse>;
    type QueryStream = Answers<QueryResponse>;
    type TailStream = Answers<TailResponse>;

    async fn append(&self, request: Request<Streaming<Encoded>>) -> Result<Response<Self::AppendStream>, Status> {
        let database = self.state.database().map_err(error::status)?.clone();
        let tenant = tenant::of_headers(request.metadata().as_ref()).map_err(error::status)?;
        let charge = Charge::of(&request);
        let appender = Appender { state: Arc::clone(&self.state), database, tenant, charge };
        Ok(Response::new(append::serve(appender, request.into_inner())))
    }

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<Self::QueryStream>, Status> {
        let tenant = tenant::of_headers(request.metadata().as_ref()).map_err(error::status)?;
        query::query(&self.state, tenant, request.into_inner()).await.map(Response::new)
    }

    async fn tail(&self, request: Request<TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        let database = self.state.database().map_err(error::status)?.clone();
        let tenant = tenant::of_headers(request.metadata().as_ref()).map_err(error::status)?;
        query::tail(&self.state, &database, &tenant, request.into_inner()).map(Response::new)
    }
}
