//! Functions over times. "Local" is UTC, and the clock is the context's.

use super::{take, text};
use crate::template::evaluate::Scope;
use crate::template::time::{Time, Zone};
use crate::template::value::Value;

type Result<'a> = std::result::Result<Value<'a>, String>;

pub fn timestamp<'a>(scope: &mut Scope<'a>, _: &mut [Value<'a>]) -> Result<'a> {
    Ok(Value::Time(Time::from_ns(scope.context.timestamp_ns())))
}

pub fn now<'a>(scope: &mut Scope<'a>, _: &mut [Value<'a>]) -> Result<'a> {
    Ok(Value::Time(Time::from_ns(scope.context.now_ns())))
}

/// A time, or an int as seconds since 1970; what is neither counts as now.
pub fn date<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let layout = text(arguments, 0);
    let time = match take(arguments, 1).unboxed() {
        Value::Time(time) => time.in_zone(Zone::Utc),
        Value::Int(seconds) | Value::Int64(seconds) => Time::from_seconds(seconds),
        _ => Time::from_ns(scope.context.now_ns()),
    };
    scope.spend(layout.len() * 4)?;
    Ok(Value::text(time.format(&layout)))
}

pub fn to_date<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (layout, shown) = (text(arguments, 0), text(arguments, 1));
    scope.spend(layout.len() + shown.len())?;
    Ok(Value::Time(Time::parse(&layout, &shown, Zone::Utc).unwrap_or_else(Time::zero)))
}

pub fn to_date_in_zone<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (layout, zone, shown) = (text(arguments, 0), text(arguments, 1), text(arguments, 2));
    scope.spend(layout.len() + shown.len())?;
    Ok(Value::Time(Time::parse(&layout, &shown, Zone::named(&zone)).unwrap_or_else(Time::zero)))
}

fn with_time<'a>(arguments: &mut [Value<'a>], answer: impl FnOnce(Time) -> i64) -> Result<'a> {
    match take(arguments, 0) {
        Value::Time(time) => Ok(Value::text(answer(time).to_string().into_bytes())),
        _ => Ok(Value::text(b"".as_slice())),
    }
}

pub fn epoch<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    with_time(arguments, |time| time.seconds)
}

pub fn epoch_millis<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    with_time(arguments, |time| time.unix(1000))
}

pub fn epoch_nanos<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    with_time(arguments, |time| time.unix_nanos())
}

/// Days, seconds, milli-, micro- or nanoseconds since 1970: the number of digits says which.
pub fn unix_to_time<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let text = text(arguments, 0);
    let shown = String::from_utf8_lossy(&text);
    let number = match shown.parse::<i64>() {
        Ok(number) => number,
        Err(error) => {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let why = match error.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            let quoted = crate::template::format::quote(&text, '"', false);
            return Err(format!("unable to parse time '{shown}': strconv.ParseInt: parsing {quoted}: {why}"));
        }
    };
    Ok(Value::Time(match text.len() {
        5 => Time::from_seconds(number.wrapping_mul(86_400)),
        10 => Time::from_seconds(number),
        13 => Time::from_ns(number.wrapping_mul(1_000_000)),
        16 => Time::from_ns(number.wrapping_mul(1000)),
        19 => Time::from_ns(number),
        _ => return Err(format!("unable to parse time '{shown}': %!w(<nil>)")),
    }))
}
