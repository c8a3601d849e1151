//! Asking token filters while a query is planned: of most blocks that hold no match nothing else is looked at then, and that
//! is nearly all that looking for one record among many blocks costs.
//!
//! Only filters that are in memory are asked so, and no more of them once they let most blocks through: what a limit may
//! spare is left to the executor.

use crate::budget::Budget;
use crate::source::OpenSegment;
use timberlog_filter::Compiled;

/// After so many groups one after the other of which most blocks are left, no more are asked.
const IN_VAIN_MAX: u32 = 4;

/// How the token filters of a query's segments were asked so far.
#[derive(Default)]
pub(super) struct Ahead {
    in_vain: u32,
}

impl Ahead {
    /// Asks none.
    pub fn never() -> Self {
        Self { in_vain: IN_VAIN_MAX }
    }

    /// Which of a group's so many blocks may hold a match, a bit each.
    pub fn left(&mut self, open: &OpenSegment, filter: &Compiled, group: u32, blocks: u32, budget: &Budget) -> u32 {
        if self.in_vain == IN_VAIN_MAX {
            return u32::MAX;
        }
        let Some(left) = open.ask_at_hand(filter, group, budget) else { return u32::MAX };
        // The bits behind the last block of a segment are set.
        let ruled_out = left.count_zeros();
        let is_in_vain = ruled_out * 2 < blocks;
        self.in_vain = if is_in_vain { self.in_vain + 1 } else { 0 };
        left
    }
}
