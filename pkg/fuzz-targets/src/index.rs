//! Any bytes as a value of a segment's `.redb`, or as an index object. The first byte says which.

use crate::memory::MemoryFile;
use timberlog_index::values;
use timberlog_storage::tier::index_object;

/// See the module.
pub fn index(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else { return };
    match kind % 8 {
        7 => object(rest),
        kind => {
            let Some((key, bytes)) = rest.split_first_chunk() else { return };
            values::read(kind, u64::from_le_bytes(*key), bytes);
        }
    }
}

fn object(bytes: &[u8]) {
    if let Ok(index) = index_object::decode(bytes) {
        assert!(index.ends.head.len() as u64 <= index.ends.len);
        let file: std::sync::Arc<dyn timberlog_disk::File> = MemoryFile::new(&index.ends.tail);
        let _ = timberlog_segment::read_ends(&file);
    }
}
