//! The functions of text/template itself.

use super::{take, text};
use crate::template::evaluate::Scope;
use crate::template::format;
use crate::template::value::{Basic, Value};
use std::borrow::Cow;

type Result<'a> = std::result::Result<Value<'a>, String>;

/// `and` and `or` are evaluated with their arguments, not called.
pub fn unreachable<'a>(_: &mut Scope<'a>, _: &mut [Value<'a>]) -> Result<'a> {
    Ok(Value::Invalid)
}

/// No value of a line is a function.
pub fn call<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let value = take(arguments, 0).unboxed();
    if value.is_nil() {
        return Err("call of nil".to_owned());
    }
    let name = scope.words.first().map(ToString::to_string).unwrap_or_default();
    Err(format!("non-function {name} of type {}", value.type_name()))
}

/// The arguments as one text: a single text as it is, else as `print` joins them.
fn joined<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> std::result::Result<Cow<'a, [u8]>, String> {
    if let [Value::Text(_)] = arguments {
        return Ok(text(arguments, 0));
    }
    for argument in arguments.iter_mut() {
        if argument.is_nil() {
            *argument = Value::text(b"<no value>".as_slice());
        }
    }
    let joined = format::print(scope, arguments)?;
    scope.spend(joined.len())?;
    Ok(joined.into())
}

pub fn html<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let text = joined(scope, arguments)?;
    scope.spend(text.len())?;
    let mut out = Vec::with_capacity(text.len());
    for &byte in text.iter() {
        match byte {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            byte => out.push(byte),
        }
    }
    Ok(Value::text(out))
}

pub fn js<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let text = joined(scope, arguments)?;
    scope.spend(text.len())?;
    Ok(Value::text(format::escape_js(&text)))
}

pub fn urlquery<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let text = joined(scope, arguments)?;
    scope.spend(text.len())?;
    Ok(Value::text(super::texts::escape_query(&text)))
}

pub fn print<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let out = format::print(scope, arguments)?;
    scope.spend(out.len())?;
    Ok(Value::text(out))
}

pub fn println<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let out = format::println(scope, arguments)?;
    scope.spend(out.len())?;
    Ok(Value::text(out))
}

pub fn printf<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let layout = text(arguments, 0);
    let out = format::printf(scope, &layout, arguments.get(1..).unwrap_or_default())?;
    scope.spend(out.len())?;
    Ok(Value::text(out))
}

pub fn len<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let length = match take(arguments, 0) {
        Value::Boxed(None) => return Err("len of nil pointer".to_owned()),
        Value::Invalid => return Err("reflect: call of reflect.Value.Type on zero Value".to_owned()),
        value => match value.unboxed() {
            Value::Text(text) => text.len(),
            Value::List(list) => list.len(),
            Value::Map(map) => map.len(),
            Value::Labels => scope.labels().len(),
            value => return Err(format!("len of type {}", value.type_name())),
        },
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

pub fn not<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let value = take(arguments, 0);
    Ok(Value::Bool(!scope.truth(&value)))
}

fn place(index: &Value<'_>, length: usize) -> std::result::Result<usize, String> {
    if let Value::Invalid = index {
        return Err("cannot index slice/array with nil".to_owned());
    }
    let Some(at) = index.int() else {
        return Err(format!("cannot index slice/array with type {}", index.type_name()));
    };
    usize::try_from(at).ok().filter(|&at| at <= length).ok_or_else(|| format!("index out of range: {at}"))
}

/// A name to look up in a map.
fn key<'v>(index: &'v Value<'_>) -> std::result::Result<&'v [u8], String> {
    match index {
        Value::Text(text) => Ok(text),
        Value::Invalid => Err("value is nil; should be of type string".to_owned()),
        value => Err(format!("value has type {}; should be string", value.type_name())),
    }
}

pub fn index<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let mut item = take(arguments, 0).unboxed();
    if item.is_nil() {
        return Err("index of untyped nil".to_owned());
    }
    for at in 1..arguments.len() {
        let index = take(arguments, at).unboxed();
        item = match item {
            Value::Boxed(None) => return Err("index of nil pointer".to_owned()),
            item => item.unboxed(),
        };
        item = match item {
            Value::Text(text) => {
                let at = place(&index, text.len())?;
                Value::Byte(*text.get(at).ok_or("reflect: string index out of range")?)
            }
            Value::List(list) => {
                let at = place(&index, list.len())?;
                Value::boxed(list.get(at).ok_or("reflect: slice index out of range")?)
            }
            Value::Map(map) => map.get(key(&index)?).map_or(Value::Boxed(None), Value::boxed),
            Value::Labels => {
                let name = std::str::from_utf8(key(&index)?).unwrap_or_default();
                Value::text(scope.context.label(name).unwrap_or_default().as_bytes())
            }
            item => return Err(format!("can't index item of type {}", item.type_name())),
        };
    }
    Ok(item)
}

