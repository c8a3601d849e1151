//! Why a filter is refused.

use timberlog_types::{Error, ErrorKind};

/// A result with [`FilterError`].
pub type Result<T, E = FilterError> = std::result::Result<T, E>;

/// Why a filter is refused. `path` says where in the tree: `filter.and[1].not`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The tree is nested too deeply.
    #[error("filter is nested deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// The tree has too many tests; each value of an `in` list counts.
    #[error("filter has more than {max} tests (each value of an `in` list counts)")]
    TooManyTests {
        /// The limit.
        max: usize,
    },
    /// A text or pattern is too long.
    #[error("`{path}`: text has {len} bytes, at most {max} are allowed")]
    TextTooLong {
        /// Where.
        path: String,
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A regular expression is malformed or too large when compiled.
    #[error("`{path}`: regular expression `{pattern}`: {reason}")]
    Regex {
        /// Where.
        path: String,
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operator cannot be applied to the target.
    #[error("`{path}`: {reason}")]
    Invalid {
        /// Where.
        path: String,
        /// What is wrong, and what is expected.
        reason: String,
    },
}

impl From<FilterError> for Error {
    fn from(error: FilterError) -> Self {
        Self::new(ErrorKind::Invalid, error.to_string())
    }
}
