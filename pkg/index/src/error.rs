//! Why an index gives no answer.

use timberlog_types::{Error, ErrorKind};

/// Why an index gives no answer. Whatever it is, the segment's footer still has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The index cannot be built of what was given.
    #[error("index cannot be built: {0}")]
    Build(String),
    /// The disk failed to read. The bytes may be right: opening the index anew may work later.
    #[error("index cannot be read: {0}")]
    Io(String),
    /// The bytes are damaged, or missing.
    #[error("index is damaged: {0}")]
    Corrupt(String),
    /// Written by a newer program.
    #[error("index has version {0}, which this program does not know")]
    Version(u32),
}

impl From<IndexError> for Error {
    fn from(error: IndexError) -> Self {
        let kind = match error {
            IndexError::Build(_) | IndexError::Io(_) => ErrorKind::Internal,
            IndexError::Corrupt(_) => ErrorKind::Corrupt,
            IndexError::Version(_) => ErrorKind::Unavailable,
        };
        Error::new(kind, error.to_string())
    }
}
