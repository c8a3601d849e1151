//! Bodies of plain text: a record a line.

use crate::Decoder;
use crate::body::{Text, finish};
use crate::decoded::{Decoded, IngestError};
use crate::entry::{RecordInput, Sink};
use crate::options::DecodeOptions;
use crate::scan::Span;
use memchr::memchr_iter;

pub(crate) fn decode(decoder: &mut Decoder, body: &[u8], options: &DecodeOptions<'_>) -> Result<Decoded, IngestError> {
    let text = Text::new(body);
    let mut decoded = Decoded::default();
    let mut index = 0;
    let mut sink = Sink::new(decoder, options)?;
    let mut start = 0;
    for end in memchr_iter(b'\n', body).chain([body.len()]) {
        let line = text.text.get(start..end).unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !line.is_empty() {
            let refusal = match text.damage_in(Span { start, end }) {
                Some(reason) => Err(reason),
                None => sink.push(&RecordInput { message: line, ..RecordInput::default() }),
            };
            if let Err(reason) = refusal {
                decoded.refuse(index, || reason);
            }
            index += 1;
        }
        start = end + 1;
    }
    if index == 0 { Err(IngestError::Empty) } else { Ok(finish(decoder, decoded, options)) }
}
