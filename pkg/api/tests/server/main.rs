//! The server from outside: real sockets, a real database in a temporary directory.

#![allow(missing_docs, reason = "tests")]

mod bad_input;
mod connections;
mod deletes;
mod flood;
mod grpc;
mod grpc_limits;
mod harness;
mod ingest;
mod languages;
mod loki_drilldown;
mod loki_push;
mod loki_read;
mod loki_tail;
mod openapi;
mod operations;
mod push;
mod queries;
mod query_limits;
mod rates;
mod scenarios;
