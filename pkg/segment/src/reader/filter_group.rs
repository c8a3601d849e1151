//! The token filters of one column of neighbouring blocks, read at once: who looks for one value asks all of them.
//!
//! Each is under a checksum of its own. One that is wrong is left out, and costs its neighbours nothing.

use super::{FILTER_HEADER, SegmentReader};
use crate::directory::{ColumnKey, FilterPlace};
use crate::error::SegmentError;
use crate::layout;
use std::ops::Range;

/// Longer filters are read one by one: a block that is asked for alone would cost much more than its own.
const BYTES_MAX: u64 = 256 << 10;
/// What is read at once to get them, with what stands between them.
const SPAN_MAX: u64 = 1 << 20;

/// The token filters of one column of a group of blocks.
pub struct FilterGroup {
    first: u32,
    bytes: Vec<u8>,
    /// Where the filter of each block is in the bytes; empty if there is none that is right.
    places: Vec<Range<u32>>,
}

impl FilterGroup {
    /// The blocks of a segment are grouped by so many.
    pub const BLOCKS: u32 = 32;

    /// The number of the group that a block is in.
    pub fn of_block(block: u32) -> u32 {
        block / Self::BLOCKS
    }

    /// The token filter of a block, as it was given to the writer; `None` if it has none, or a damaged one.
    pub fn get(&self, block: u32) -> Option<&[u8]> {
        let place = self.places.get(block.checked_sub(self.first)? as usize)?;
        self.bytes.get(place.start as usize..place.end as usize).filter(|filter| !filter.is_empty())
    }

    /// The bytes of the filters, and where that of each block is in them: an empty range if it has none that is right.
    pub fn into_parts(self) -> (Vec<u8>, Vec<Range<u32>>) {
        (self.bytes, self.places)
    }
}

impl SegmentReader {
    /// Reads the token filters of a column of a group of blocks; `None` if they are to be read one by one, since they are
    /// long or far from each other.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn filter_group(&self, group: u32, key: ColumnKey) -> Result<Option<FilterGroup>, SegmentError> {
        let first = group.saturating_mul(FilterGroup::BLOCKS);
        let blocks = self.directory.blocks.iter().skip(first as usize).take(FilterGroup::BLOCKS as usize);
        let of_blocks: Vec<_> = blocks.map(|block| block.column(key).and_then(|column| column.filter)).collect();
        let Some(span) = span(of_blocks.iter().flatten()) else { return Ok(None) };
        // At most `SPAN_MAX`.
        let read = self.read(span.start, (span.end - span.start) as usize).map_err(|error| self.place(error, key))?;
        let content = |block: u32, place: FilterPlace| {
            let start = usize::try_from(place.offset.checked_sub(span.start)?).ok()?;
            let unit = read.get(start..start.checked_add(place.len as usize)?)?;
            layout::check_filter(block, key, unit).ok()?;
            unit.get(FILTER_HEADER..)
        };
        let (mut bytes, mut places) = (Vec::new(), Vec::with_capacity(of_blocks.len()));
        for (block, place) in (first..).zip(of_blocks) {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(place.and_then(|place| content(block, place)).unwrap_or_default());
            places.push(start..bytes.len() as u32);
        }
        bytes.shrink_to_fit();
        Ok(Some(FilterGroup { first, bytes, places }))
    }
}

/// What some filters span, if they are worth reading at once.
fn span<'a>(places: impl Iterator<Item = &'a FilterPlace>) -> Option<Range<u64>> {
    let (mut start, mut end, mut bytes) = (u64::MAX, 0, 0);
    for place in places {
        start = start.min(place.offset);
        end = end.max(place.offset.saturating_add(u64::from(place.len)));
        bytes += u64::from(place.len);
    }
    (start < end && bytes <= BYTES_MAX && end - start <= SPAN_MAX).then_some(start..end)
}
