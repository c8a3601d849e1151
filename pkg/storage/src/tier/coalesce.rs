//! Which requests bring a list of places: neighbours come together.

use std::ops::Range;

/// Bytes between two places that are read for nothing rather than with another request: at usual rates and delays of
/// an object store that is no slower.
const GAP_BYTES: u64 = 64 << 10;
/// The same within one block, whose other columns are likely to be needed soon.
const GAP_IN_BLOCK: u64 = 512 << 10;
/// What one request brings at most, unless one place is longer.
const REQUEST_BYTES_MAX: u64 = 8 << 20;
/// A needle takes no more requests than this where they can be joined: each costs as much as the bytes of a block.
const NEEDLE_REQUESTS: usize = 3;
/// Up to so many requests are those of a needle.
const NEEDLE_REQUESTS_MAX: usize = 8;
/// Bytes that are read for nothing to join two of them.
const NEEDLE_GAP_BYTES: u64 = 256 << 10;

/// Something to read: where it is, and in which block if it is of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) range: Range<u64>,
    pub(crate) block: Option<u32>,
}

/// The requests that bring all of it, ascending.
pub(crate) fn coalesce(mut wants: Vec<Want>) -> Vec<Range<u64>> {
    wants.sort_unstable_by_key(|want| (want.range.start, want.range.end));
    let mut requests: Vec<Range<u64>> = Vec::new();
    let mut last_block = None;
    for Want { range, block } in wants {
        let gap_max = if block.is_some() && block == last_block { GAP_IN_BLOCK } else { GAP_BYTES };
        last_block = block;
        match requests.last_mut() {
            Some(last)
                if range.start.saturating_sub(last.end) <= gap_max
                    && range.end.max(last.end) - last.start <= REQUEST_BYTES_MAX =>
            {
                last.end = last.end.max(range.end);
            }
            _ => requests.push(range),
        }
    }
    if requests.len() <= NEEDLE_REQUESTS_MAX {
        join(&mut requests);
    }
    requests
}

/// Joins those of a few requests that have the least between them.
fn join(requests: &mut Vec<Range<u64>>) {
    while requests.len() > NEEDLE_REQUESTS {
        let gaps = requests.windows(2).enumerate().filter_map(|(at, pair)| match pair {
            [a, b] if b.end - a.start <= REQUEST_BYTES_MAX => Some((b.start.saturating_sub(a.end), at)),
            _ => None,
        });
        let Some((_, at)) = gaps.min().filter(|(gap, _)| *gap <= NEEDLE_GAP_BYTES) else { return };
        let next = requests.remove(at + 1);
        if let Some(request) = requests.get_mut(at) {
            request.end = request.end.max(next.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(wants: &[(u64, u64, Option<u32>)]) -> Vec<(u64, u64)> {
        let wants = wants.iter().map(|&(start, end, block)| Want { range: start..end, block }).collect();
        coalesce(wants).into_iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn neighbours_come_together_and_what_is_far_does_not() {
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[(100, 200, None), (0, 50, None), (200, 300, None)]), [(0, 300)]);
        assert_eq!(
            of(&[(0, 10, None), (GAP_BYTES + 11, GAP_BYTES + 12, None)]),
            [(0, 10), (GAP_BYTES + 11, GAP_BYTES + 12)]
        );
        let (near, far) = (GAP_BYTES + 11, GAP_IN_BLOCK + 11);
        assert_eq!(of(&[(0, 10, Some(1)), (near, near + 1, Some(1))]), [(0, near + 1)]);
        assert_eq!(of(&[(0, 10, Some(1)), (near, near + 1, Some(2))]).len(), 2);
        assert_eq!(of(&[(0, 10, Some(1)), (far, far + 1, Some(1))]).len(), 2);
    }

    #[test]
    fn a_few_requests_are_joined_to_three() {
        let block = |at: u64| (at * GAP_IN_BLOCK / 4, at * GAP_IN_BLOCK / 4 + 100_000, Some(at as u32));
        // Between blocks 1 and 3 stands one other, between the others more.
        let joined = of(&[block(1), block(3), block(8), block(12)]);
        assert_eq!(joined, [(block(1).0, block(3).1), (block(8).0, block(8).1), (block(12).0, block(12).1)]);
        assert_eq!(of(&[block(1), block(8), block(15), block(22)]).len(), 4, "far from each other");
        // All are near enough: the nearest are joined, and no more than must be.
        let kib = |from: u64, to: u64| (from << 10, to << 10, None);
        let joined = of(&[kib(0, 10), kib(210, 220), kib(320, 330), kib(480, 490)]);
        assert_eq!(joined, [(0, 10 << 10), (210 << 10, 330 << 10), (480 << 10, 490 << 10)]);
        let many: Vec<_> = (0..9).map(|n| block(2 * n)).collect();
        assert_eq!(of(&many).len(), 9, "no needle");
    }

    #[test]
    fn a_request_is_bounded_but_for_one_long_place() {
        let each = REQUEST_BYTES_MAX / 2;
        assert_eq!(
            of(&[(0, each, None), (each, 2 * each, None), (2 * each, 3 * each, None)]),
            [(0, 2 * each), (2 * each, 3 * each)]
        );
        assert_eq!(of(&[(0, 9 * each, None)]), [(0, 9 * each)]);
        assert_eq!(of(&[(0, 100, None), (10, 20, None)]), [(0, 100)], "one inside of another");
    }
}
