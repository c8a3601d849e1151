//! The samples of a series seen through a window that moves ahead step by step.
//!
//! Counts, sums of whole numbers, extremes and quantiles carry over from one window to the next;
//! what depends on the order of float additions is computed anew for each window.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;

use super::samples::{self, Point};
use super::{LeafSeries, Samples, Windows};
use crate::ast::RangeOp;

/// Whole numbers up to this are exact as floats.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// From how many windows over one sample on it pays to keep the candidates for an extreme.
const OVERLAP_MIN: i64 = 4;

/// What is computed for each window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Measure {
    /// Samples.
    Count,
    /// The sum of values.
    Sum,
    /// Samples per second.
    CountRate(f64),
    /// The sum of values per second.
    SumRate(f64),
    /// The quantile.
    Quantile(f64),
    /// 1 for a window that has samples.
    One,
    /// Any other operation, as it is called.
    Of(RangeOp),
}

impl Measure {
    /// What an operation computes; `None` if its parameter is missing.
    pub(super) fn new(op: RangeOp, parameter: Option<f64>, unwraps: bool, range_ns: i64) -> Option<Self> {
        let seconds = samples::seconds(range_ns);
        Some(match op {
            RangeOp::CountOverTime => Self::Count,
            RangeOp::Rate if !unwraps => Self::CountRate(seconds),
            RangeOp::Rate | RangeOp::BytesRate => Self::SumRate(seconds),
            RangeOp::BytesOverTime | RangeOp::SumOverTime => Self::Sum,
            RangeOp::QuantileOverTime => Self::Quantile(parameter?),
            RangeOp::AbsentOverTime => Self::One,
            RangeOp::AvgOverTime
            | RangeOp::MinOverTime
            | RangeOp::MaxOverTime
            | RangeOp::FirstOverTime
            | RangeOp::LastOverTime
            | RangeOp::StddevOverTime
            | RangeOp::StdvarOverTime
            | RangeOp::RateCounter => Self::Of(op),
        })
    }
}

/// What is carried over from window to window.
enum Carried {
    Nothing,
    /// The sum, of whole numbers whose sums are all exact.
    Sum(i64),
    /// Samples that are the extreme of the window, or will be when those before them have left:
    /// their positions, in order.
    Extremes(VecDeque<usize>),
    /// The values in ascending order, and room to merge.
    Sorted(Vec<f64>, Vec<f64>),
}

/// The samples of one series of a leaf and the window that moves over them.
pub(super) struct WindowOver {
    leaf: Rc<Vec<LeafSeries>>,
    series: usize,
    measure: Measure,
    range_ns: i64,
    from: usize,
    to: usize,
    carried: Carried,
}

impl WindowOver {
    /// The window before the first, over series number `series` of a leaf.
    pub(super) fn new(leaf: &Rc<Vec<LeafSeries>>, series: usize, measure: Measure, windows: &Windows) -> Self {
        let mut over = Self {
            leaf: Rc::clone(leaf),
            series,
            measure,
            range_ns: windows.range_ns,
            from: 0,
            to: 0,
            carried: Carried::Nothing,
        };
        let overlaps = windows.count > 1 && windows.step_ns > 0 && windows.range_ns / windows.step_ns >= OVERLAP_MIN;
        over.carried = match measure {
            Measure::Sum | Measure::SumRate(_) if sums_are_exact(over.points()) => Carried::Sum(0),
            Measure::Of(RangeOp::MinOverTime | RangeOp::MaxOverTime) if overlaps => Carried::Extremes(VecDeque::new()),
            Measure::Quantile(_) => Carried::Sorted(Vec::new(), Vec::new()),
            _ => Carried::Nothing,
        };
        over
    }

    /// How many samples there are.
    pub(super) fn len(&self) -> usize {
        self.points().len()
    }

    /// What it keeps besides the samples at most.
    pub(super) fn extra_bytes(&self) -> usize {
        match self.carried {
            Carried::Sorted(..) => self.points().len() * size_of::<f64>() * 2,
            Carried::Extremes(_) => self.points().len() * size_of::<usize>(),
            Carried::Nothing | Carried::Sum(_) => 0,
        }
    }

    /// The value of window number `index`, which ends at `end_ns`, `None` if it has no sample, and
    /// how many samples were looked at. Windows are asked for in ascending order.
    pub(super) fn value(&mut self, index: usize, end_ns: i64) -> (Option<f64>, usize) {
        if let Some(LeafSeries { samples: Samples::Totals(totals), .. }) = self.leaf.get(self.series) {
            return (totals.get(index).copied().flatten().map(|total| self.of_total(total)), 1);
        }
        let before = (self.from, self.to);
        self.move_to(end_ns);
        self.carry(before);
        let Some(window) = self.points().get(self.from..self.to).filter(|window| !window.is_empty()) else {
            return (None, 1);
        };
        let moved = self.to - before.1;
        match (&self.carried, self.measure) {
            (_, Measure::Count) => (Some(window.len() as f64), moved),
            (_, Measure::CountRate(seconds)) => (Some(window.len() as f64 / seconds), moved),
            (Carried::Sum(sum), Measure::SumRate(seconds)) => (Some(*sum as f64 / seconds), moved),
            (Carried::Sum(sum), _) => (Some(*sum as f64), moved),
            (Carried::Extremes(candidates), _) => {
                let best = candidates.front().and_then(|&at| self.points().get(at));
                (Some(best.map_or(f64::NAN, |&(_, value)| value)), moved)
            }
            (Carried::Sorted(sorted, _), Measure::Quantile(q)) => (Some(samples::quantile(q, sorted)), sorted.len()),
            _ => (Some(self.compute(window, end_ns)), window.len()),
        }
    }

