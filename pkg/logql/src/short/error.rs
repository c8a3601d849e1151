//! Why a query of the short form is refused, and where.

/// Why a query of the short form is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct ShortError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl From<ShortError> for timberlog_types::Error {
    fn from(error: ShortError) -> Self {
        Self::new(timberlog_types::ErrorKind::Invalid, error.to_string())
    }
}
