//! Any bytes as a value of a segment's `.redb`, or as an index object. The first byte says which.

use crate::memory::MemoryFile;
use timberlog_index::values;
use timberlog_storage::tier::index_object;

/// See the module.
pub fn index(input: &[u8]) {
    read(input);
}

/// The kind that an input says, and whether it is one.
pub(crate) fn read(input: &[u8]) -> Option<(u8, bool)> {
    let (&kind, rest) = input.split_first()?;
    let is_one = match kind % 8 {
        7 => object(rest),
        kind => {
            let (key, bytes) = rest.split_first_chunk()?;
            values::read(kind, u64::from_le_bytes(*key), bytes)
        }
    };
    Some((kind % 8, is_one))
}

fn object(bytes: &[u8]) -> bool {
    let Ok(index) = index_object::decode(bytes) else { return false };
    assert!(index.ends.head.len() as u64 <= index.ends.len);
    let file: std::sync::Arc<dyn timberlog_disk::File> = MemoryFile::new(&index.ends.tail);
    let _ = timberlog_segment::read_ends(&file);
    true
}
