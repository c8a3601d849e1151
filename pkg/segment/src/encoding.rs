//! The encodings that columns and the directory are made of: lists of integers, differences, texts, codes, rows.
//!
//! Each encoder appends to a buffer, each decoder takes from an [`Input`]; how many items there
//! are is known to the caller and not stored again. Decoders trust nothing: a malformed input is
//! an error, and no length allocates before it was compared with a limit.

pub(crate) mod bits;
pub(crate) mod blob;
pub(crate) mod codes;
pub(crate) mod input;
pub(crate) mod ints;
pub(crate) mod rows;
pub(crate) mod split;
pub(crate) mod texts;

pub(crate) use blob::Compressor;
pub(crate) use input::Input;

/// The most rows of a block.
pub(crate) const BLOCK_ROWS_MAX: usize = 1 << 22;
/// The most bytes of texts that one list may have: no more than a batch.
pub(crate) const TEXT_BYTES_MAX: usize = timberlog_types::batch::BATCH_BYTES_MAX;
