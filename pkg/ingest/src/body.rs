//! Bodies of JSON: where records begin, and how to go on behind one that cannot be read.

use crate::Decoder;
use crate::decoded::{Decoded, IngestError};
use crate::labels::LabelPlan;
use crate::options::DecodeOptions;
use crate::record::RecordReader;
use crate::roles::Schema;
use crate::scan::{Span, Syntax};
use memchr::{memchr, memmem};
use std::borrow::Cow;
use timberlog_types::Batch;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A body as text. Bytes that are not UTF-8 read as `?`: none of them is one that JSON is built of,
/// so records begin and end where they did.
pub(crate) struct Text<'a> {
    pub text: Cow<'a, str>,
    body: &'a [u8],
}

impl<'a> Text<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        let text = std::str::from_utf8(body).map_or_else(|_| Cow::Owned(repair(body)), Cow::Borrowed);
        Self { text, body }
    }

    /// Why a record that covers these bytes is refused, if one of them is not UTF-8.
    pub fn damage_in(&self, span: Span) -> Option<String> {
        match self.text {
            Cow::Borrowed(_) => None,
            Cow::Owned(_) => {
                let error = std::str::from_utf8(self.body.get(span.start..span.end)?).err()?;
                Some(format!("byte `{}` of the body is not UTF-8", span.start + error.valid_up_to()))
            }
        }
    }
}

