//! What the functions do; `call` has the table that names them.
//!
//! A function takes its arguments out of the slice it is given, their number and types checked;
//! its error is the text that Go gives, without where it happened.

pub(super) mod builtin;
pub(super) mod dates;
mod decimal;
pub(super) mod methods;
pub(super) mod numbers;
pub(super) mod texts;

use super::value::Value;
use std::borrow::Cow;

/// Takes an argument; one that is not there counts as no value.
fn take<'a>(arguments: &mut [Value<'a>], at: usize) -> Value<'a> {
    arguments.get_mut(at).map(std::mem::take).unwrap_or_default()
}

/// Takes a text.
pub(super) fn text<'a>(arguments: &mut [Value<'a>], at: usize) -> Cow<'a, [u8]> {
    match take(arguments, at) {
        Value::Text(text) => text,
        _ => Cow::Borrowed(b""),
    }
}

/// Takes an int.
fn int(arguments: &[Value<'_>], at: usize) -> i64 {
    arguments.get(at).and_then(Value::int).unwrap_or(0)
}

/// A part of a text, borrowed if the text is.
fn part(text: Cow<'_, [u8]>, from: usize, to: usize) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(from..to).unwrap_or_default()),
        Cow::Owned(mut text) => {
            text.truncate(to);
            text.drain(..from.min(text.len()));
            Cow::Owned(text)
        }
    }
}
