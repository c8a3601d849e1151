//! Segments: immutable files of records, stored as blocks of columns.
//!
//! A segment's `.log` is written once, front to back, by [`SegmentWriter`], and read by
//! [`SegmentReader`]. This crate owns the bytes of the file, of its [`directory`] and of every
//! column encoding; it knows nothing of indexes, queries or manifests, and never decides what
//! exists.

mod chunk;
pub mod column;
pub mod directory;
mod encoding;
pub mod error;
mod layout;
pub mod message;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use column::{Codes, Column, Dictionary, LevelColumn, StreamRuns, ValueColumn};
pub use directory::{BlockMeta, ColumnKey, ColumnMeta, Directory, FilterPlace, LevelSpelling, RedbPages, StreamTable};
pub use error::{Place, SegmentError};
pub use message::{MessageColumn, MessageEncoder, MessageError, TextMatcher, shape, token_hashes};
pub use reader::{Damage, Ends, FilterGroup, SegmentReader, read_ends};
pub use writer::{BlockEncoder, EncodedBlock, Finished, RowRef, SegmentWriter, Tables, WriterOptions, WrittenBlock};

/// The version of the segment format that this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;
