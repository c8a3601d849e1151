//! Payloads as MessagePack, read where they stand: maps and arrays of the same shape as in JSON.
//!
//! Texts may be of the type string or binary; those that are not UTF-8 read as U+FFFD where they
//! are not. What other keys hold is passed over without recursion.

use super::State;
use super::sink::Sink;
use rmp::Marker;

type Read<T = ()> = Result<T, String>;

/// Reads a payload.
pub(super) fn read(body: &[u8], state: &mut State, sink: &mut Sink<'_>) -> Read {
    let mut reader = Reader { rest: body };
    for _ in 0..reader.map("a payload")? {
        if reader.text("a key")? == b"streams" {
            for _ in 0..reader.array("`streams`")? {
                stream(&mut reader, state, sink)?;
            }
        } else {
            reader.skip()?;
        }
    }
    if reader.rest.is_empty() { Ok(()) } else { Err(format!("{} bytes behind the payload", reader.rest.len())) }
}

fn stream(reader: &mut Reader<'_>, state: &mut State, sink: &mut Sink<'_>) -> Read {
    state.labels.clear();
    let (mut is_open, mut has_values) = (false, false);
    // Values that came before their labels.
    let mut waiting = None;
    for _ in 0..reader.map("a stream")? {
        match reader.text("a key")? {
            b"stream" if is_open => return Err(sink.twice("stream")),
            b"values" if std::mem::replace(&mut has_values, true) => return Err(sink.twice("values")),
            b"stream" => {
                state.labels.clear();
                for _ in 0..reader.map("`stream`")? {
                    let (name, value) = (reader.text("a label's name")?, reader.text("a label's value")?);
                    state.labels.push(&String::from_utf8_lossy(name), &String::from_utf8_lossy(value));
                }
                is_open = true;
                sink.open(&mut state.labels)?;
            }
            b"values" if is_open => values(reader, sink)?,
            b"values" => {
                waiting = Some(Reader { rest: reader.rest });
                reader.skip()?;
            }
            _ => reader.skip()?,
        }
    }
    if !is_open {
        // Says that there are no labels.
        sink.open(&mut state.labels)?;
    }
    if let Some(mut waiting) = waiting {
        values(&mut waiting, sink)?;
    }
    sink.close()
}

fn values(reader: &mut Reader<'_>, sink: &mut Sink<'_>) -> Read {
    for _ in 0..reader.array("`values`")? {
        let parts = reader.array("a value").map_err(|error| sink.wrong(&error))?;
        if parts != 2 {
            return Err(sink.wrong(&format!("{parts} parts, expected a timestamp and a line")));
        }
        let time = reader.text("a timestamp").map_err(|error| sink.wrong(&error))?;
        let timestamp = sink.timestamp(&String::from_utf8_lossy(time))?;
        let line = reader.text("a line").map_err(|error| sink.wrong(&error))?;
        sink.value(timestamp, String::from_utf8_lossy(line).as_bytes())?;
    }
    Ok(())
}

/// What is left of a body.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or("the body is cut short")?;
        self.rest = rest;
        Ok(taken)
    }

    fn marker(&mut self) -> Read<Marker> {
        let byte = self.take(1)?.first().copied().unwrap_or_default();
        Ok(Marker::from_u8(byte))
    }

    /// A big-endian number of `bytes` bytes, at most 4.
    fn length(&mut self, bytes: usize) -> Read<usize> {
        Ok(self.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// The number of pairs of a map; null is an empty one.
    fn map(&mut self, what: &str) -> Read<usize> {
        match self.marker()? {
            Marker::Null => Ok(0),
            Marker::FixMap(len) => Ok(len.into()),
            Marker::Map16 => self.length(2),
            Marker::Map32 => self.length(4),
            other => Err(format!("{what} is not a map: {other:?}")),
        }
    }

    /// The number of elements of an array; null is an empty one.
    fn array(&mut self, what: &str) -> Read<usize> {
        match self.marker()? {
            Marker::Null => Ok(0),
            Marker::FixArray(len) => Ok(len.into()),
            Marker::Array16 => self.length(2),
            Marker::Array32 => self.length(4),
            other => Err(format!("{what} is not an array: {other:?}")),
        }
    }

    fn text(&mut self, what: &str) -> Read<&'a [u8]> {
        let len = match self.marker()? {
            Marker::FixStr(len) => len.into(),
            Marker::Str8 | Marker::Bin8 => self.length(1)?,
            Marker::Str16 | Marker::Bin16 => self.length(2)?,
            Marker::Str32 | Marker::Bin32 => self.length(4)?,
            other => return Err(format!("{what} is not a string: {other:?}")),
        };
        self.take(len)
    }

    /// Passes a value with all that is in it.
    fn skip(&mut self) -> Read {
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            let (within, bytes) = match self.marker()? {
                Marker::Null | Marker::True | Marker::False | Marker::FixPos(_) | Marker::FixNeg(_) => (0, 0),
                Marker::U8 | Marker::I8 => (0, 1),
                Marker::U16 | Marker::I16 => (0, 2),
                Marker::U32 | Marker::I32 | Marker::F32 => (0, 4),
                Marker::U64 | Marker::I64 | Marker::F64 => (0, 8),
                Marker::FixStr(len) => (0, len.into()),
                Marker::Str8 | Marker::Bin8 => (0, self.length(1)?),
                Marker::Str16 | Marker::Bin16 => (0, self.length(2)?),
                Marker::Str32 | Marker::Bin32 => (0, self.length(4)?),
                Marker::FixArray(len) => (len.into(), 0),
                Marker::Array16 => (self.length(2)?, 0),
                Marker::Array32 => (self.length(4)?, 0),
                Marker::FixMap(len) => (2 * usize::from(len), 0),
                Marker::Map16 => (2 * self.length(2)?, 0),
                Marker::Map32 => (self.length(4)?.saturating_mul(2), 0),
                // A byte that says the type comes first.
                Marker::FixExt1 => (0, 2),
                Marker::FixExt2 => (0, 3),
                Marker::FixExt4 => (0, 5),
                Marker::FixExt8 => (0, 9),
                Marker::FixExt16 => (0, 17),
                Marker::Ext8 => (0, self.length(1)?.saturating_add(1)),
                Marker::Ext16 => (0, self.length(2)?.saturating_add(1)),
                Marker::Ext32 => (0, self.length(4)?.saturating_add(1)),
                Marker::Reserved => return Err("the body is not MessagePack: byte 0xc1".to_owned()),
            };
            self.take(bytes)?;
            left = left.saturating_add(within);
        }
        Ok(())
    }
}
