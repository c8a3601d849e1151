//! Loki's push requests: streams of entries, each with a time, a line and structured metadata.
//!
//! Labels become stream labels, structured metadata becomes fields, the line is the message. What
//! cannot be read at all refuses the request, as Loki does; an entry that breaks a limit is refused
//! alone, in Loki's words. This module answers nothing and knows no header.

mod detect;
pub(crate) mod json;
mod labels;
mod legacy;
pub(crate) mod pairs;
pub(crate) mod protobuf;
mod sink;

pub use sink::STREAM_LIMIT_WORDS;

use crate::Decoder;
use crate::body::finish;
use crate::decoded::{Decoded, IngestError};
use crate::labels::LabelPlan;
use crate::options::DecodeOptions;
use pairs::Pairs;
use sink::Sink;
use std::borrow::Cow;

/// The form of a push request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LokiForm {
    /// JSON of `/loki/api/v1/push`.
    Json,
    /// JSON of `/api/prom/push`.
    LegacyJson,
    /// `logproto.PushRequest`, no longer compressed.
    Protobuf,
}

/// How a push request is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LokiPush {
    /// Its form.
    pub form: LokiForm,
    /// Whether a level that neither labels nor metadata tell is looked for in the line, and a
    /// stream without labels is one of an unknown service.
    pub derive_labels: bool,
}

/// Buffers that outlive a request.
#[derive(Default)]
pub(crate) struct State {
    labels: Pairs,
    metadata: Pairs,
    line: String,
    time: String,
    name: String,
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    body: &[u8],
    push: LokiPush,
    options: &DecodeOptions<'_>,
) -> Result<Decoded, IngestError> {
    // Stream labels of JSON records have no say here, but a wrong setting is one for everybody.
    LabelPlan::new(options)?;
    decoder.builder.clear();
    decoder.state.streams.clear();
    let Decoder { builder, state, loki, .. } = decoder;
    let mut sink = Sink::new(builder, &mut state.streams, options, push.derive_labels);
    let read = match push.form {
        LokiForm::Json => json::read(&text(body), loki, &mut sink),
        LokiForm::LegacyJson => legacy::read(&text(body), loki, &mut sink),
        LokiForm::Protobuf => protobuf::read(body, loki, &mut sink),
    };
    let (streams, decoded) = sink.into_counts();
    match read {
        Ok(()) if streams == 0 => Err(IngestError::NoStreams),
        Ok(()) => Ok(finish(decoder, decoded, options)),
        Err(reason) => {
            decoder.builder.clear();
            Err(IngestError::Malformed(reason))
        }
    }
}

/// A body as text. Loki takes lines that are not UTF-8 and answers them with U+FFFD; so do we.
fn text(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body)
}

#[cfg(test)]
mod tests;