pub fn slice<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let item = take(arguments, 0).unboxed();
    if item.is_nil() {
        return Err("slice of untyped nil".to_owned());
    }
    let indexes = arguments.get(1..).unwrap_or_default();
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let (length, capacity) = match &item {
        Value::Text(_) if indexes.len() == 3 => return Err("cannot 3-index slice a string".to_owned()),
        Value::Text(text) => (text.len(), text.len()),
        Value::List(list) => (list.len(), list.capacity()),
        item => return Err(format!("can't slice item of type {}", item.type_name())),
    };
    let mut bounds = [0, length, capacity];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        // Other than `index`, it does not look into an `interface {}`.
        *bound = place(index, capacity)?;
    }
    let [from, to, end] = bounds;
    for (low, high) in [(from, to), (to, end)] {
        if low > high {
            return Err(format!("invalid slice index: {low} > {high}"));
        }
    }
    Ok(match item {
        Value::Text(text) => Value::Text(super::part(text, from, to)),
        Value::List(list) => Value::List(list.slice(from, to)),
        item => item,
    })
}

const INCOMPARABLE: &str = "invalid type for comparison";

fn equal(scope: &Scope<'_>, left: &Value<'_>, right: &Value<'_>) -> std::result::Result<bool, String> {
    let kinds = (left.basic(), right.basic());
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => return Ok(left == right),
        (Value::Float(left), Value::Float(right)) => return Ok(left == right),
        (Value::Text(left), Value::Text(right)) => return Ok(left == right),
        _ => {}
    }
    match kinds {
        (Basic::Int | Basic::Uint, Basic::Int | Basic::Uint) => Ok(left.int() == right.int()),
        (Basic::Other, Basic::Other) => match (left, right) {
            (left, right) if left.is_nil() || right.is_nil() => Ok(left.is_nil() == right.is_nil()),
            (Value::Time(left), Value::Time(right)) => Ok(left.unix_nanos() == right.unix_nanos()),
            (left, right) => {
                let show = |value: &Value<'_>| {
                    let shown = format::printf(scope, b"%s", std::slice::from_ref(value)).unwrap_or_default();
                    String::from_utf8_lossy(&shown).into_owned()
                };
                let is_map = |value: &Value<'_>| matches!(value, Value::Labels | Value::Map(_));
                let (one, other) = (left.type_name(), right.type_name());
                Err(if one == other || is_map(left) && is_map(right) {
                    format!("non-comparable type {}: {other}", show(right))
                } else {
                    format!("non-comparable types {}: {one}, {other}: {}", show(left), format::show(scope, right))
                })
            }
        },
        _ if left.is_nil() || right.is_nil() => Ok(false),
        _ => Err(format!("incompatible types for comparison: {} and {}", left.type_name(), right.type_name())),
    }
}

fn less(left: &Value<'_>, right: &Value<'_>) -> std::result::Result<bool, String> {
    match (left.basic(), right.basic()) {
        (Basic::Other, _) | (_, Basic::Other) | (Basic::Bool, Basic::Bool) => Err(INCOMPARABLE.to_owned()),
        (Basic::Int | Basic::Uint, Basic::Int | Basic::Uint) => Ok(left.int() < right.int()),
        _ => match (left, right) {
            (Value::Float(left), Value::Float(right)) => Ok(left < right),
            (Value::Text(left), Value::Text(right)) => Ok(left < right),
            _ => Err(format!("incompatible types for comparison: {} and {}", left.type_name(), right.type_name())),
        },
    }
}

fn pair<'a>(arguments: &mut [Value<'a>]) -> (Value<'a>, Value<'a>) {
    (take(arguments, 0).unboxed(), take(arguments, 1).unboxed())
}

pub fn eq<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let first = take(arguments, 0).unboxed();
    if arguments.len() < 2 {
        return Err("missing argument for comparison".to_owned());
    }
    for at in 1..arguments.len() {
        let other = take(arguments, at).unboxed();
        if equal(scope, &first, &other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

pub fn ne<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (left, right) = pair(arguments);
    Ok(Value::Bool(!equal(scope, &left, &right)?))
}

pub fn lt<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (left, right) = pair(arguments);
    Ok(Value::Bool(less(&left, &right)?))
}

pub fn le<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (left, right) = pair(arguments);
    Ok(Value::Bool(less(&left, &right)? || equal(scope, &left, &right)?))
}

pub fn gt<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (left, right) = pair(arguments);
    Ok(Value::Bool(!(less(&left, &right)? || equal(scope, &left, &right)?)))
}

pub fn ge<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (left, right) = pair(arguments);
    Ok(Value::Bool(!less(&left, &right)?))
}
