//! The token filters of one column of neighbouring blocks, opened once and asked together: a question goes through all of
//! them in one pass, in which what the processor waits for of one filter overlaps with the others.

use super::{Header, TokenFilter};
use crate::literals::Tokens;
use std::ops::Range;
use timberlog_segment::FilterGroup;

/// The token filters of one column of a group of blocks.
pub struct TokenFilterGroup {
    bytes: Vec<u8>,
    /// By block of the group: its filter; `None` if there is none, or none that opens.
    filters: Vec<Option<Opened>>,
}

#[derive(Clone, Copy)]
struct Opened {
    header: Header,
    /// Where its hashes or fingerprints are in the bytes.
    start: u32,
    end: u32,
}

/// What the token filters of a group say, a bit for each block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupAnswer {
    /// Blocks whose filter was asked.
    asked: u32,
    /// Those of them that may hold what was asked for.
    may_match: u32,
}

impl GroupAnswer {
    /// What it says of a block of the group; `None` if the block's filter was not asked. `false` is certain.
    pub fn may_match(self, block: u32) -> Option<bool> {
        let bit = 1 << (block % FilterGroup::BLOCKS);
        (self.asked & bit != 0).then_some(self.may_match & bit != 0)
    }

    /// The blocks of the group that are not ruled out, a bit each.
    pub fn left(self) -> u32 {
        self.may_match | !self.asked
    }
}

impl TokenFilterGroup {
    /// Opens the filters of a group, given where that of each block is in the bytes; an empty place is that of none. One
    /// that is malformed is left out: who asks for it alone is told what is wrong.
    pub fn open(bytes: Vec<u8>, places: &[Range<u32>]) -> Self {
        let opened = |place: &Range<u32>| {
            let filter = TokenFilter::open(bytes.get(place.start as usize..place.end as usize)?).ok()?;
            // The content ends where the filter does.
            let start = place.end.checked_sub(u32::try_from(filter.content.len()).ok()?)?;
            Some(Opened { header: filter.header, start, end: place.end })
        };
        let filters = places.iter().map(opened).collect();
        Self { bytes, filters }
    }

    /// Asks the filters of all blocks for some tokens.
    pub fn ask(&self, tokens: &Tokens) -> GroupAnswer {
        let mut asked = 0;
        for (bit, filter) in (0..FilterGroup::BLOCKS).zip(&self.filters) {
            asked |= u32::from(filter.is_some()) << bit;
        }
        GroupAnswer { asked, may_match: asked & tokens.may_match_of(&mut |hash| self.may_contain(hash)) }
    }

    /// The bytes of all filters.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no block has a filter.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of memory held, about.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity() + self.filters.capacity() * size_of::<Option<Opened>>()
    }

    /// The blocks whose filter may hold a hash, a bit each.
    fn may_contain(&self, hash: u64) -> u32 {
        let mut found = 0;
        for (bit, opened) in (0..FilterGroup::BLOCKS).zip(&self.filters) {
            let Some(opened) = opened else { continue };
            let content = self.bytes.get(opened.start as usize..opened.end as usize).unwrap_or_default();
            let filter = TokenFilter { header: opened.header, content };
            found |= u32::from(filter.contains(hash)) << bit;
        }
        found
    }
}
