//! Push requests as `logproto.PushRequest`, read field by field where they stand.
//!
//! | message | fields |
//! |---|---|
//! | PushRequest | 1: repeated Stream |
//! | Stream | 1: labels as text, 2: repeated Entry |
//! | Entry | 1: Timestamp, 2: line, 3: repeated Pair (structured metadata) |
//! | Timestamp | 1: seconds, 2: nanoseconds |
//! | Pair | 1: name, 2: value |
//!
//! Other fields are passed over. Texts that are not UTF-8 read as U+FFFD where they are not.

use super::State;
use super::labels;
use super::sink::Sink;
use crate::protobuf::{Message, Read};
use std::borrow::Cow;

/// Reads a request.
pub(super) fn read(body: &[u8], state: &mut State, sink: &mut Sink<'_>) -> Read {
    let mut request = Message(body);
    while let Some((number, value)) = request.next()? {
        if number == 1 {
            stream(value.bytes()?, state, sink)?;
        }
    }
    Ok(())
}

fn stream(bytes: &[u8], state: &mut State, sink: &mut Sink<'_>) -> Read {
    // Labels may stand behind the entries.
    let mut text: &[u8] = b"";
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        if number == 1 {
            text = value.bytes()?;
        }
    }
    labels::parse(&String::from_utf8_lossy(text), &mut state.labels)?;
    sink.open_stream();
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        if number == 2 {
            entry(value.bytes()?, state, sink)?;
        }
    }
    sink.close_stream();
    Ok(())
}

fn entry(bytes: &[u8], state: &mut State, sink: &mut Sink<'_>) -> Read {
    state.metadata.clear();
    let mut timestamp = None;
    let mut line: &[u8] = b"";
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        match number {
            1 => timestamp = instant(value.bytes()?)?,
            2 => line = value.bytes()?,
            3 => {
                let (name, value) = pair(value.bytes()?)?;
                state.metadata.push(&name, &value);
            }
            _ => {}
        }
    }
    match std::str::from_utf8(line) {
        Ok(_) => sink.entry(&state.labels, timestamp, line, &state.metadata),
        Err(_) => sink.entry(&state.labels, timestamp, String::from_utf8_lossy(line).as_bytes(), &state.metadata),
    }
    Ok(())
}

fn pair(bytes: &[u8]) -> Read<(Cow<'_, str>, Cow<'_, str>)> {
    let (mut name, mut text): (&[u8], &[u8]) = (b"", b"");
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        match number {
            1 => name = value.bytes()?,
            2 => text = value.bytes()?,
            _ => {}
        }
    }
    Ok((String::from_utf8_lossy(name), String::from_utf8_lossy(text)))
}

/// The time in ns; `None` if it is not one that ns since 1970 can tell.
fn instant(bytes: &[u8]) -> Read<Option<i64>> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        match number {
            // Both are signed numbers in two's complement.
            1 => seconds = value.number()?.cast_signed(),
            2 => nanos = value.number()?.cast_signed(),
            _ => {}
        }
    }
    Ok(seconds.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(nanos)))
}
