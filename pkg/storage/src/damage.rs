//! The damage that was met since the start: what the start found, and what queries ran into.

use std::sync::{Mutex, PoisonError};
use timberlog_types::{Error, ErrorKind};

/// Distinct messages that are kept; more damage than this needs `verify`, not a list.
const MESSAGES_MAX: usize = 100;

/// A bounded list of distinct messages, for people.
#[derive(Debug, Default)]
pub(crate) struct DamageLog {
    messages: Mutex<Vec<String>>,
}

impl DamageLog {
    /// Notes a message that is new, and logs it.
    pub(crate) fn note(&self, message: String) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() < MESSAGES_MAX && !messages.contains(&message) {
            tracing::error!("{message}");
            messages.push(message);
        }
    }

    /// Notes an error if it is about damage, and hands it on.
    pub(crate) fn note_error(&self, error: Error) -> Error {
        if error.kind == ErrorKind::Corrupt {
            self.note(error.to_string());
        }
        error
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
