//! The decoders of the values in a segment's `.redb`, each reached by itself: for the fuzz targets,
//! and nothing else may use it. Whoever wants an answer asks [`crate::SegmentIndex`].

use crate::tables::{self, Header};
use crate::{block_entry, postings, user_index};
use roaring::RoaringBitmap;

/// Blocks that there are.
const BLOCKS: u32 = 1 << 20;

/// Reads bytes as a value of a kind (0 header, 1 names, 2 level spellings, 3 block, 4 postings, else a run of
/// a user-defined index under `key`): refused or read. Whether it is one.
///
/// # Panics
/// If what was read is not what its own encoding reads as.
pub fn read(kind: u8, key: u64, bytes: &[u8]) -> bool {
    match kind {
        0 => {
            let Some(header) = Header::decode(bytes) else { return false };
            assert_eq!(Header::decode(&header.encode()), Some(header));
        }
        1 => {
            let Some(names) = tables::decode_names(bytes) else { return false };
            let again = tables::encode_names(names.iter().map(String::as_str));
            assert_eq!(tables::decode_names(&again), Some(names));
        }
        2 => {
            let Some(levels) = tables::decode_levels(bytes) else { return false };
            assert_eq!(tables::decode_levels(&tables::encode_levels(&levels)), Some(levels));
        }
        3 => return block_entry::decode(7, bytes).is_some(),
        4 => {
            let (mut blocks, mut again) = (RoaringBitmap::new(), RoaringBitmap::new());
            if postings::decode(bytes, BLOCKS, &mut blocks).is_none() {
                return false;
            }
            assert_eq!(postings::decode(&postings::encode(blocks.clone()), BLOCKS, &mut again), Some(()));
            assert_eq!(again, blocks);
        }
        _ => return read_run(key, bytes),
    }
    true
}

fn read_run(key: u64, bytes: &[u8]) -> bool {
    for hash in [key, key.wrapping_add(1), key.wrapping_add(0x1234_5678), u64::MAX, 0] {
        let _ = user_index::look_up(key, bytes, hash, BLOCKS, &mut RoaringBitmap::new());
    }
    let mut entries = Vec::new();
    let walked = user_index::walk(key, bytes, BLOCKS, &mut |hash, block| entries.push((hash, block)));
    // What is out of order within a hash is found out by who walks over the whole table.
    if walked.is_none() || !entries.is_sorted_by(|a, b| a < b) {
        return false;
    }
    let mut values = Vec::new();
    let Ok(()) = user_index::encode::<std::convert::Infallible>(&entries, |key, value| {
        values.push((key, value.to_vec()));
        Ok(())
    });
    for &(hash, block) in entries.iter().take(64) {
        let Some((key, value)) = values.iter().rev().find(|(key, _)| *key <= hash) else { panic!("no run") };
        let mut found = RoaringBitmap::new();
        assert_eq!(user_index::look_up(*key, value, hash, BLOCKS, &mut found), Some(()));
        assert!(found.contains(block));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn values_of_every_kind_are_read() {
        for kind in 0..6 {
            for len in 0..40 {
                read(kind, 7, &(0..len).collect::<Vec<u8>>());
                read(kind, u64::MAX, &vec![0; usize::from(len)]);
            }
        }
    }
}
