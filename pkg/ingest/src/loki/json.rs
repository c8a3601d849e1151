//! Push requests as JSON: `{"streams":[{"stream":{…},"values":[["<ns>","line",{…}]]}]}`.
//!
//! Loki takes the first value of the body and leaves the rest; so do we.

use super::State;
use super::labels;
use super::pairs::Pairs;
use super::sink::Sink;
use crate::body::describe;
use crate::scan::{Raw, Scanner, Shape, Syntax};
use crate::unescape::unescape;
use std::borrow::Cow;

/// Why a body cannot be read.
pub(crate) enum Fault {
    Syntax(Syntax),
    Reason(String),
}

impl From<Syntax> for Fault {
    fn from(syntax: Syntax) -> Self {
        Self::Syntax(syntax)
    }
}

impl Fault {
    /// The reason in words.
    pub fn words(self, text: &str) -> String {
        match self {
            Self::Syntax(syntax) => describe(syntax, None, text.as_bytes()),
            Self::Reason(reason) => reason,
        }
    }
}

pub(crate) type Read<T = ()> = Result<T, Fault>;

/// Reads a request.
pub(super) fn read(text: &str, state: &mut State, sink: &mut Sink<'_>) -> Result<(), String> {
    let mut reader = Reader { scan: Scanner::new(text) };
    reader.request(|reader| reader.stream(state, sink)).map_err(|fault| fault.words(text))
}

/// A place in a body.
pub(crate) struct Reader<'a> {
    pub scan: Scanner<'a>,
}

impl<'a> Reader<'a> {
    /// Reads the object that holds `streams`, calling `stream` at each.
    pub fn request(&mut self, mut stream: impl FnMut(&mut Self) -> Read) -> Read {
        self.scan.skip_whitespace();
        self.object("an object", |reader, key| match key {
            key if key.eq_ignore_ascii_case("streams") => reader.array("an array of streams", &mut stream),
            _ => reader.skip(),
        })
    }

    /// Reads an object or null, calling `each` at every value with its key.
    pub fn object(&mut self, expected: &'static str, mut each: impl FnMut(&mut Self, &str) -> Read) -> Read {
        if self.scan.peek() == Some(b'n') {
            return self.skip();
        }
        self.scan.expect(b'{', expected)?;
        self.scan.skip_whitespace();
        if self.scan.peek() == Some(b'}') {
            self.scan.at += 1;
            return Ok(());
        }
        loop {
            let key = self.scan.key()?;
            let key = self.string(key);
            each(self, &key)?;
            if !self.scan.next_key()? {
                return Ok(());
            }
        }
    }

    /// Reads an array or null, calling `each` at every value.
    pub fn array(&mut self, expected: &'static str, mut each: impl FnMut(&mut Self) -> Read) -> Read {
        if self.scan.peek() == Some(b'n') {
            return self.skip();
        }
        self.scan.expect(b'[', expected)?;
        self.scan.skip_whitespace();
        if self.scan.peek() == Some(b']') {
            self.scan.at += 1;
            return Ok(());
        }
        loop {
            each(self)?;
            self.scan.skip_whitespace();
            match self.scan.peek() {
                Some(b',') => {
                    self.scan.at += 1;
                    self.scan.skip_whitespace();
                }
                Some(b']') => {
                    self.scan.at += 1;
                    return Ok(());
                }
                _ => return Ok(self.scan.error("`,` or `]`")?),
            }
        }
    }

    /// Passes a value.
    pub fn skip(&mut self) -> Read {
        self.scan.skip()?;
        Ok(())
    }

