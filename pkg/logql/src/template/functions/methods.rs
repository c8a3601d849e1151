//! Methods of times, durations, months and weekdays: the first argument is what they are called on.

use super::{int, take, text};
use crate::template::call::{Call, Function, Type};
use crate::template::time::{Duration, Month, Time, Weekday, Zone};
use crate::template::value::Value;

/// The method of a value.
pub(in crate::template) fn lookup(receiver: &Value<'_>, name: &str) -> Option<&'static Function> {
    let methods = match receiver {
        Value::Time(_) => TIME,
        Value::Duration(_) => DURATION,
        Value::Month(_) | Value::Weekday(_) => NAMED,
        _ => return None,
    };
    methods.iter().find(|method| method.name == name)
}

const fn method(name: &'static str, parameters: &'static [Type], call: Call) -> Function {
    Function { name, parameters, variadic: false, call }
}

fn time(arguments: &mut [Value<'_>], at: usize) -> Time {
    match take(arguments, at) {
        Value::Time(time) => time,
        _ => Time::zero(),
    }
}

fn whole(value: impl Into<i64>) -> Value<'static> {
    Value::Int(value.into())
}

static TIME: &[Function] = &[
    method("Format", &[Type::Text], |scope, arguments| {
        let layout = text(arguments, 1);
        scope.spend(layout.len() * 4)?;
        Ok(Value::text(time(arguments, 0).format(&layout)))
    }),
    method("String", &[], |_, arguments| Ok(Value::text(time(arguments, 0).to_string().into_bytes()))),
    method("Unix", &[], |_, arguments| Ok(Value::Int64(time(arguments, 0).seconds))),
    method("UnixMilli", &[], |_, arguments| Ok(Value::Int64(time(arguments, 0).unix(1000)))),
    method("UnixMicro", &[], |_, arguments| Ok(Value::Int64(time(arguments, 0).unix(1_000_000)))),
    method("UnixNano", &[], |_, arguments| Ok(Value::Int64(time(arguments, 0).unix_nanos()))),
    method("Year", &[], |_, arguments| Ok(whole(time(arguments, 0).civil().year))),
    method("Month", &[], |_, arguments| Ok(Value::Month(Month(time(arguments, 0).civil().month)))),
    method("Day", &[], |_, arguments| Ok(whole(time(arguments, 0).civil().day))),
    method("Hour", &[], |_, arguments| Ok(whole(time(arguments, 0).civil().hour))),
    method("Minute", &[], |_, arguments| Ok(whole(time(arguments, 0).civil().minute))),
    method("Second", &[], |_, arguments| Ok(whole(time(arguments, 0).civil().second))),
    method("Nanosecond", &[], |_, arguments| Ok(whole(time(arguments, 0).nanos))),
    method("YearDay", &[], |_, arguments| Ok(whole(time(arguments, 0).civil().year_day))),
    method("Weekday", &[], |_, arguments| Ok(Value::Weekday(Weekday(time(arguments, 0).civil().weekday)))),
    method("UTC", &[], |_, arguments| Ok(Value::Time(time(arguments, 0).in_zone(Zone::Utc)))),
    method("Local", &[], |_, arguments| Ok(Value::Time(time(arguments, 0).in_zone(Zone::Utc)))),
    method("IsZero", &[], |_, arguments| Ok(Value::Bool(time(arguments, 0).is_zero()))),
    method("Equal", &[Type::Time], |_, arguments| compare(arguments, |order| order.is_eq())),
    method("Before", &[Type::Time], |_, arguments| compare(arguments, |order| order.is_lt())),
    method("After", &[Type::Time], |_, arguments| compare(arguments, |order| order.is_gt())),
    method("Compare", &[Type::Time], |_, arguments| {
        let (one, other) = (time(arguments, 0), time(arguments, 1));
        Ok(whole((one.seconds, one.nanos).cmp(&(other.seconds, other.nanos)) as i8))
    }),
    method("Sub", &[Type::Time], |_, arguments| {
        let (one, other) = (time(arguments, 0), time(arguments, 1));
        Ok(Value::Duration(one.since(&other)))
    }),
    method("Add", &[Type::Duration], |_, arguments| {
        let duration = Duration(int(arguments, 1));
        Ok(Value::Time(time(arguments, 0).plus(duration)))
    }),
];

fn compare<'a>(arguments: &mut [Value<'a>], holds: fn(std::cmp::Ordering) -> bool) -> Result<Value<'a>, String> {
    let (one, other) = (time(arguments, 0), time(arguments, 1));
    Ok(Value::Bool(holds((one.seconds, one.nanos).cmp(&(other.seconds, other.nanos)))))
}

/// Whole units and the rest, as Go adds them up.
fn units(arguments: &[Value<'_>], unit: i64) -> Value<'static> {
    let ns = int(arguments, 0);
    Value::Float((ns / unit) as f64 + (ns % unit) as f64 / unit as f64)
}

static DURATION: &[Function] = &[
    method("Nanoseconds", &[], |_, arguments| Ok(Value::Int64(int(arguments, 0)))),
    method("Microseconds", &[], |_, arguments| Ok(Value::Int64(int(arguments, 0) / 1000))),
    method("Milliseconds", &[], |_, arguments| Ok(Value::Int64(int(arguments, 0) / 1_000_000))),
    method("Seconds", &[], |_, arguments| Ok(units(arguments, 1_000_000_000))),
    method("Minutes", &[], |_, arguments| Ok(units(arguments, 60_000_000_000))),
    method("Hours", &[], |_, arguments| Ok(units(arguments, 3_600_000_000_000))),
    method("String", &[], shown),
];

static NAMED: &[Function] = &[method("String", &[], shown)];

fn shown<'a>(
    scope: &mut crate::template::evaluate::Scope<'a>,
    arguments: &mut [Value<'a>],
) -> Result<Value<'a>, String> {
    Ok(Value::text(crate::template::format::print(scope, arguments)?))
}
