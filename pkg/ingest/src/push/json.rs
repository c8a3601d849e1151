//! Payloads as JSON: `{"streams":[{"stream":{…},"values":[["<ns>","line"]]}]}`.

use super::State;
use super::sink::Sink;
use crate::loki::json::{Fault, Read, Reader};
use crate::scan::{Scanner, Shape};
use crate::unescape::unescape;

/// Reads a payload.
pub(super) fn read(text: &str, state: &mut State, sink: &mut Sink<'_>) -> Result<(), String> {
    let mut reader = Reader { scan: Scanner::new(text) };
    let read = reader.request(|reader| stream(reader, state, sink)).and_then(|()| {
        reader.scan.skip_whitespace();
        match reader.scan.peek() {
            None => Ok(()),
            Some(_) => Ok(reader.scan.error("the end of the body")?),
        }
    });
    read.map_err(|fault| fault.words(text))
}

fn stream(reader: &mut Reader<'_>, state: &mut State, sink: &mut Sink<'_>) -> Read {
    let (mut is_open, mut has_values) = (false, false);
    // Values that came before their labels.
    let mut waiting = None;
    state.labels.clear();
    reader.object("a stream, which is an object", |reader, key| match key {
        "stream" if is_open => Err(Fault::Reason(sink.twice(key))),
        "values" if std::mem::replace(&mut has_values, true) => Err(Fault::Reason(sink.twice(key))),
        "stream" => {
            reader.texts("an object of labels", "a string as the value of a label", &mut state.labels)?;
            is_open = true;
            sink.open(&mut state.labels).map_err(Fault::Reason)
        }
        "values" if is_open => values(reader, state, sink),
        "values" => {
            waiting = Some(reader.scan.at);
            reader.skip()
        }
        _ => reader.skip(),
    })?;
    if !is_open {
        // Says that there are no labels.
        sink.open(&mut state.labels).map_err(Fault::Reason)?;
    }
    if let Some(at) = waiting {
        let end = std::mem::replace(&mut reader.scan.at, at);
        values(reader, state, sink)?;
        reader.scan.at = end;
    }
    sink.close().map_err(Fault::Reason)
}

fn values(reader: &mut Reader<'_>, state: &mut State, sink: &mut Sink<'_>) -> Read {
    let State { line: buffer, time, .. } = state;
    reader.array("an array of values", |reader| {
        let wrong = |sink: &Sink<'_>, what: &str| Err(Fault::Reason(sink.wrong(what)));
        if reader.scan.peek() != Some(b'[') {
            return wrong(sink, "no array of a timestamp and a line");
        }
        let (mut place, mut timestamp, mut line) = (0, None, None);
        reader.array("a value", |reader| {
            let is_text = reader.scan.peek() == Some(b'"');
            match place {
                0 if !is_text => {
                    return wrong(sink, "a timestamp that is not in a string, expected \"<ns since 1970>\"");
                }
                0 => timestamp = Some(sink.timestamp(reader.text("a timestamp", time)?).map_err(Fault::Reason)?),
                1 if !is_text => return wrong(sink, "a line that is not a string"),
                1 => {
                    let raw = reader.scan.scalar()?;
                    let text = reader.scan.text(raw.span);
                    buffer.clear();
                    if raw.shape != Shape::Plain {
                        unescape(text, buffer);
                    }
                    line = Some((raw.shape == Shape::Plain).then_some(text));
                }
                _ => {
                    return wrong(
                        sink,
                        "more than a timestamp and a line; structured metadata goes to /loki/api/v1/push",
                    );
                }
            }
            place += 1;
            Ok(())
        })?;
        let (Some(timestamp), Some(line)) = (timestamp, line) else {
            return wrong(sink, "less than a timestamp and a line");
        };
        let line = line.unwrap_or(buffer.as_str());
        sink.value(timestamp, line.as_bytes()).map_err(Fault::Reason)
    })
}
