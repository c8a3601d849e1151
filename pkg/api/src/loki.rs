//! Loki's HTTP API, for Grafana, logcli and everything that ships logs to Loki.
//!
//! Foreign shapes end here: requests become what `ingest` and `db` know, answers become what Loki's
//! clients read, errors are plain text. Nothing here looks at a column.

mod answer;
pub(crate) mod asked;
pub(crate) mod delete;
pub(crate) mod detected;
mod error;
pub(crate) mod form;
pub(crate) mod index;
pub(crate) mod labels;
pub(crate) mod params;
pub(crate) mod patterns;
pub(crate) mod push;
pub(crate) mod query;
mod result;
mod run;
pub(crate) mod status;
pub(crate) mod tail;

pub(crate) use error::LokiError;
