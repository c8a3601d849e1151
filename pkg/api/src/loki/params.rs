//! Times, spans and numbers of a request, read and refused as Loki does.

use super::asked::Asked;
use super::error::{LokiError, LokiResult};
use super::run::metric_error;
use timberlog_db::language::evaluate::EvaluateError;
use timberlog_db::language::units::parse_prometheus_duration;
use timberlog_db::query::Order;
use timberlog_types::TimeRange;
use timberlog_types::time::{self, SECOND_NS};

/// Lines of an answer when nothing is said.
const LIMIT_DEFAULT: u32 = 100;
/// How long before its end a range begins when nothing is said.
const SINCE_DEFAULT_NS: i64 = 3600 * SECOND_NS;
/// Points of a series at the default step.
const POINTS_DEFAULT: i64 = 250;

/// From when (included) to when (not included), in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first ns.
    pub start: i64,
    /// The ns behind the last.
    pub end: i64,
}

impl Bounds {
    /// `start`, `end` and `since`.
    pub fn of(asked: &Asked, now_ns: i64) -> LokiResult<Self> {
        let wrong = |name: &str, why: String| LokiError::invalid(format!("could not parse '{name}' parameter: {why}"));
        let since = match asked.get("since") {
            "" => SINCE_DEFAULT_NS,
            text => parse_prometheus_duration(text).map_err(|error| wrong("since", error.to_string()))?,
        };
        let end = timestamp(asked.get("end"), now_ns).map_err(|why| wrong("end", why))?;
        let start = timestamp(asked.get("start"), end.min(now_ns).saturating_sub(since));
        Ok(Self { start: start.map_err(|why| wrong("start", why))?, end })
    }

    /// The same, refused if it ends before it starts.
    pub fn forward(asked: &Asked, now_ns: i64) -> LokiResult<Self> {
        let bounds = Self::of(asked, now_ns)?;
        if bounds.end < bounds.start {
            return Err(LokiError::invalid("end timestamp must not be before or equal to start time"));
        }
        Ok(bounds)
    }

    /// The range of lines.
    pub fn lines(self) -> TimeRange {
        TimeRange { start: self.start, end: self.end.saturating_sub(1) }
    }

    /// The range of streams, which Loki takes with its end.
    pub fn streams(self) -> TimeRange {
        TimeRange { start: self.start, end: self.end }
    }
}

/// What `query_range` takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeAsked {
    /// From when to when.
    pub bounds: Bounds,
    /// Lines at most.
    pub limit: u32,
    /// In which order.
    pub order: Order,
    /// Between two points, in ns.
    pub step_ns: i64,
    /// Between two lines, in ns.
    pub interval_ns: i64,
}

impl RangeAsked {
    /// Reads the parameters, in the order in which Loki refuses them.
    pub fn of(asked: &Asked, now_ns: i64, points_max: u64) -> LokiResult<Self> {
        let bounds = Bounds::forward(asked, now_ns)?;
        let limit = limit(asked)?;
        let order = direction(asked)?;
        let step_ns = step(asked, bounds, points_max)?;
        let interval_ns = match asked.get("interval") {
            "" => 0,
            text => seconds_or_duration(text)?,
        };
        if interval_ns < 0 {
            return Err(LokiError::invalid("interval must be >= 0"));
        }
        Ok(Self { bounds, limit, order, step_ns, interval_ns })
    }
}

/// `step`, by default as long as gives 250 points; refused if it gives more than `points_max`.
pub fn step(asked: &Asked, bounds: Bounds, points_max: u64) -> LokiResult<i64> {
    let span = bounds.end.saturating_sub(bounds.start);
    let step = match asked.get("step") {
        "" => (span / SECOND_NS / POINTS_DEFAULT).max(1).saturating_mul(SECOND_NS),
        text => seconds_or_duration(text)?,
    };
    if step <= 0 {
        return Err(LokiError::invalid(
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if span.unsigned_abs() / step.unsigned_abs() > points_max {
        return Err(too_many_points(points_max));
    }
    Ok(step)
}

/// Loki's text, and the flag.
fn too_many_points(max: u64) -> LokiError {
    metric_error(EvaluateError::TooManyPoints { max })
}

/// A number of lines, refused if it is more than a query may ask for.
pub fn entries_within(entries: usize, max: usize) -> LokiResult<usize> {
    if entries > max {
        return Err(LokiError::invalid(format!(
            "max entries limit per query exceeded, limit > max_entries_limit_per_query ({entries} > {max}) \
             (`--loki-entries-max`)"
        )));
    }
    Ok(entries)
}

/// `direction`.
pub fn direction(asked: &Asked) -> LokiResult<Order> {
    match asked.get("direction").to_ascii_uppercase().as_str() {
        "" | "BACKWARD" => Ok(Order::NewestFirst),
        "FORWARD" => Ok(Order::OldestFirst),
        _ => Err(LokiError::invalid(format!("invalid direction '{}'", asked.get("direction")))),
    }
}

/// `limit`.
pub fn limit(asked: &Asked) -> LokiResult<u32> {
    number(asked, "limit", LIMIT_DEFAULT)
}

/// A number above 0.
pub fn number(asked: &Asked, name: &str, default: u32) -> LokiResult<u32> {
    let text = asked.get(name);
    if text.is_empty() {
        return Ok(default);
    }
    let number: i64 =
        integer(text).map_err(|why| LokiError::invalid(format!("strconv.Atoi: parsing {text:?}: {why}")))?;
    if number <= 0 {
        return Err(LokiError::invalid("limit must be a positive value"));
    }
    u32::try_from(number)
        .map_err(|_| LokiError::invalid(format!("{name} value {number} is out of range [0, {}]", u32::MAX)))
}

fn integer(text: &str) -> Result<i64, &'static str> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("invalid syntax");
    }
    text.parse().map_err(|_| "value out of range")
}

/// A time: seconds with a fraction, seconds (up to ten digits), ns, or RFC 3339.
pub fn timestamp(text: &str, default: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(default);
    }
    if text.contains('.')
        && let Ok(seconds) = text.parse::<f64>()
        && seconds.is_finite()
    {
        // To the ms, as Loki reads it.
        let nanos = ((seconds.fract() * 1e3).round() / 1e3 * 1e9) as i64;
        return Ok((seconds.trunc() as i64).saturating_mul(SECOND_NS).saturating_add(nanos));
    }
    match integer(text) {
        Ok(number) if text.len() <= 10 => Ok(number.saturating_mul(SECOND_NS)),
        Ok(number) => Ok(number),
        Err(why) => {
            time::parse_rfc3339(text.as_bytes()).map_err(|_| format!("strconv.ParseInt: parsing {text:?}: {why}"))
        }
    }
}

