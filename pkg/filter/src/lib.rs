//! The filter tree and its evaluator over columns: queries, tails, tombstones and compaction share it.
//!
//! A [`Filter`] is what somebody asks; [`Compiled`] is the same question checked, normalised and
//! ready to run; [`evaluate`] answers it over anything that offers [`Columns`]: a buffered batch
//! ([`BatchColumns`]) or a block of a segment ([`BlockColumns`]). What a name means is decided
//! here and nowhere else: `timestamp`, `level`, `service` and `message` are themselves; any other
//! name is the stream label if the record's stream has one, else the field, else missing.
//! A missing value equals the empty text; `exists` is false for it and for `null`.
//!
//! This crate never opens a file and never plans: it does not know what a snapshot is.

mod columns;
mod compile;
mod error;
mod evaluate;
mod interrupt;
mod json;
mod matcher;
mod pattern;
mod re2;
#[cfg(test)]
mod tests;
mod tree;
mod verdict;

pub use columns::{BatchColumns, BlockColumns, ColumnSource, Columns, SegmentFacts, StreamSet};
pub use compile::{Compiled, CompiledTest, Node};
pub use error::{FilterError, Result};
pub use evaluate::evaluate;
pub use interrupt::Interrupt;
pub use matcher::Matcher;
pub use tree::{
    Comparison, DEPTH_MAX, Filter, Op, PATTERN_BYTES_MAX, Pattern, StreamTest, TESTS_MAX, TEXT_BYTES_MAX, Target, Test,
};
pub use verdict::Verdict;
