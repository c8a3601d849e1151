//! Error kinds: few, and each says what the caller should do.

use std::time::Duration;

/// What a caller should do about an error. One table in the `api` crate maps kinds to HTTP
/// statuses, gRPC codes and exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong and will be wrong again: change it.
    Invalid,
    /// What the request names does not exist.
    NotFound,
    /// Another process or an earlier request is in the way (a locked directory, a reused number).
    Conflict,
    /// A limit on memory, size or time was reached: try again after the given time, or ask for less.
    Overloaded {
        /// How long to wait before the next try.
        retry_after: Duration,
    },
    /// The service cannot do it now (starting, read-only, disk full) but may later.
    Unavailable,
    /// Bytes read back do not match their checksum or their format.
    Corrupt,
    /// The database is closed or was poisoned by a failed fsync.
    Closed,
    /// A defect or an unexpected operating-system error.
    Internal,
}

/// An error with its kind and a message for people.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What the caller should do.
    pub kind: ErrorKind,
    /// What happened: lowercase, values in backticks.
    pub message: String,
    /// How long to wait before the next try, where somebody else has said so; kinds may say it too.
    asked: Option<Duration>,
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// ENFILE and EMFILE, which the standard library has no name for: too many files are open, here or everywhere.
const OUT_OF_FILES: [i32; 2] = [23, 24];

impl Error {
    /// Makes an error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), asked: None }
    }

    /// Makes an [`ErrorKind::Invalid`] error.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Makes an [`ErrorKind::Corrupt`] error.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Makes an [`ErrorKind::Internal`] error.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Makes an error of an I/O error and what was being done to which file.
    pub fn io(doing: impl std::fmt::Display, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge | Io::ReadOnlyFilesystem | Io::PermissionDenied => {
                ErrorKind::Unavailable
            }
            Io::WouldBlock => ErrorKind::Conflict,
            _ if error.raw_os_error().is_some_and(|code| OUT_OF_FILES.contains(&code)) => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, format!("{doing}: {error}"))
    }

    /// Adds how long to wait before the next try.
    pub fn after(mut self, wait: Duration) -> Self {
        self.asked = Some(wait);
        self
    }

    /// How long to wait before the next try, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            ErrorKind::Overloaded { retry_after } => Some(self.asked.unwrap_or(retry_after)),
            _ => self.asked,
        }
    }

    /// Puts what was being done before the message.
    pub fn context(mut self, doing: impl std::fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}