    /// The text of a string, or of any other value its JSON.
    pub fn string(&self, raw: Raw) -> Cow<'a, str> {
        let text = self.scan.text(raw.span);
        if raw.shape != Shape::Escaped {
            return Cow::Borrowed(text);
        }
        let mut out = String::new();
        unescape(text, &mut out);
        Cow::Owned(out)
    }

    /// Reads a string; one with escapes is unescaped into `buffer`.
    pub fn text<'t>(&mut self, expected: &'static str, buffer: &'t mut String) -> Read<&'t str>
    where
        'a: 't,
    {
        if self.scan.peek() != Some(b'"') {
            return Ok(self.scan.error(expected)?);
        }
        let raw = self.scan.scalar()?;
        let text = self.scan.text(raw.span);
        if raw.shape == Shape::Plain {
            return Ok(text);
        }
        buffer.clear();
        unescape(text, buffer);
        Ok(buffer)
    }

    /// Reads an object of structured metadata into pairs.
    pub fn metadata(&mut self, out: &mut Pairs) -> Read {
        self.texts("an object of structured metadata", "a string as the value of structured metadata", out)
    }

    /// Reads an object of texts into pairs; `expected` and `expected_value` are for its errors.
    pub fn texts(&mut self, expected: &'static str, expected_value: &'static str, out: &mut Pairs) -> Read {
        out.clear();
        self.object(expected, |reader, key| {
            if reader.scan.peek() != Some(b'"') {
                return Ok(reader.scan.error(expected_value)?);
            }
            let raw = reader.scan.scalar()?;
            let value = reader.scan.text(raw.span);
            match raw.shape {
                Shape::Plain => out.push(key, value),
                _ => out.push_with(|text| text.push_str(key), |text| unescape(value, text)),
            }
            Ok(())
        })
    }

    fn stream(&mut self, state: &mut State, sink: &mut Sink<'_>) -> Read {
        let mut is_labelled = false;
        // Entries that came before their labels.
        let mut waiting = None;
        state.labels.clear();
        self.object("a stream", |reader, key| match key {
            "stream" => {
                reader.labels(&mut state.labels)?;
                is_labelled = true;
                Ok(())
            }
            "values" if is_labelled => reader.entries(state, sink),
            "values" => {
                waiting = Some(reader.scan.at);
                reader.skip()
            }
            _ => reader.skip(),
        })?;
        if let Some(at) = waiting {
            let end = std::mem::replace(&mut self.scan.at, at);
            self.entries(state, sink)?;
            self.scan.at = end;
        }
        sink.close_stream();
        Ok(())
    }

    /// Reads the labels of a stream; values that are no texts are what they look like.
    fn labels(&mut self, out: &mut Pairs) -> Read {
        out.clear();
        self.object("an object of labels", |reader, key| {
            let (raw, _) = reader.scan.skip()?;
            let value = reader.scan.text(raw.span);
            match raw.shape {
                Shape::Escaped => out.push_with(|text| text.push_str(key), |text| unescape(value, text)),
                _ => out.push(key, value),
            }
            Ok(())
        })?;
        labels::settle(out).map_err(Fault::Reason)
    }

    fn entries(&mut self, state: &mut State, sink: &mut Sink<'_>) -> Read {
        let State { labels, metadata, line, time, .. } = state;
        sink.open_stream();
        self.array("an array of entries", |reader| {
            metadata.clear();
            line.clear();
            let mut timestamp = None;
            let mut text = "";
            let mut place = 0;
            let mut is_null = reader.scan.peek() == Some(b'n');
            reader.array("an entry, which is an array", |reader| {
                is_null = false;
                match place {
                    0 => timestamp = Some(nanoseconds(reader.text("a timestamp in a string", time)?)?),
                    1 => {
                        let raw = reader.line(line)?;
                        text = raw;
                    }
                    2 => reader.metadata(metadata)?,
                    _ => reader.skip()?,
                }
                place += 1;
                Ok(())
            })?;
            if !is_null {
                let line = if text.is_empty() { line.as_str() } else { text };
                sink.entry(labels, timestamp, line.as_bytes(), metadata);
            }
            Ok(())
        })
    }

    /// Reads a line: as it stands in the body, or, if it has escapes, into `buffer`.
    fn line(&mut self, buffer: &mut String) -> Read<&'a str> {
        if self.scan.peek() != Some(b'"') {
            return Ok(self.scan.error("a line in a string")?);
        }
        let raw = self.scan.scalar()?;
        let text = self.scan.text(raw.span);
        if raw.shape == Shape::Plain {
            return Ok(text);
        }
        unescape(text, buffer);
        Ok("")
    }
}

/// A time of JSON: digits, and a sign perhaps.
fn nanoseconds(text: &str) -> Read<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let number = if digits.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None };
    number.ok_or_else(|| {
        let found = crate::record::excerpt(text);
        Fault::Reason(format!("timestamp `{found}`, expected a number of nanoseconds since 1970 in a string"))
    })
}