/// A span: seconds, or a number with units.
pub fn seconds_or_duration(text: &str) -> LokiResult<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ns = seconds * 1e9;
        if ns > i64::MAX as f64 || ns < i64::MIN as f64 {
            return Err(LokiError::invalid(format!("cannot parse {text:?} to a valid duration. It overflows int64")));
        }
        // Not a number comes to 0.
        return Ok(ns as i64);
    }
    parse_prometheus_duration(text)
        .map_err(|_| LokiError::invalid(format!("cannot parse {text:?} to a valid duration")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000 * SECOND_NS;

    #[track_caller]
    fn refused(query: &str, why: &str) {
        let error = RangeAsked::of(&Asked::of_query(query), NOW, 11_000).unwrap_err();
        assert_eq!(error.message(), why, "{query}");
    }

    fn range(query: &str) -> RangeAsked {
        RangeAsked::of(&Asked::of_query(query), NOW, 11_000).unwrap()
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let hour = 3600 * SECOND_NS;
        let asked = range("");
        assert_eq!(asked.bounds, Bounds { start: NOW - hour, end: NOW });
        assert_eq!((asked.limit, asked.order, asked.interval_ns), (100, Order::NewestFirst, 0));
        assert_eq!(asked.step_ns, 14 * SECOND_NS);
        assert_eq!(range("since=1m").step_ns, SECOND_NS);
        // An end in the future does not move the start.
        let ahead = range("end=1700003600&since=30m").bounds;
        assert_eq!(ahead, Bounds { start: NOW - hour / 2, end: NOW + hour });
        assert_eq!(range("direction=forward&step=1.5&interval=2m").step_ns, 1_500_000_000);
    }

    #[test]
    fn times_come_in_many_forms() {
        let s = SECOND_NS;
        for (text, expected) in [
            ("1700000000", NOW),
            ("1700000000000000001", NOW + 1),
            ("1700000000.1239", NOW + 124_000_000),
            ("2023-11-14T22:13:20.000000001Z", NOW + 1),
            ("2023-11-14T23:13:20+01:00", NOW),
            ("-5", -5 * s),
            ("99999999999", 99_999_999_999),
        ] {
            assert_eq!(timestamp(text, 0), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
            ("1e9", "strconv.ParseInt: parsing \"1e9\": invalid syntax"),
            ("99999999999999999999", "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"),
        ] {
            assert_eq!(timestamp(text, 0), Err(why.to_owned()));
        }
    }

    #[test]
    fn what_is_wrong_is_said_as_loki_does() {
        for (query, why) in [
            ("start=x", "could not parse 'start' parameter: strconv.ParseInt: parsing \"x\": invalid syntax"),
            ("since=x", "could not parse 'since' parameter: not a valid duration string: \"x\""),
            ("start=10&end=5", "end timestamp must not be before or equal to start time"),
            ("limit=0", "limit must be a positive value"),
            ("limit=x", "strconv.Atoi: parsing \"x\": invalid syntax"),
            ("limit=5000000000", "limit value 5000000000 is out of range [0, 4294967295]"),
            ("direction=x", "invalid direction 'x'"),
            ("step=x", "cannot parse \"x\" to a valid duration"),
            ("step=0", "zero or negative query resolution step widths are not accepted. Try a positive integer"),
            ("step=NaN", "zero or negative query resolution step widths are not accepted. Try a positive integer"),
            ("step=1e30", "cannot parse \"1e30\" to a valid duration. It overflows int64"),
            (
                "step=0.01",
                "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter (`--query-points-max`)",
            ),
            ("interval=-1", "interval must be >= 0"),
        ] {
            refused(query, why);
        }
    }
}
