//! What a decoder answers: the batch, and the records that are not in it, each with the reason.

use timberlog_types::{Batch, Error};

/// Refusals listed one by one; those behind them are only counted.
pub const REFUSALS_LISTED_MAX: usize = 10_000;

/// A record that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The record's place in the body, from 0, refused ones counted.
    pub index: usize,
    /// Why: the field, what was found there, and what was expected.
    pub reason: String,
}

/// A decoded body.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The records that were taken; `None` if there are none, or if one was refused and the
    /// options are strict.
    pub batch: Option<Batch>,
    /// The number of records in `batch`.
    pub accepted: usize,
    /// The first [`REFUSALS_LISTED_MAX`] records that were refused, by index. In strict mode the
    /// good records are not listed.
    pub refused: Vec<Refused>,
    /// The number of records that were refused; more than `refused` has if that list is full.
    pub refused_total: usize,
}

impl Decoded {
    pub(crate) fn refuse(&mut self, index: usize, reason: impl FnOnce() -> String) {
        self.refused_total += 1;
        if self.refused.len() < REFUSALS_LISTED_MAX {
            self.refused.push(Refused { index, reason: reason() });
        }
    }
}

/// Why a body as a whole cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// There is no record in it.
    #[error("the body holds no record, expected at least one")]
    Empty,
    /// The record of a body that holds exactly one was refused.
    #[error("{0}")]
    Refused(String),
    /// The body of a push request cannot be read, or labels of a stream in it cannot.
    #[error("{0}")]
    Malformed(String),
    /// A push request names no stream.
    #[error("error at least one valid stream is required for ingestion")]
    NoStreams,
    /// The options name too many stream labels, or one with a name that is too long.
    #[error("stream labels: {0}")]
    StreamLabels(String),
}

impl From<IngestError> for Error {
    fn from(error: IngestError) -> Self {
        Error::invalid(error.to_string())
    }
}
