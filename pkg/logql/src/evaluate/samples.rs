//! What a range aggregation makes of the samples in one window: the sums of floats in Loki's
//! order, so that the last digit is Loki's too.
//!
//! Every function takes the samples of a window in order of time and is only called with at least
//! one.

/// A sample: time in ns and value.
pub(super) type Point = (i64, f64);

const NS_PER_SECOND: i64 = 1_000_000_000;

/// A duration in seconds, rounded as Go rounds it.
pub(super) fn seconds(ns: i64) -> f64 {
    (ns / NS_PER_SECOND) as f64 + (ns % NS_PER_SECOND) as f64 / 1e9
}

pub(super) fn sum(points: &[Point]) -> f64 {
    points.iter().fold(0.0, |sum, (_, value)| sum + value)
}

/// The mean, adjusted sample by sample.
pub(super) fn avg(points: &[Point]) -> f64 {
    let (mut mean, mut count) = (0.0_f64, 0.0_f64);
    for &(_, value) in points {
        count += 1.0;
        if keeps_infinity(mean, value) {
            continue;
        }
        mean += value / count - mean / count;
    }
    mean
}

/// Whether a mean that is infinite stays what it is when `value` is added: it does unless the
/// value is NaN or the opposite infinity.
pub(super) fn keeps_infinity(mean: f64, value: f64) -> bool {
    mean.is_infinite() && !value.is_nan() && (value.is_finite() || (mean > 0.0) == (value > 0.0))
}

/// The largest; NaN only if there is nothing else.
pub(super) fn max(points: &[Point]) -> f64 {
    points.iter().fold(f64::NAN, |best, &(_, value)| if value > best || best.is_nan() { value } else { best })
}

/// The smallest; NaN only if there is nothing else.
pub(super) fn min(points: &[Point]) -> f64 {
    points.iter().fold(f64::NAN, |best, &(_, value)| if value < best || best.is_nan() { value } else { best })
}

/// The population variance, by Welford's method.
pub(super) fn stdvar(points: &[Point]) -> f64 {
    let (mut squares, mut mean, mut count) = (0.0, 0.0, 0.0);
    for &(_, value) in points {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    squares / count
}

/// The quantile of values in ascending order (NaN first), linear between its two neighbours.
pub(super) fn quantile(q: f64, sorted: &[f64]) -> f64 {
    if sorted.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let last = sorted.len() - 1;
    let rank = q * last as f64;
    let lower = (rank.floor() as usize).min(last);
    let upper = (lower + 1).min(last);
    let weight = rank - rank.floor();
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    at(lower) * (1.0 - weight) + at(upper) * weight
}

/// The increase of a counter per second: resets are added up, and the increase is extended to the
/// ends of the window if the outer samples are near them. The method is that of Prometheus, with
/// the ends of the window exact.
pub(super) fn counter_rate(points: &[Point], range_ns: i64, window_end_ns: i64) -> f64 {
    let (Some(&(first_ns, first)), Some(&(last_ns, last))) = (points.first(), points.last()) else { return 0.0 };
    if points.len() < 2 {
        return 0.0;
    }
    let between = |from: i64, to: i64| to.wrapping_sub(from) as f64 / 1e9;
    let mut increase = last - first;
    let mut before = 0.0;
    for &(_, value) in points {
        if value < before {
            increase += before;
        }
        before = value;
    }
    let mut to_start = between(window_end_ns.wrapping_sub(range_ns), first_ns);
    let mut to_end = between(last_ns, window_end_ns);
    let sampled = between(first_ns, last_ns);
    let distance = sampled / (points.len() - 1) as f64;
    let near = distance * 1.1;
    if to_start >= near {
        to_start = distance / 2.0;
    }
    // A counter was not below 0: where its slope says it was 0, there it began.
    let to_zero = if increase > 0.0 && first >= 0.0 { sampled * (first / increase) } else { to_start };
    if to_zero < to_start {
        to_start = to_zero;
    }
    if to_end >= near {
        to_end = distance / 2.0;
    }
    let extended = sampled + to_start + to_end;
    increase *= extended / sampled;
    increase / seconds(range_ns)
}
