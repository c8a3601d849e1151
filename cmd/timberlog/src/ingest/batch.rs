//! Batches: lines gathered into a body of JSON lines, one record a line, so that the place of a
//! record in the body leads back to its line.
//!
//! A line that is not exactly one JSON object would shift the places behind it. Such a line is
//! decoded here on its own: refused, or, if there are records in it, sent as a body of its own.

use super::Format;
use serde::de::IgnoredAny;
use timberlog_db::Env;
use timberlog_ingest::{DecodeOptions, Decoder, Limits, NoStreamLimit};

/// Bytes of a body; a line that is longer goes alone.
const BODY_BYTES_MAX: usize = 8 << 20;

/// A body of JSON lines.
#[derive(Default)]
pub struct Batch {
    pub body: Vec<u8>,
    /// The number of the line of each record; of a line alone, its own.
    pub lines: Vec<u64>,
}

impl Batch {
    /// The line of a record, by its place in the body.
    pub fn line(&self, index: u64) -> u64 {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.lines.get(index).or(self.lines.last()).copied().unwrap_or(0)
    }

    fn add(&mut self, number: u64, line: &[u8]) {
        self.body.extend_from_slice(line);
        self.body.push(b'\n');
        self.lines.push(number);
    }
}

/// What became of a line.
pub enum Taken {
    /// It waits for others.
    Gathered,
    /// It waits no longer: the batch is full.
    Full,
    /// It is no record.
    Refused(String),
    /// It holds several records.
    Alone(Batch),
}

/// Gathers the lines of one file.
pub struct Batches<'a> {
    format: Format,
    lines_max: usize,
    service: Option<&'a str>,
    batch: Batch,
    decoder: Decoder,
}

impl<'a> Batches<'a> {
    pub fn new(format: Format, lines_max: usize, service: Option<&'a str>) -> Self {
        Self { format, lines_max, service, batch: Batch::default(), decoder: Decoder::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.batch.lines.is_empty()
    }

    /// The batch so far.
    pub fn take(&mut self) -> Batch {
        std::mem::take(&mut self.batch)
    }

    /// Takes a line; empty ones are passed over.
    pub fn push(&mut self, number: u64, line: &[u8]) -> Taken {
        let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let text = line.trim_ascii();
        if text.is_empty() {
            return Taken::Gathered;
        }
        if self.format == Format::Auto {
            self.format = if text.starts_with(b"{") { Format::Json } else { Format::Text };
        }
        match self.format {
            Format::Text => {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let Ok(message) = std::str::from_utf8(line) else {
                    return Taken::Refused("the line is not UTF-8".to_owned());
                };
                let mut record = serde_json::json!({ "message": message });
                if let Some(service) = self.service {
                    record["service"] = service.into();
                }
                self.batch.add(number, record.to_string().as_bytes());
            }
            _ if is_object(text) => self.batch.add(number, text),
            _ => return self.odd(number, text),
        }
        let full = self.batch.lines.len() >= self.lines_max || self.batch.body.len() >= BODY_BYTES_MAX;
        if full { Taken::Full } else { Taken::Gathered }
    }

    fn odd(&mut self, number: u64, text: &[u8]) -> Taken {
        let limits = Limits::default();
        let options = DecodeOptions {
            now_ns: Env::real().clock.now_ns(),
            keep_from_ns: i64::MIN,
            stream_labels: &[],
            default_service: "",
            strict: false,
            limits: &limits,
            streams: &NoStreamLimit,
        };
        match self.decoder.json(text, &options) {
            Ok(decoded) if decoded.accepted > 0 => {
                let mut batch = Batch::default();
                batch.add(number, text);
                Taken::Alone(batch)
            }
            Ok(decoded) => Taken::Refused(decoded.refused.into_iter().next().map(|one| one.reason).unwrap_or_default()),
            Err(error) => Taken::Refused(error.to_string()),
        }
    }
}

/// Whether a line is one JSON object and nothing else.
fn is_object(text: &[u8]) -> bool {
    text.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_body_leads_back_to_the_line() {
        let mut batches = Batches::new(Format::Auto, 3, None);
        assert!(matches!(batches.push(1, b"\xef\xbb\xbf{\"a\":1}\r"), Taken::Gathered));
        assert!(matches!(batches.push(2, b"  "), Taken::Gathered));
        assert!(matches!(batches.push(3, b"{\"a\":"), Taken::Refused(_)));
        assert!(matches!(batches.push(4, b"[1]"), Taken::Refused(_)));
        assert!(matches!(batches.push(5, b"{\"a\":2}{\"a\":3}"), Taken::Alone(_)));
        assert!(matches!(batches.push(6, b"{}"), Taken::Gathered));
        assert!(matches!(batches.push(7, b"{\"b\":{}}"), Taken::Full));
        let batch = batches.take();
        assert_eq!((batch.body, batch.lines), (b"{\"a\":1}\n{}\n{\"b\":{}}\n".to_vec(), vec![1, 6, 7]));
    }

    #[test]
    fn text_lines_become_messages() {
        let mut batches = Batches::new(Format::Auto, 100, Some("kernel"));
        batches.push(1, b"Nov 21 \"disk\" is full\r");
        batches.push(2, b"{\"not\": \"json here\"}");
        assert!(matches!(batches.push(3, b"\xff"), Taken::Refused(_)));
        let body = String::from_utf8(batches.take().body).unwrap();
        let records: Vec<serde_json::Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records[0]["message"], "Nov 21 \"disk\" is full");
        assert_eq!(records[0]["service"], "kernel");
        assert_eq!(records[1]["message"], "{\"not\": \"json here\"}");
    }
}
