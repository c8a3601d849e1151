//! The vocabulary of TimberLog: records, batches, levels, streams, tenants, times, error kinds.
//!
//! This crate knows nothing of files, indexes or protocols; every other crate knows it.
//! It owns the layout of a [`Batch`], the one columnar form in which records travel from the
//! decoder through the WAL and the memory buffer to the segment writer.

pub mod batch;
pub mod error;
pub mod level;
pub mod row_set;
pub mod stream;
pub mod tenant;
pub mod time;
pub mod value;

pub use batch::{Batch, BatchBuilder, FieldColumn};
pub use error::{Error, ErrorKind, Result};
pub use level::Level;
pub use row_set::RowSet;
pub use stream::StreamRef;
pub use tenant::Tenant;
pub use time::{Day, TimeRange};
pub use value::{Value, ValueKind};

/// The number of a batch in the WAL: 1 for the first one of a database, then without gaps.
pub type Seq = u64;
