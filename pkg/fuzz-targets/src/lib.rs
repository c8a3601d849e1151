//! The bodies of the fuzz targets: each takes any bytes, gives them to parsers, and panics where a
//! promise is broken.
//!
//! A body allocates and runs no more than the parser does, or little more, so that the limits of the
//! fuzzer are limits of the parser. `fuzz/fuzz_targets` has a binary for each, which links the fuzzer;
//! the test in this crate replays `fuzz/corpus` without one.

mod archive;
mod batch;
mod blocks;
mod columns;
mod config;
#[cfg(test)]
mod corpora;
mod deletes;
mod filters;
mod grpc;
mod index;
mod ingest;
mod logql;
mod manifest;
mod memory;
mod messages;
mod pipeline;
mod requests;
mod segment;
mod store_records;
mod template;
mod times;
mod token_filter;
mod wal;

pub use archive::archive;
pub use batch::batch;
pub use blocks::blocks;
pub use columns::columns;
pub use config::config;
pub use deletes::deletes;
pub use filters::filters;
pub use grpc::grpc;
pub use index::index;
pub use ingest::{ingest_json, ingest_push};
pub use logql::logql;
pub use manifest::manifest;
pub use messages::messages;
pub use pipeline::pipeline;
pub use requests::requests;
pub use segment::segment;
pub use store_records::store_records;
pub use template::template;
pub use times::times;
pub use token_filter::token_filter;
pub use wal::wal;

/// A target.
pub type Target = fn(&[u8]);

/// All targets, by the names of their binaries and corpora.
pub const TARGETS: [(&str, Target); 22] = [
    ("archive", archive),
    ("batch", batch),
    ("blocks", blocks),
    ("columns", columns),
    ("config", config),
    ("deletes", deletes),
    ("filters", filters),
    ("grpc", grpc),
    ("index", index),
    ("ingest_json", ingest_json),
    ("ingest_push", ingest_push),
    ("logql", logql),
    ("manifest", manifest),
    ("messages", messages),
    ("pipeline", pipeline),
    ("requests", requests),
    ("segment", segment),
    ("store_records", store_records),
    ("template", template),
    ("times", times),
    ("token_filter", token_filter),
    ("wal", wal),
];

/// The bytes before and behind the first 0x00; all and nothing if there is none.
fn split_at_nul(input: &[u8]) -> (&[u8], &[u8]) {
    let at = input.iter().position(|&byte| byte == 0).unwrap_or(input.len());
    (&input[..at], input.get(at + 1..).unwrap_or_default())
}
