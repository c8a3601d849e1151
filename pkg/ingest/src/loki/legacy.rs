//! Push requests of `/api/prom/push`: labels as text, entries as objects with an RFC 3339 time.

use super::State;
use super::json::{Fault, Read, Reader};
use super::labels;
use super::sink::Sink;
use crate::scan::Scanner;
use timberlog_types::time;

/// Reads a request.
pub(super) fn read(text: &str, state: &mut State, sink: &mut Sink<'_>) -> Result<(), String> {
    let mut reader = Reader { scan: Scanner::new(text) };
    reader.request(|reader| stream(reader, state, sink)).map_err(|fault| fault.words(text))
}

fn stream(reader: &mut Reader<'_>, state: &mut State, sink: &mut Sink<'_>) -> Read {
    let mut is_labelled = false;
    let mut waiting = None;
    state.labels.clear();
    reader.object("a stream", |reader, key| {
        if key.eq_ignore_ascii_case("labels") {
            let text = reader.text("labels in a string", &mut state.name)?;
            labels::parse(text, &mut state.labels).map_err(Fault::Reason)?;
            is_labelled = true;
            Ok(())
        } else if !key.eq_ignore_ascii_case("entries") {
            reader.skip()
        } else if is_labelled {
            entries(reader, state, sink)
        } else {
            waiting = Some(reader.scan.at);
            reader.skip()
        }
    })?;
    if let Some(at) = waiting {
        let end = std::mem::replace(&mut reader.scan.at, at);
        entries(reader, state, sink)?;
        reader.scan.at = end;
    }
    sink.close_stream();
    Ok(())
}

fn entries(reader: &mut Reader<'_>, state: &mut State, sink: &mut Sink<'_>) -> Read {
    let State { labels, metadata, line, time, .. } = state;
    sink.open_stream();
    reader.array("an array of entries", |reader| {
        metadata.clear();
        line.clear();
        let mut timestamp = None;
        reader.object("an entry, which is an object", |reader, key| {
            if key.eq_ignore_ascii_case("ts") {
                timestamp = Some(instant(reader.text("a timestamp in a string", time)?)?);
                Ok(())
            } else if key.eq_ignore_ascii_case("line") {
                let text = reader.text("a line in a string", time)?;
                line.clear();
                line.push_str(text);
                Ok(())
            } else if key.eq_ignore_ascii_case("structuredMetadata") {
                reader.metadata(metadata)
            } else {
                reader.skip()
            }
        })?;
        sink.entry(labels, timestamp, line.as_bytes(), metadata);
        Ok(())
    })
}

fn instant(text: &str) -> Read<i64> {
    time::parse(text.as_bytes()).map_err(|error| {
        Fault::Reason(format!("timestamp `{}` is {error}, expected RFC 3339", crate::record::excerpt(text)))
    })
}
