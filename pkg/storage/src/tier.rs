//! Segments in an object store: what stands there for one.
//!
//! A segment in the store is two objects: its `.log` as it is, and an [`index_object`] that holds all
//! that planning a query needs. Data is never held whole: it is read by range.

mod adopt;
pub(crate) mod bucket;
mod chunks;
pub(crate) mod coalesce;
pub(crate) mod cold_log;
mod extents;
mod flight;
mod folder;
pub mod gc;
mod index_file;
pub mod index_object;
mod meter;
pub(crate) mod mirror;
mod options;
mod read;
mod read_only;
mod remote;
pub mod stats;
#[cfg(test)]
mod tests;
pub(crate) mod upload;
pub(crate) mod writer_file;

pub(crate) use adopt::Followed;
pub use adopt::{Adopting, Adoption, adopt};
pub(crate) use index_file::IndexFile;
pub use meter::{Demand, Meter};
pub use options::TierOptions;
pub(crate) use read::Remote;
pub use read::{ReadOptions, Reader};
pub(crate) use read_only::{file_of_bytes, file_of_object};
pub use remote::snapshot_of;
pub use stats::{TierPhase, TierStats, Tiered};
