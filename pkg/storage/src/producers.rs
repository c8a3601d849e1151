//! Exactly-once: each producer's latest numbers and what was answered to them.
//!
//! A batch may carry a producer's name and a number that increases. The first one with a number is
//! stored; one that comes again waits for the first one's fsync, or gets the same answer at once.
//! The table is bounded: 7 days, [`PRODUCERS_MAX`] producers, [`RESULTS_MAX`] numbers of each,
//! [`TABLE_BYTES_MAX`] bytes; the producer that was quiet longest goes first, and the table counts
//! and logs that it did. It owns the format of the file that a root names (`producers/codec.rs`);
//! it must never answer a number that it has forgotten as if it were new: that is a conflict.

mod batch;
mod codec;
mod table;
#[cfg(test)]
mod tests;

pub use batch::{ProducerBatch, Stored};
pub use codec::{PRODUCERS_FILE_BYTES_MAX, PRODUCERS_VERSION};
pub use table::{Begin, Producers};

/// How long a producer's numbers are remembered after its last batch, in ns.
pub const KEPT_NS: i64 = 7 * 24 * 3600 * 1_000_000_000;
/// Producers remembered, of all tenants together.
pub const PRODUCERS_MAX: usize = 10_000;
/// Numbers remembered of each producer.
pub const RESULTS_MAX: usize = 64;
/// Bytes of names and answers remembered.
pub const TABLE_BYTES_MAX: usize = 8 << 20;
/// Duplicates that may wait for one batch.
pub const WAITERS_MAX: usize = 64;
/// The longest name of a producer in bytes.
pub const PRODUCER_BYTES_MAX: usize = 128;
/// The longest remembered summary of refused records in bytes.
pub const REFUSED_BYTES_MAX: usize = 512;
