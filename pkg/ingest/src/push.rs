//! loge's push payloads: streams, each a set of labels and of values, which are a time and a line.
//!
//! All labels become stream labels, the line is the message. A payload is taken whole or not at
//! all, as loge takes it: the first thing that is wrong is named with its stream and value. This
//! module knows no header and answers nothing.

mod json;
mod msgpack;
mod protobuf;
mod sink;

#[cfg(test)]
mod tests;

use crate::Decoder;
use crate::decoded::IngestError;
use crate::labels::LabelPlan;
use crate::loki::pairs::Pairs;
use crate::options::DecodeOptions;
use sink::Sink;
use timberlog_types::Batch;

/// The form of a push payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushForm {
    /// `{"streams":[{"stream":{…},"values":[["<ns>","line"]]}]}`.
    Json,
    /// The same in MessagePack.
    Msgpack,
    /// `loge.Payload` of `proto/loge.proto`.
    Protobuf,
}

/// Buffers that outlive a payload.
#[derive(Default)]
pub(crate) struct State {
    labels: Pairs,
    line: String,
    time: String,
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    body: &[u8],
    form: PushForm,
    options: &DecodeOptions<'_>,
) -> Result<Batch, IngestError> {
    // Stream labels of JSON records have no say here, but a wrong setting is one for everybody.
    LabelPlan::new(options)?;
    decoder.builder.clear();
    decoder.state.streams.clear();
    let Decoder { builder, state, push, .. } = decoder;
    let mut sink = Sink::new(builder, &mut state.streams, options);
    let read = match form {
        PushForm::Json => json::read(&String::from_utf8_lossy(body), push, &mut sink),
        PushForm::Msgpack => msgpack::read(body, push, &mut sink),
        PushForm::Protobuf => protobuf::read(body, push, &mut sink),
    };
    match read.and_then(|()| sink.finish()) {
        Ok(()) => decoder.builder.finish().ok_or(IngestError::Empty),
        Err(reason) => {
            decoder.builder.clear();
            Err(IngestError::Malformed(reason))
        }
    }
}
