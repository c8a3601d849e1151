//! Arithmetic, and texts that mean numbers.

use super::decimal::Decimal;
use super::{take, text};
use crate::template::evaluate::Scope;
use crate::template::value::{Value, to_float, to_int};
use crate::units::{parse_bytes, parse_go_duration};

type Result<'a> = std::result::Result<Value<'a>, String>;

pub fn bytes<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let text = text(arguments, 0);
    let bytes = parse_bytes(&String::from_utf8_lossy(&text)).map_err(|error| error.to_string())?;
    Ok(Value::Float(bytes as f64))
}

pub fn duration<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let text = text(arguments, 0);
    let ns = parse_go_duration(&String::from_utf8_lossy(&text)).map_err(|error| error.to_string())?;
    let (seconds, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
    Ok(Value::Float(seconds as f64 + rest as f64 / 1e9))
}

pub fn int<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    Ok(Value::Int(to_int(&take(arguments, 0))))
}

pub fn float64<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    Ok(Value::Float(to_float(&take(arguments, 0))))
}

fn ints<'a>(arguments: &[Value<'_>], start: Option<i64>, join: fn(i64, i64) -> i64) -> Result<'a> {
    let numbers = arguments.iter().map(to_int);
    Ok(Value::Int64(match start {
        Some(start) => numbers.fold(start, join),
        None => numbers.reduce(join).unwrap_or(0),
    }))
}

pub fn add<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    ints(arguments, Some(0), i64::wrapping_add)
}

pub fn sub<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    ints(arguments, None, i64::wrapping_sub)
}

pub fn mul<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    ints(arguments, None, i64::wrapping_mul)
}

pub fn max<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    ints(arguments, None, i64::max)
}

pub fn min<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    ints(arguments, None, i64::min)
}

fn divide<'a>(arguments: &[Value<'_>], divide: fn(i64, i64) -> i64) -> Result<'a> {
    let numbers: Vec<i64> = arguments.iter().map(to_int).collect();
    match numbers.as_slice() {
        [dividend, divisor] if *divisor != 0 => Ok(Value::Int64(divide(*dividend, *divisor))),
        _ => Err("runtime error: integer divide by zero".to_owned()),
    }
}

pub fn div<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    divide(arguments, i64::wrapping_div)
}

pub fn modulo<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    divide(arguments, i64::wrapping_rem)
}

/// Joins floats as decimals, one after the other; where those do not reach, as floats.
fn decimals<'a>(
    arguments: &[Value<'_>],
    exact: fn(Decimal, Decimal) -> Option<Decimal>,
    rough: fn(f64, f64) -> f64,
) -> Result<'a> {
    let decimal = |number: f64| {
        Decimal::new(number).ok_or_else(|| format!("Cannot create a Decimal from {}", go_special(number)))
    };
    let Some((first, others)) = arguments.split_first() else { return Ok(Value::Float(0.0)) };
    let mut sum = to_float(first);
    let mut exactly = Some(decimal(sum)?);
    for other in others {
        let other = to_float(other);
        let operand = decimal(other)?;
        exactly = exactly.and_then(|sum| exact(sum, operand));
        sum = exactly.map_or_else(|| rough(sum, other), Decimal::float);
    }
    Ok(Value::Float(sum))
}

fn go_special(number: f64) -> String {
    crate::template::float::print(number, 'g', None)
}

pub fn addf<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    decimals(arguments, Decimal::add, |one, other| one + other)
}

pub fn subf<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    decimals(arguments, Decimal::sub, |one, other| one - other)
}

pub fn mulf<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    decimals(arguments, Decimal::mul, |one, other| one * other)
}

pub fn divf<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let mut divisors = arguments.iter().skip(1).map(to_float);
    if divisors.any(|divisor| Decimal::new(divisor).is_some_and(Decimal::is_zero)) {
        return Err("decimal division by 0".to_owned());
    }
    decimals(arguments, Decimal::div, |one, other| one / other)
}

fn floats<'a>(arguments: &[Value<'_>], join: fn(f64, f64) -> f64) -> Result<'a> {
    let any_nan = |one: f64, other: f64| if one.is_nan() || other.is_nan() { Some(f64::NAN) } else { None };
    let numbers = arguments.iter().map(to_float);
    Ok(Value::Float(
        numbers.reduce(|one, other| any_nan(one, other).unwrap_or_else(|| join(one, other))).unwrap_or(0.0),
    ))
}

pub fn maxf<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    floats(arguments, f64::max)
}

pub fn minf<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    floats(arguments, f64::min)
}

pub fn ceil<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    Ok(Value::Float(to_float(&take(arguments, 0)).ceil()))
}

pub fn floor<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    Ok(Value::Float(to_float(&take(arguments, 0)).floor()))
}

/// To so many places; the part behind them counts as one from the third argument (0.5) on.
pub fn round<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let number = to_float(&take(arguments, 0));
    let power = ten_to_the(arguments.get(1).map_or(0, to_int));
    let limit = arguments.get(2).map_or(0.5, to_float);
    let shifted = power * number;
    let rounded = if shifted.fract() >= limit { shifted.ceil() } else { shifted.floor() };
    Ok(Value::Float(rounded / power))
}

fn ten_to_the(places: i64) -> f64 {
    let places = places.clamp(-400, 400);
    format!("1e{places}").parse().unwrap_or(f64::INFINITY)
}

/// The second argument, unless it is empty, zero or false.
pub fn default<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let given = match arguments {
        [_] => Value::Invalid,
        _ => take(arguments, 1),
    };
    // Labels are never without a name here: an empty map counts as empty all the same.
    Ok(if given.truth(|| true) { given } else { take(arguments, 0) })
}
