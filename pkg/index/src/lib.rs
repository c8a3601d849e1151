//! What keeps a query from reading: the segment's B+trees, the token filters of its blocks, and
//! the literals and tokens that every match of a pattern must hold.
//!
//! This crate owns the bytes of the `.redb` file (tables, keys, values) and of a token filter; it
//! knows blocks by number only and never reads a row. An index may name a block too many, never
//! one too few, and a damaged one says so ([`IndexError::Corrupt`]): the caller then asks the
//! directory in the segment's footer.

pub mod error;
pub mod literals;
pub mod token_filter;

pub use error::IndexError;
pub use literals::{Alternatives, Case, Edge, Tokens};
pub use token_filter::{TokenFilter, TokenFilterError};