fn repair(body: &[u8]) -> String {
    let mut text = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

pub(crate) fn decode(decoder: &mut Decoder, body: &[u8], options: &DecodeOptions<'_>) -> Result<Decoded, IngestError> {
    let plan = LabelPlan::new(options)?;
    let text = Text::new(body);
    let Decoder { builder, state, .. } = decoder;
    let reader = RecordReader::new(&text.text, builder, state, options, plan, Schema::Any);
    let mut bodies =
        BodyReader { reader, body, text: &text, decoded: Decoded::default(), index: 0, rescanned: 0, by_line: false };
    if body.starts_with(BYTE_ORDER_MARK) {
        bodies.reader.scan.at = BYTE_ORDER_MARK.len();
    }
    bodies.read();
    let (decoded, index) = (bodies.decoded, bodies.index);
    if index == 0 { Err(IngestError::Empty) } else { Ok(finish(decoder, decoded, options)) }
}

/// Closes the batch, unless one refused record refuses it.
pub(crate) fn finish(decoder: &mut Decoder, mut decoded: Decoded, options: &DecodeOptions<'_>) -> Decoded {
    if options.strict && decoded.refused_total > 0 {
        decoder.builder.clear();
    } else {
        decoded.batch = decoder.builder.finish();
        decoded.accepted = decoded.batch.as_ref().map_or(0, Batch::rows);
    }
    decoded
}

pub(crate) fn decode_write(
    decoder: &mut Decoder,
    body: &[u8],
    options: &DecodeOptions<'_>,
) -> Result<Batch, IngestError> {
    let plan = LabelPlan::new(options)?;
    let text = Text::new(body);
    let Decoder { builder, state, .. } = decoder;
    let mut reader = RecordReader::new(&text.text, builder, state, options, plan, Schema::Write);
    reader.scan.skip_whitespace();
    if reader.scan.peek().is_none() {
        return Err(IngestError::Empty);
    }
    let read = reader.read(|span| text.damage_in(span));
    reader.scan.skip_whitespace();
    let (behind, key) = (reader.scan.at, reader.key());
    match read {
        Err(error) => Err(IngestError::Refused(describe(error, key, body))),
        Ok(Err(reason)) => Err(IngestError::Refused(reason)),
        Ok(Ok(())) if behind < body.len() => {
            builder.clear();
            let error = Syntax { at: behind, expected: "the end: this request takes one record" };
            Err(IngestError::Refused(describe(error, None, body)))
        }
        Ok(Ok(())) => builder.finish().ok_or(IngestError::Empty),
    }
}

/// What a piece of a body turned out to be.
enum Step {
    /// Go on here.
    On,
    /// The rest cannot be read; the refusal says so.
    Stop,
}

struct BodyReader<'r, 'a> {
    reader: RecordReader<'r, 'a>,
    body: &'a [u8],
    text: &'a Text<'a>,
    decoded: Decoded,
    /// The index of the next record.
    index: usize,
    /// Bytes that were read again behind records that could not be read.
    rescanned: usize,
    /// Whether a record must end on its line.
    by_line: bool,
}

impl BodyReader<'_, '_> {
    fn read(&mut self) {
        self.reader.scan.skip_whitespace();
        let first = self.reader.scan.at;
        while self.reader.scan.at < self.body.len() {
            let start = self.reader.scan.at;
            if self.by_line {
                let end = memchr(b'\n', rest(self.body, start)).map_or(self.body.len(), |len| start + len);
                self.reader.scan.set_end(end);
            }
            let is_array = self.reader.scan.peek() == Some(b'[');
            let result = if is_array { self.array() } else { self.record() };
            self.reader.scan.set_end(self.body.len());
            if let Err(error) = result
                && let Step::Stop = self.resume(start, error, is_array && start == first)
            {
                return;
            }
            self.reader.scan.skip_whitespace();
        }
    }

    #[inline]
    fn record(&mut self) -> Result<(), Syntax> {
        let Self { reader, text, .. } = self;
        let refusal = if reader.scan.peek() == Some(b'{') {
            reader.read(|span| text.damage_in(span))?.err()
        } else {
            let (raw, _) = reader.scan.skip()?;
            Some(format!("the record is {}, expected an object", raw.shape.name()))
        };
        if let Some(reason) = refusal {
            self.decoded.refuse(self.index, || reason);
        }
        self.index += 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), Syntax> {
        let scan = &mut self.reader.scan;
        scan.at += 1;
        scan.skip_whitespace();
        if scan.peek() == Some(b']') {
            scan.at += 1;
            return Ok(());
        }
        loop {
            self.record()?;
            let scan = &mut self.reader.scan;
            scan.skip_whitespace();
            match scan.peek() {
                Some(b',') => {
                    scan.at += 1;
                    scan.skip_whitespace();
                }
                Some(b']') => {
                    scan.at += 1;
                    return Ok(());
                }
                _ => return scan.error("`,` or `]`"),
            }
        }
    }

    /// Refuses the record that began at `start`, or in the array there, and looks for the next.
    /// In a body that is an array a new line means nothing: there is no way on.
    fn resume(&mut self, start: usize, error: Syntax, body_is_array: bool) -> Step {
        let reason = describe(error, self.reader.key(), self.body);
        let next = if body_is_array { None } else { self.next_record(start, error.at) };
        let index = self.index;
        self.index += 1;
        let body = self.body;
        match next {
            Some(next) => {
                let skipped = rest(body, error.at).get(..next.saturating_sub(error.at)).unwrap_or_default();
                let skipped = skipped.trim_ascii().len();
                self.decoded.refuse(index, || match skipped {
                    0 => reason,
                    _ => format!("{reason}; `{skipped}` bytes up to the next line were not read"),
                });
                self.rescanned += error.at.saturating_sub(next);
                self.by_line |= self.rescanned > body.len();
                self.reader.scan.at = next;
                Step::On
            }
            None => {
                let skipped = rest(body, error.at).trim_ascii().len();
                self.decoded.refuse(index, || match skipped {
                    0 => reason,
                    _ => format!(
                        "{reason}; the `{skipped}` bytes from there to the end of the body were not read: \
                         send JSON lines to lose only the record that is wrong"
                    ),
                });
                Step::Stop
            }
        }
    }

    /// Where the next record begins: on the next line, or, if the broken one went on behind its
    /// line, on the next line that begins with `{`.
    fn next_record(&self, start: usize, error_at: usize) -> Option<usize> {
        let line_end = start + memchr(b'\n', rest(self.body, start))?;
        if self.by_line || error_at <= line_end {
            return Some(line_end + 1);
        }
        memmem::find(rest(self.body, line_end), b"\n{").map(|offset| line_end + offset + 1)
    }
}

fn rest(body: &[u8], at: usize) -> &[u8] {
    body.get(at..).unwrap_or_default()
}

/// What is wrong, and where.
pub(crate) fn describe(error: Syntax, key: Option<&str>, body: &[u8]) -> String {
    let Syntax { at, expected } = error;
    let key = key.map(|key| format!("`{}`: ", crate::record::excerpt(key))).unwrap_or_default();
    match body.get(at) {
        None => format!("{key}the body is cut short, expected {expected}"),
        Some(&byte) if byte.is_ascii() => {
            format!("{key}found `{}` at byte `{at}` of the body, expected {expected}", byte.escape_ascii())
        }
        Some(_) => {
            let rest = body.get(at..body.len().min(at + 4)).unwrap_or_default();
            let found = rest.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
            let found = found.map_or_else(|| "a byte that is not UTF-8".into(), |found| format!("`{found}`"));
            format!("{key}found {found} at byte `{at}` of the body, expected {expected}")
        }
    }
}
