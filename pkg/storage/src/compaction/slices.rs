//! The time slices of a merged segment: which hours stand together.
//!
//! As in a flush a slice is at least a block, and one hour where there is enough text. But an input
//! whose own slice is wider must be read once for each slice that it has rows of, and all groups of
//! a slice are open at one time; so a boundary also has a price, and a slice has a limit.

use super::inputs::{Group, Inputs};
use crate::order::HOURS;
use std::ops::Range;

/// How often the bytes of the inputs may be read again for boundaries that they do not have.
const READ_AGAIN_MAX: u64 = 1;
/// Groups of one slice that are open at one time, as a multiple of the inputs; within one hour each
/// input has one at most.
const RUNS_PER_INPUT_MAX: usize = 2;

/// Cuts the day into slices of whole hours.
pub(super) fn slices(inputs: &Inputs, block_bytes: usize) -> Vec<Range<usize>> {
    let groups: Vec<&Group> = inputs.inputs.iter().flat_map(|input| &input.groups).collect();
    cut(&groups, inputs.inputs.len(), &inputs.hour_bytes, block_bytes)
}

fn cut(groups: &[&Group], inputs: usize, hour_bytes: &[usize; HOURS], block_bytes: usize) -> Vec<Range<usize>> {
    let mut slices = Vec::new();
    let total: u64 = groups.iter().map(|group| group.raw_bytes).sum();
    let mut read_again_left = total.saturating_mul(READ_AGAIN_MAX);
    let (mut start, mut bytes) = (0, 0_usize);
    let mut left: usize = hour_bytes.iter().fold(0, |sum, &bytes| sum.saturating_add(bytes));
    for (hour, &of_hour) in hour_bytes.iter().enumerate().take(HOURS - 1) {
        bytes = bytes.saturating_add(of_hour);
        left = left.saturating_sub(of_hour);
        let cut_through = groups.iter().filter(|group| group.hours.start <= hour && hour + 1 < group.hours.end);
        let read_again: u64 = cut_through.map(|group| group.raw_bytes).sum();
        let is_worth_it = bytes >= block_bytes && left >= block_bytes && read_again <= read_again_left;
        let next = start..hour + 2;
        let runs = groups.iter().filter(|group| overlap(&group.hours, &next)).count();
        if is_worth_it || runs > inputs * RUNS_PER_INPUT_MAX {
            read_again_left = read_again_left.saturating_sub(read_again);
            slices.push(start..hour + 1);
            (start, bytes) = (hour + 1, 0);
        }
    }
    slices.push(start..HOURS);
    slices
}

/// Whether two ranges of hours share one.
pub(super) fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(hours: Range<usize>, raw_bytes: u64) -> Group {
        Group { blocks: 0..1, hours, raw_bytes }
    }

    fn hour_bytes(of: &[(usize, usize)]) -> [usize; HOURS] {
        let mut bytes = [0; HOURS];
        of.iter().for_each(|&(hour, more)| bytes[hour] += more);
        bytes
    }

    #[test]
    fn boundaries_that_all_inputs_have_are_kept() {
        let groups = [group(3..4, 1000), group(4..5, 1000), group(3..4, 700), group(4..6, 900)];
        let bytes = hour_bytes(&[(3, 1700), (4, 1500), (5, 400)]);
        let groups: Vec<&Group> = groups.iter().collect();
        assert_eq!(cut(&groups, 2, &bytes, 300), [0..4, 4..5, 5..24]);
        assert_eq!(cut(&groups, 2, &bytes, 1000), [0..4, 4..24], "hour 5 is less than a block");
    }

    /// Inputs without any boundary are read no more than twice.
    #[test]
    fn boundaries_have_a_price() {
        let groups: Vec<Group> = (0..8).map(|_| group(0..24, 24_000)).collect();
        let groups: Vec<&Group> = groups.iter().collect();
        let bytes = hour_bytes(&(0..24).map(|hour| (hour, 8_000)).collect::<Vec<_>>());
        assert_eq!(cut(&groups, 8, &bytes, 1_000), [0..1, 1..24]);
    }

    #[test]
    fn a_slice_has_no_more_runs_than_its_limit() {
        let mut groups: Vec<Group> = (0..24).map(|hour| group(hour..hour + 1, 10)).collect();
        groups.push(group(0..24, 1_000_000));
        let groups: Vec<&Group> = groups.iter().collect();
        let slices = cut(&groups, 2, &hour_bytes(&[(23, 1_000_000)]), 1_000);
        for slice in &slices {
            assert!(groups.iter().filter(|group| overlap(&group.hours, slice)).count() <= 4, "{slices:?}");
        }
        assert_eq!(slices.iter().map(ExactSizeIterator::len).sum::<usize>(), HOURS);
    }
}
