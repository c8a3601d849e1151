//! `logapi.LogIngestor`, as LogsGo's clients know it.
//!
//! Its answer cannot name a refused record, so a batch is stored as a whole or not at all.

use super::budget::Charge;
use super::convert;
use super::entries::Entries;
use crate::decoding::{DEFECT, Defect};
use crate::error;
use crate::metrics::Protocol;
use crate::producer;
use crate::state::State;
use crate::store::{self, Incoming};
use crate::tenant;
use bytes::Bytes;
use std::sync::Arc;
use timberlog_proto::Encoded;
use timberlog_proto::logapi::UploadResponse;
use timberlog_proto::logapi::log_ingestor_server::LogIngestor;
use timberlog_types::Error;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// The service.
pub struct Ingestor {
    pub(super) state: Arc<State>,
}

#[tonic::async_trait]
impl LogIngestor for Ingestor {
    async fn upload_log(&self, request: Request<Encoded>) -> Result<Response<UploadResponse>, Status> {
        let charge = Charge::of(&request);
        let (metadata, _, Encoded(entry)) = request.into_parts();
        self.store(&metadata, entry, |entry| Entries::One(entry), charge).await
    }

    async fn upload_logs(&self, request: Request<Encoded>) -> Result<Response<UploadResponse>, Status> {
        let charge = Charge::of(&request);
        let (metadata, _, Encoded(batch)) = request.into_parts();
        self.store(&metadata, batch, |batch| Entries::Batch(batch), charge).await
    }
}

impl Ingestor {
    async fn store(
        &self,
        metadata: &MetadataMap,
        request: Bytes,
        entries: for<'a> fn(&'a [u8]) -> Entries<'a>,
        charge: Option<Arc<Charge>>,
    ) -> Result<Response<UploadResponse>, Status> {
        let state = &self.state;
        let database = state.database().map_err(error::status)?.clone();
        let headers = metadata.as_ref();
        let tenant = tenant::of_headers(headers).map_err(error::status)?;
        let producer = producer::of_headers(headers).map_err(error::status)?;
        let bytes = request.len();
        if let Some(charge) = &charge {
            charge.grow_to(bytes).map_err(error::status)?;
        }
        entries(&request).count().map_err(Status::invalid_argument)?;
        store::admit(state, &tenant, bytes).map_err(error::status)?;
        let (of, of_database, of_tenant) = (Arc::clone(state), database.clone(), tenant.clone());
        let work = move || {
            let incoming = Incoming { tenant: of_tenant, stream_labels: None, strict: true };
            store::decode(&of, &of_database, &incoming, bytes, |decoder, options| {
                decoder.records(|records| entries(&request).read(records), options)
            })
        };
        let decoded = state.decoding.run(&tenant, bytes, work).await.map_err(|Defect| Status::internal(DEFECT))?;
        let mut decoded = decoded.map_err(|error| error::status(Error::from(error)))?;
        store::count(state, Protocol::LogIngestor, &decoded, bytes);
        let Some(batch) = decoded.batch.take() else {
            return Err(Status::invalid_argument(convert::all_refused(&decoded)));
        };
        store::append(state, &database, &tenant, batch, producer).await.map_err(error::status)?;
        let mut response = Response::new(UploadResponse { success: true });
        if let Ok(durability) = store::durability(&database).to_str().unwrap_or_default().parse() {
            response.metadata_mut().insert("x-timberlog-durability", durability);
        }
        Ok(response)
    }
}
