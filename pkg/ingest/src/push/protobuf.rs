//! Payloads as protobuf, read field by field where they stand.
//!
//! | message | fields |
//! |---|---|
//! | Payload | 1: repeated StreamEntry |
//! | StreamEntry | 1: map of labels, 2: repeated Value |
//! | Value | 1: timestamp as text, 2: line |
//!
//! Other fields are passed over. Texts that are not UTF-8 read as U+FFFD where they are not.

use super::State;
use super::sink::Sink;
use crate::protobuf::{Message, Read};

/// Reads a payload.
pub(super) fn read(body: &[u8], state: &mut State, sink: &mut Sink<'_>) -> Read {
    let mut payload = Message(body);
    while let Some((number, value)) = payload.next()? {
        if number == 1 {
            stream(value.bytes()?, state, sink)?;
        }
    }
    Ok(())
}

fn stream(bytes: &[u8], state: &mut State, sink: &mut Sink<'_>) -> Read {
    // Labels may stand behind the values.
    state.labels.clear();
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        if number == 1 {
            let (name, text) = pair(value.bytes()?)?;
            state.labels.push(&String::from_utf8_lossy(name), &String::from_utf8_lossy(text));
        }
    }
    sink.open(&mut state.labels)?;
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        if number == 2 {
            let (time, line) = pair(value.bytes()?)?;
            let timestamp = sink.timestamp(&String::from_utf8_lossy(time))?;
            sink.value(timestamp, String::from_utf8_lossy(line).as_bytes())?;
        }
    }
    sink.close()
}

/// The texts of the fields 1 and 2, which a map's entry and a value both have.
fn pair(bytes: &[u8]) -> Read<(&[u8], &[u8])> {
    let (mut first, mut second): (&[u8], &[u8]) = (b"", b"");
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        match number {
            1 => first = value.bytes()?,
            2 => second = value.bytes()?,
            _ => {}
        }
    }
    Ok((first, second))
}
