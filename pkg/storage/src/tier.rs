//! Segments in an object store: what stands there for one.
//!
//! A segment in the store is two objects: its `.log` as it is, and an [`index_object`] that holds all
//! that planning a query needs. Data is never held whole: it is read by range.

mod chunks;
pub(crate) mod coalesce;
pub(crate) mod cold_log;
mod extents;
mod flight;
mod folder;
mod index_file;
pub mod index_object;
mod meter;
mod options;
mod read;
mod read_only;

pub use meter::{Demand, Meter};
pub use options::TierOptions;
pub(crate) use read::Remote;
pub use read::{ReadOptions, Reader};
