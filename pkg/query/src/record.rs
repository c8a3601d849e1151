//! A record as it leaves the database.

use timberlog_types::{Level, ValueKind};

/// A record of an answer. Texts are UTF-8; bytes that are not are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// ns since 1970 UTC.
    pub timestamp: i64,
    /// The normalised level.
    pub level: Level,
    /// The level as it was sent; `None` if none was.
    pub level_spelling: Option<String>,
    /// The derived service.
    pub service: String,
    /// The message.
    pub message: String,
    /// The stream labels, sorted by name.
    pub labels: Vec<(String, String)>,
    /// The fields, sorted by name. The text of a number is as it was sent.
    pub fields: Vec<(String, ValueKind, String)>,
}

impl Record {
    /// Bytes of memory, about.
    pub fn memory_bytes(&self) -> usize {
        let pairs: usize = self.labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        let fields: usize = self.fields.iter().map(|(name, _, value)| name.len() + value.len() + 56).sum();
        size_of::<Self>() + self.service.len() + self.message.len() + pairs + fields
    }
}
