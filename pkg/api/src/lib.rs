//! The server: HTTP and gRPC in front of an embedded database.
//!
//! This crate owns addresses, limits on what clients may send, the shapes of answers and the one
//! table from error kinds to statuses ([`error::codes`]). It stores nothing itself, and never
//! acknowledges a record before the database has.

mod answers;
mod body;
mod cancel;
mod connections;
mod decoding;
pub mod error;
mod grpc;
pub mod http;
mod line;
mod loki;
mod metrics;
mod options;
mod producer;
mod rates;
mod refusals;
#[doc(hidden)]
pub mod requests;
mod server;
mod shares;
mod silence;
mod state;
mod store;
pub mod tenant;
mod threads;
mod turns;

pub use options::{GRPC_PORT, HTTP_PORT, ServerOptions};
pub use server::{Opening, Server};
