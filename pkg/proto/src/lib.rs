//! The gRPC messages and services, generated from `proto/` at build time.
//!
//! It holds generated code and [`Encoded`] only: no conversion to or from the database's own types, which belongs
//! to the crates that speak the protocol.

// Generated: the documentation is in the `.proto` files.
#![allow(missing_docs, clippy::all)]

mod encoded;

pub use encoded::Encoded;

/// LogsGo's ingestion service, `logapi.LogIngestor`. Its server gets entries as [`Encoded`] bytes.
pub mod logapi {
    tonic::include_proto!("logapi");
    include!(concat!(env!("OUT_DIR"), "/servers/logapi.rs"));
}

/// loge's push payload, `loge.Payload`.
pub mod loge {
    tonic::include_proto!("loge");
}

/// TimberLog's own service, `timberlog.v1.TimberLog`. The records of an `AppendRequest` are encoded ones, each a
/// `Record`: `record.encode_to_vec().into()`. Its server gets the whole request as [`Encoded`] bytes.
pub mod v1 {
    tonic::include_proto!("timberlog.v1");
    include!(concat!(env!("OUT_DIR"), "/servers/timberlog.v1.rs"));
}

/// The encoded descriptors of every message and service: what server reflection answers from.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
