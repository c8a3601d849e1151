//! Postings: the numbers of the blocks that a key stands in. Version 1:
//!
//! | at | type | content |
//! |---|---|---|
//! | 0 | u8 | kind: 0 list, 1 bitmap |
//! | 1 | u32 × n | list: the blocks, ascending, at most 8: the end |
//! | 1 | … | bitmap: a roaring bitmap in its portable serialisation, run containers included: the end |

use roaring::RoaringBitmap;

const LIST: u8 = 0;
const BITMAP: u8 = 1;
const LIST_LEN_MAX: u64 = 8;

/// The bytes of postings.
pub(crate) fn encode(mut blocks: RoaringBitmap) -> Vec<u8> {
    if blocks.len() <= LIST_LEN_MAX {
        let mut bytes = vec![LIST];
        for block in blocks {
            bytes.extend_from_slice(&block.to_le_bytes());
        }
        return bytes;
    }
    blocks.optimize();
    let mut bytes = Vec::with_capacity(1 + blocks.serialized_size());
    bytes.push(BITMAP);
    // A vector takes everything that is written to it.
    let _ = blocks.serialize_into(&mut bytes);
    bytes
}

/// Adds the blocks of postings, each below `block_count`, to `found`; `None` if the bytes are
/// malformed.
pub(crate) fn decode(bytes: &[u8], block_count: u32, found: &mut RoaringBitmap) -> Option<()> {
    let (&kind, rest) = bytes.split_first()?;
    match kind {
        LIST => {
            let (blocks, []) = rest.as_chunks() else { return None };
            for &block in blocks {
                let block = u32::from_le_bytes(block);
                (block < block_count).then(|| found.insert(block))?;
            }
        }
        BITMAP => {
            let mut rest = rest;
            let blocks = RoaringBitmap::deserialize_from(&mut rest).ok()?;
            if !rest.is_empty() || blocks.max().is_some_and(|last| last >= block_count) {
                return None;
            }
            *found |= blocks;
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postings_come_back_and_damage_never_panics() {
        for count in [0, 1, 8, 9, 300, 5000] {
            let blocks: RoaringBitmap = (0..count).map(|n| n * 3 % 5000).collect();
            let bytes = encode(blocks.clone());
            let mut found = RoaringBitmap::new();
            assert_eq!(decode(&bytes, 5000, &mut found), Some(()));
            assert_eq!(found, blocks);
            if let Some(last) = blocks.max() {
                assert_eq!(decode(&bytes, last, &mut RoaringBitmap::new()), None);
            }
            for at in 0..bytes.len().min(300) {
                for flip in [1, 0x10, 0xff] {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= flip;
                    decode(&damaged, 5000, &mut RoaringBitmap::new());
                }
                decode(&bytes[..at], 5000, &mut RoaringBitmap::new());
            }
        }
    }
}
