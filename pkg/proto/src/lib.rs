//! The gRPC messages and services, generated from `proto/` at build time.
//!
//! It holds generated code only: no conversion to or from the database's own types, which belongs
//! to the crates that speak the protocol.

// Generated: the documentation is in the `.proto` files.
#![allow(missing_docs, clippy::all)]

/// LogsGo's ingestion service, `logapi.LogIngestor`.
pub mod logapi {
    tonic::include_proto!("logapi");
}

/// loge's push payload, `loge.Payload`.
pub mod loge {
    tonic::include_proto!("loge");
}

/// TimberLog's own service, `timberlog.v1.TimberLog`. The records of an `AppendRequest` are encoded ones, each a
/// `Record`: `record.encode_to_vec().into()`.
pub mod v1 {
    tonic::include_proto!("timberlog.v1");
}

/// The encoded descriptors of every message and service: what server reflection answers from.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
