//! Planner and executor: answers questions about a [`timberlog_storage::Snapshot`].
//!
//! The way of a query: partitions → segments (by time, level and service of the manifest entry)
//! → index lookups, intersected → token filters → blocks, read in parallel, each whole → rows.
//! Late materialisation: the cheapest column first, the message only for rows that are left,
//! output columns only for rows that are returned. Blocks that cannot hold a record of the answer
//! are never read; damaged ones are left out and named in `missing`.
//!
//! This crate writes nothing, and knows neither query languages nor protocols.

mod aggregate;
mod budget;
mod cursor;
mod error;
mod explain;
mod labels;
pub mod logql;
mod matching;
mod pace;
mod plan;
mod record;
mod request;
mod scan;
mod series;
mod source;
mod split;
mod statistics;
#[cfg(test)]
mod tests;

pub use aggregate::{Group, Groups, aggregate};
pub use cursor::Cursor;
pub use error::QueryError;
pub use explain::{Explain, ExplainSegment, ExplainStep, explain};
pub use labels::{Scope, Stream, label_names, label_values, streams};
pub use matching::{matching, shown};
pub use pace::resting;
pub use record::Record;
pub use request::{Aggregation, Cancel, Order, Query, QueryLimits};
pub use scan::{Export, Page, export, page, page_ranked};
pub use series::{Series, SeriesFound, SeriesQuery, distinct_records};
pub use split::{ColdPart, Merge, NextPage, Rank, Ranked, Split, split};
pub use statistics::Statistics;