    fn points(&self) -> &[Point] {
        match self.leaf.get(self.series).map(|series| &series.samples) {
            Some(Samples::Points(points)) => points,
            _ => &[],
        }
    }

    fn of_total(&self, total: f64) -> f64 {
        match self.measure {
            Measure::CountRate(seconds) | Measure::SumRate(seconds) => total / seconds,
            Measure::One => 1.0,
            _ => total,
        }
    }

    fn move_to(&mut self, end_ns: i64) {
        // The range of a window was checked to fit before the first.
        let start_ns = end_ns.saturating_sub(self.range_ns);
        let (mut from, mut to) = (self.from, self.to);
        let points = self.points();
        while points.get(to).is_some_and(|&(at, _)| at <= end_ns) {
            to += 1;
        }
        while from < to && points.get(from).is_some_and(|&(at, _)| at <= start_ns) {
            from += 1;
        }
        (self.from, self.to) = (from, to);
    }

    /// Brings what is carried from the window `before` to the present one.
    fn carry(&mut self, before: (usize, usize)) {
        let mut carried = mem::replace(&mut self.carried, Carried::Nothing);
        let points = self.points();
        // Samples between two windows were never in one.
        let left = points.get(before.0..self.from.min(before.1)).unwrap_or_default();
        let entered_at = before.1.max(self.from);
        let entered = points.get(entered_at..self.to).unwrap_or_default();
        match &mut carried {
            Carried::Nothing => {}
            Carried::Sum(sum) => {
                let total = |points: &[Point]| points.iter().map(|&(_, value)| value as i64).sum::<i64>();
                *sum += total(entered) - total(left);
            }
            Carried::Extremes(candidates) => {
                while candidates.front().is_some_and(|&at| at < self.from) {
                    candidates.pop_front();
                }
                let wins = if self.measure == Measure::Of(RangeOp::MaxOverTime) { f64::gt } else { f64::lt };
                for (index, (_, value)) in entered.iter().enumerate().filter(|(_, (_, value))| !value.is_nan()) {
                    while candidates.back().and_then(|&at| points.get(at)).is_some_and(|(_, old)| wins(value, old)) {
                        candidates.pop_back();
                    }
                    candidates.push_back(entered_at + index);
                }
            }
            Carried::Sorted(sorted, room) => {
                merge(sorted, left, entered, room);
                mem::swap(sorted, room);
            }
        }
        self.carried = carried;
    }

    fn compute(&self, window: &[Point], end_ns: i64) -> f64 {
        match self.measure {
            Measure::Sum => samples::sum(window),
            Measure::SumRate(seconds) => samples::sum(window) / seconds,
            Measure::Of(RangeOp::AvgOverTime) => samples::avg(window),
            Measure::Of(RangeOp::MinOverTime) => samples::min(window),
            Measure::Of(RangeOp::MaxOverTime) => samples::max(window),
            Measure::Of(RangeOp::FirstOverTime) => window.first().map_or(f64::NAN, |&(_, value)| value),
            Measure::Of(RangeOp::LastOverTime) => window.last().map_or(f64::NAN, |&(_, value)| value),
            Measure::Of(RangeOp::StdvarOverTime) => samples::stdvar(window),
            Measure::Of(RangeOp::StddevOverTime) => samples::stdvar(window).sqrt(),
            Measure::Of(RangeOp::RateCounter) => samples::counter_rate(window, self.range_ns, end_ns),
            Measure::One | Measure::Count | Measure::CountRate(_) | Measure::Quantile(_) | Measure::Of(_) => 1.0,
        }
    }
}

/// Whether every sum of some of these values is a whole number that a float holds exactly.
fn sums_are_exact(points: &[Point]) -> bool {
    let mut total = 0.0;
    points.iter().all(|&(_, value)| {
        total += value.abs();
        value.trunc() == value && total <= EXACT_MAX
    })
}

/// NaN comes first, as in Loki's order of values.
fn by_value(left: &f64, right: &f64) -> Ordering {
    match (left.is_nan(), right.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => left.total_cmp(right),
    }
}

/// `merged` = `sorted` without the values of `left` and with those of `entered`, in order.
fn merge(sorted: &[f64], left: &[Point], entered: &[Point], merged: &mut Vec<f64>) {
    let in_order = |points: &[Point]| {
        let mut values: Vec<f64> = points.iter().map(|&(_, value)| value).collect();
        values.sort_unstable_by(by_value);
        values
    };
    let (left, entered) = (in_order(left), in_order(entered));
    let (mut left, mut entered) = (left.iter().peekable(), entered.iter().peekable());
    merged.clear();
    for value in sorted {
        if left.next_if(|gone| by_value(gone, value).is_eq()).is_some() {
            continue;
        }
        while let Some(new) = entered.next_if(|new| by_value(new, value).is_lt()) {
            merged.push(*new);
        }
        merged.push(*value);
    }
    merged.extend(entered);
}
