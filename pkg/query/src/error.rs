//! Why a query is refused or ended.

use std::time::Duration;
use timberlog_filter::FilterError;
use timberlog_types::{Error, ErrorKind};

/// Why a query is refused or ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The filter is malformed.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// It took too long.
    #[error("query reached its limit on time, {} ms; ask for a shorter range or raise the limit (`--query-timeout`)", .limit.as_millis())]
    Time {
        /// The limit.
        limit: Duration,
    },
    /// Who asked does not want to know any more.
    #[error("query was cancelled")]
    Cancelled,
    /// It looked at too many bytes.
    #[error(
        "query reached its limit on bytes read, {limit}; ask for a shorter range or raise the limit (`--query-bytes-max`)"
    )]
    Bytes {
        /// The limit.
        limit: u64,
    },
    /// It needs too much memory.
    #[error("query reached its limit on memory, {limit} bytes; ask for less or raise the limit (`--query-memory-max`)")]
    Memory {
        /// The limit.
        limit: u64,
    },
    /// The answer has too many groups.
    #[error(
        "aggregation has more than {limit} groups; count by names with fewer values or raise the limit (`groups_max`)"
    )]
    Groups {
        /// The limit.
        limit: usize,
    },
    /// A range aggregation has too many series.
    #[error(
        "a range aggregation has more than {limit} series; select fewer streams, drop labels or group by fewer, or \
         raise the limit (`--query-range-series-max`)"
    )]
    Series {
        /// The limit.
        limit: usize,
    },
    /// The cursor is not one of ours, or one of another order.
    #[error("cursor: {0}")]
    Cursor(&'static str),
    /// A stage of a LogQL pipeline cannot be compiled; in Loki's words.
    #[error("parse error : {0}")]
    Stage(String),
    /// The question makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// An error of the storage.
    #[error(transparent)]
    Storage(#[from] Error),
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::Storage(error) => error,
            QueryError::Filter(_)
            | QueryError::Stage(_)
            | QueryError::Cursor(_)
            | QueryError::Invalid(_)
            | QueryError::Groups { .. }
            | QueryError::Series { .. } => Self::new(ErrorKind::Invalid, message),
            QueryError::Cancelled => Self::new(ErrorKind::Unavailable, message),
            QueryError::Time { .. } | QueryError::Bytes { .. } | QueryError::Memory { .. } => {
                Self::new(ErrorKind::Overloaded { retry_after: Duration::from_secs(1) }, message)
            }
        }
    }
}
