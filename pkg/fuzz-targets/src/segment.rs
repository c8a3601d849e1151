//! Any bytes as a segment's `.log`: header, directory, footer, trailer, blocks, token filters. In fuzz
//! builds checksums pass.

use crate::batch;
use crate::columns;
use crate::memory::MemoryFile;
use std::sync::Arc;
use timberlog_disk::File;
use timberlog_filter::{Compiled, Filter, SegmentFacts};
use timberlog_index::{TokenFilter, TokenFilterGroup, Tokens};
use timberlog_segment::{BlockMeta, ColumnKey, FilterGroup, SegmentReader, read_ends};
use timberlog_types::TimeRange;

const BLOCKS_MAX: usize = 4;
const COLUMNS_MAX: usize = 12;
/// Blocks with more rows are decoded and not walked over: that takes time, and finds nothing.
const ROWS_MAX: u32 = 1 << 14;

/// See the module.
pub fn segment(input: &[u8]) {
    let file: Arc<dyn File> = MemoryFile::new(input);
    let _ = read_ends(&file);
    let Ok(reader) = SegmentReader::open_with_tail(file, 64) else { return };
    let directory = reader.directory();
    let _ = (directory.rows(), directory.raw_bytes(), directory.range(), directory.memory_bytes());
    let _ = (reader.memory_bytes(), directory.field("a"));
    for stream in directory.streams.iter().take(64) {
        let _ = (stream.service().len(), stream.labels().count());
    }
    if let Ok(filter) = Compiled::new(&Filter::eq("a", "b").and(Filter::contains("x"))) {
        let _ = SegmentFacts::new(&filter, directory);
    }
    // The last one is in another group of token filters, if there are many.
    let (first, rest) = directory.blocks.split_at(directory.blocks.len().min(BLOCKS_MAX));
    for block in first.iter().chain(rest.last()) {
        let _ = block.range.overlaps(TimeRange { start: 0, end: 1 });
        for column in block.columns.iter().take(COLUMNS_MAX) {
            if let Ok(read) = reader.column(block.number, column.key)
                && block.rows <= ROWS_MAX
            {
                columns::read(&read, block.rows as usize);
            }
            let filter = reader.filter(block.number, column.key).ok().flatten();
            if let Some(filter) = filter.as_deref().and_then(|filter| TokenFilter::open(filter).ok()) {
                let _ = filter.contains(7);
            }
            in_group(&reader, block.number, column.key, filter.as_deref());
        }
        if is_small(block)
            && let Ok(read) = reader.read_block_as_batch(block.number)
        {
            batch::read(&read);
        }
    }
    if directory.blocks.len() <= BLOCKS_MAX && directory.blocks.iter().all(is_small) {
        reader.verify(&mut |_| {});
    }
}

/// What is read and asked with the token filters of neighbours is what is read and asked alone, damage included.
pub fn in_group(reader: &SegmentReader, block: u32, key: ColumnKey, alone: Option<&[u8]>) {
    let Ok(Some(group)) = reader.filter_group(FilterGroup::of_block(block), key) else { return };
    assert_eq!(group.get(block), alone.filter(|filter| !filter.is_empty()));
    let _ = group.get(u32::MAX);
    let (bytes, places) = group.into_parts();
    let group = TokenFilterGroup::open(bytes, &places);
    let _ = (group.memory_bytes(), group.len(), group.is_empty());
    let alone = alone.and_then(|filter| TokenFilter::open(filter).ok());
    for token in [7, u64::from(block), u64::MAX] {
        let said = alone.as_ref().map(|filter| filter.contains(token));
        assert_eq!(group.ask(&Tokens::Token(token)).may_match(block), said);
    }
}

fn is_small(block: &BlockMeta) -> bool {
    block.columns.len() <= COLUMNS_MAX && block.rows <= ROWS_MAX
}
