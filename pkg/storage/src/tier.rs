//! Segments in an object store: what stands there for one.
//!
//! A segment in the store is two objects: its `.log` as it is, and an [`index_object`] that holds all
//! that planning a query needs. Data is never held whole: it is read by range.

pub mod index_object;
mod options;

pub use options::TierOptions;
