//! Decoders: from the bytes of a request straight into the columns of a [`Batch`].
//!
//! This crate owns what a JSON key means (`docs/ingest.md`), the limits on a record, and the
//! reasons given for what is refused. It borrows from the body and allocates nothing per record
//! once its buffers have grown. It never stores anything, never guesses a content type, and knows
//! no protocol: `api` hands it bytes or plain entries.

mod body;
mod decoded;
pub mod demo;
mod entry;
mod labels;
mod loki;
mod options;
pub mod protobuf;
mod push;
mod record;
mod roles;
mod scan;
mod streams;
mod text;
mod unescape;

#[cfg(test)]
mod tests;

pub use decoded::{Decoded, IngestError, REFUSALS_LISTED_MAX, Refused};
pub use entry::{LogEntry, RecordInput, Records, push_record};
pub use loki::{LokiForm, LokiPush, STREAM_LIMIT_WORDS};
pub use options::{DecodeOptions, Limits, NoStreamLimit, STREAM_LABELS_MAX, StreamRegistry};
pub use push::PushForm;

use timberlog_types::{Batch, BatchBuilder};

/// Decodes bodies into batches. It keeps its buffers from one body to the next: keep one for each
/// thread or connection.
#[derive(Default)]
pub struct Decoder {
    builder: BatchBuilder,
    state: record::State,
    loki: loki::State,
    push: push::State,
}

impl Decoder {
    /// A decoder with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes one object, an array of objects, JSON lines, or objects one after the other.
    ///
    /// # Errors
    /// [`IngestError::Empty`] if there is no record at all, [`IngestError::StreamLabels`] if the
    /// options name too many labels. Anything that is wrong with a record refuses that record.
    pub fn json(&mut self, body: &[u8], options: &DecodeOptions<'_>) -> Result<Decoded, IngestError> {
        body::decode(self, body, options)
    }

    /// Decodes the one record of TimberLog's original `POST /write`.
    ///
    /// # Errors
    /// [`IngestError::Refused`] with the reason; [`IngestError::Empty`] for an empty body.
    pub fn write(&mut self, body: &[u8], options: &DecodeOptions<'_>) -> Result<Batch, IngestError> {
        body::decode_write(self, body, options)
    }

    /// Decodes plain text: each line that is not empty is the message of a record.
    ///
    /// # Errors
    /// As [`Decoder::json`].
    pub fn text(&mut self, body: &[u8], options: &DecodeOptions<'_>) -> Result<Decoded, IngestError> {
        text::decode(self, body, options)
    }

    /// Decodes a push request of Loki, its compression undone.
    ///
    /// # Errors
    /// [`IngestError::Malformed`] if the body is no push request or labels cannot be read: nothing of
    /// it is taken then; [`IngestError::NoStreams`] if it holds no stream.
    pub fn loki(&mut self, body: &[u8], push: LokiPush, options: &DecodeOptions<'_>) -> Result<Decoded, IngestError> {
        loki::decode(self, body, push, options)
    }

    /// Decodes a push payload of loge, all of it or nothing.
    ///
    /// # Errors
    /// [`IngestError::Malformed`] with the first thing that is wrong, and in which stream and value;
    /// [`IngestError::StreamLabels`] as [`Decoder::json`].
    pub fn push(&mut self, body: &[u8], form: PushForm, options: &DecodeOptions<'_>) -> Result<Batch, IngestError> {
        push::decode(self, body, form, options)
    }

    /// Takes records that are already apart, each as [`push_record`] does, LogsGo's too: `feed` gives them one after
    /// the other.
    ///
    /// # Errors
    /// As [`Decoder::json`].
    pub fn records(
        &mut self,
        feed: impl FnOnce(&mut Records<'_>),
        options: &DecodeOptions<'_>,
    ) -> Result<Decoded, IngestError> {
        entry::decode_records(self, feed, options)
    }
}
