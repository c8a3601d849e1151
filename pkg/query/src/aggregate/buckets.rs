//! Steps of time that records are counted by.

/// Steps of time, numbered: each is a stretch without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buckets {
    /// Of this many ns, aligned to 1970-01-01 UTC; more than 0.
    Aligned(i64),
    /// The stretches between the edges of windows.
    Windows(Grid),
}

/// Overlapping or separate windows `(end - range, end]`, `end` being `first_end + n * step`, cut at
/// every edge into stretches: two of them a step, or one if the step divides the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// The first instant that belongs to no window, just before the first one, in ns.
    base: i64,
    /// ns, more than 0.
    step: i64,
    /// `range mod step`: where a step is cut.
    cut: i64,
    /// `range / step`.
    steps_in_range: i64,
}

impl Buckets {
    /// The number of the bucket that a time belongs to.
    pub fn number(self, time: i64) -> i64 {
        match self {
            Self::Aligned(step) => time.div_euclid(step),
            Self::Windows(grid) => grid.number(time),
        }
    }

    /// The first and the last ns of a bucket.
    pub fn span(self, number: i64) -> (i64, i64) {
        match self {
            Self::Aligned(step) => {
                let end = number.saturating_add(1).checked_mul(step).map_or(i64::MAX, |next| next - 1);
                (number.saturating_mul(step), end)
            }
            Self::Windows(grid) => grid.span(number),
        }
    }

    /// What stands for a bucket in an answer: where it begins, or for windows its number.
    pub fn name(self, number: i64) -> i64 {
        match self {
            Self::Aligned(step) => number.saturating_mul(step),
            Self::Windows(_) => number,
        }
    }
}

impl Grid {
    /// The grid of windows of `range_ns`, the first of which ends at (and includes) `first_end_ns`.
    /// With one window the step is of no account.
    pub fn new(first_end_ns: i64, step_ns: i64, range_ns: i64, count: usize) -> Self {
        let range = range_ns.max(1);
        let step = if count <= 1 || step_ns <= 0 { range } else { step_ns };
        Self { base: first_end_ns.saturating_sub(range), step, cut: range % step, steps_in_range: range / step }
    }

    fn number(self, time: i64) -> i64 {
        let after = i128::from(time) - i128::from(self.base) - 1;
        let (step, cut) = (i128::from(self.step), i128::from(self.cut));
        let number = after.div_euclid(step);
        let number = if cut == 0 { number } else { 2 * number + i128::from(after.rem_euclid(step) >= cut) };
        clamp(number)
    }

    fn span(self, number: i64) -> (i64, i64) {
        let (step, cut) = (i128::from(self.step), i128::from(self.cut));
        let edge = |number: i128| {
            let after = if cut == 0 { number * step } else { number.div_euclid(2) * step + number.rem_euclid(2) * cut };
            i128::from(self.base) + 1 + after
        };
        let number = i128::from(number);
        (clamp(edge(number)), clamp(edge(number + 1) - 1))
    }

    /// The first and the last bucket of a window.
    pub fn of_window(self, index: usize) -> (i64, i64) {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        if self.cut == 0 {
            (index, index.saturating_add(self.steps_in_range) - 1)
        } else {
            (index.saturating_mul(2), index.saturating_add(self.steps_in_range).saturating_mul(2))
        }
    }
}

fn clamp(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_in_a_window_if_its_bucket_is(
            first in -50_i64..50, step in 1_i64..12, range in 1_i64..30, count in 1_usize..8, time in -120_i64..200,
        ) {
            let grid = Grid::new(first, step, range, count);
            let buckets = Buckets::Windows(grid);
            let number = buckets.number(time);
            let (start, end) = buckets.span(number);
            prop_assert!(start <= time && time <= end);
            prop_assert_eq!((buckets.number(start), buckets.number(end)), (number, number));
            for index in 0..count {
                let window_end = first + index as i64 * step;
                let (low, high) = grid.of_window(index);
                prop_assert_eq!(
                    low <= number && number <= high,
                    window_end - range < time && time <= window_end,
                    "window {}", index
                );
            }
        }
    }
}
