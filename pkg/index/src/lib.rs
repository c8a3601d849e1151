//! What keeps a query from reading: the segment's B+trees, the token filters of its blocks, and
//! the literals and tokens that every match of a pattern must hold.
//!
//! This crate owns the bytes of the `.redb` file (tables, keys, values) and of a token filter; it
//! knows blocks by number only and never reads a row. An index may name a block too many, never
//! one too few, and a damaged one says so ([`IndexError::Corrupt`]): the caller then asks the
//! directory in the segment's footer.

mod backend;
mod block_entry;
mod build;
pub mod error;
pub mod literals;
mod postings;
mod segment_index;
mod tables;
pub mod token_filter;
mod user_index;
#[doc(hidden)]
pub mod values;
mod varint;

pub use block_entry::IndexedBlock;
pub use build::{BuiltIndex, UserIndexInput, build};
pub use error::IndexError;
pub use literals::{Alternatives, Case, Edge, Tokens};
pub use segment_index::{SegmentIndex, damaged_pages};
pub use tables::VERSION;
pub use token_filter::{GroupAnswer, TokenFilter, TokenFilterError, TokenFilterGroup};
