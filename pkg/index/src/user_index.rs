//! The values of a user-defined index: many hashes with their blocks in a page-sized run.
//!
//! A table row a hash would cost 17 bytes and more; here a hash costs its bits beyond the first
//! one of its run and a few bits for each block. The key of a run is its first hash, so a lookup
//! reads the last run whose key is not above the hash. A hash in more than 32 blocks has a value
//! of its own. Version 1:
//!
//! | at | type | content |
//! |---|---|---|
//! | 0 | u8 | kind: 0 run, 1 one hash |
//! | 1 | postings ([`crate::postings`]) | one hash: its blocks; the hash is the key: the end |
//! | 1 | u8 | run: `d`, the bits of a hash minus the key, at most 64 |
//! | 2 | u8 | run: `c`, the bits of a number of blocks minus 1, at most 5 |
//! | 3 | u8 | run: `b`, the bits of a block, at most 32 |
//! | 4 | u16 | run: `n`, the number of hashes, at least 1 |
//! | 6 | bits | run: n × d bits, the hashes minus the key, ascending; n × c bits, how many blocks each has, minus 1; b bits for each block, ascending within a hash; lowest bit first, the last byte filled up with 0 |

use crate::postings;
use roaring::RoaringBitmap;

const RUN: u8 = 0;
const ONE: u8 = 1;
const HEADER: usize = 6;
/// With its key and the leaf's own header it fills a page of 4,096 bytes.
const VALUE_LEN_MAX: usize = 4076;
const LIST_LEN_MAX: usize = 32;

/// Cuts entries, sorted and each once, into keys and values; `put` takes them in ascending order.
pub(crate) fn encode<E>(entries: &[(u64, u32)], mut put: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
    let block_bits = bits(entries.iter().map(|&(_, block)| u64::from(block)).max().unwrap_or(0));
    let mut run = Run { entries: &entries[..0], hashes: 0, longest: 0 };
    let mut start = 0;
    let mut value = Vec::with_capacity(VALUE_LEN_MAX);
    for list in entries.chunk_by(|a, b| a.0 == b.0) {
        let end = start + list.len();
        let is_long = list.len() > LIST_LEN_MAX;
        let run_start = start - run.entries.len();
        let longer =
            Run { entries: &entries[run_start..end], hashes: run.hashes + 1, longest: run.longest.max(list.len()) };
        if is_long || longer.value_len(block_bits) > VALUE_LEN_MAX || longer.hashes > usize::from(u16::MAX) {
            if let Some(&(key, _)) = run.entries.first() {
                run.encode(block_bits, &mut value);
                put(key, &value)?;
            }
            run = Run { entries: list, hashes: 1, longest: list.len() };
            if is_long {
                value.clear();
                value.push(ONE);
                value.extend_from_slice(&postings::encode(list.iter().map(|&(_, block)| block).collect()));
                put(list[0].0, &value)?;
                run = Run { entries: &entries[end..end], hashes: 0, longest: 0 };
            }
        } else {
            run = longer;
        }
        start = end;
    }
    if let Some(&(key, _)) = run.entries.first() {
        run.encode(block_bits, &mut value);
        put(key, &value)?;
    }
    Ok(())
}

struct Run<'a> {
    entries: &'a [(u64, u32)],
    hashes: usize,
    /// The most blocks of a hash.
    longest: usize,
}

impl Run<'_> {
    fn widths(&self, block_bits: u32) -> [u32; 3] {
        let span = match (self.entries.first(), self.entries.last()) {
            (Some(first), Some(last)) => last.0 - first.0,
            _ => 0,
        };
        [bits(span), bits(self.longest.saturating_sub(1) as u64), block_bits]
    }

    fn value_len(&self, block_bits: u32) -> usize {
        let [hash, count, block] = self.widths(block_bits).map(|width| width as usize);
        HEADER + (self.hashes * (hash + count) + self.entries.len() * block).div_ceil(8)
    }

    fn encode(&self, block_bits: u32, value: &mut Vec<u8>) {
        let widths = self.widths(block_bits);
        value.clear();
        value.push(RUN);
        value.extend(widths.map(|width| width as u8));
        value.extend_from_slice(&(self.hashes as u16).to_le_bytes());
        let key = self.entries.first().map_or(0, |&(hash, _)| hash);
        let lists = || self.entries.chunk_by(|a, b| a.0 == b.0);
        let mut packer = Packer { bytes: value, pending: 0, filled: 0 };
        lists().for_each(|list| packer.put(list[0].0 - key, widths[0]));
        lists().for_each(|list| packer.put(list.len() as u64 - 1, widths[1]));
        self.entries.iter().for_each(|&(_, block)| packer.put(u64::from(block), widths[2]));
        packer.finish();
    }
}

struct Packer<'a> {
    bytes: &'a mut Vec<u8>,
    pending: u128,
    filled: u32,
}

impl Packer<'_> {
    fn put(&mut self, number: u64, width: u32) {
        self.pending |= u128::from(number) << self.filled;
        self.filled += width;
        while self.filled >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.filled -= 8;
        }
    }

    fn finish(self) {
        if self.filled > 0 {
            self.bytes.push(self.pending as u8);
        }
    }
}

fn bits(number: u64) -> u32 {
    u64::BITS - number.leading_zeros()
}

/// A value, checked so far that its parts can be read.
#[derive(Clone, Copy)]
enum Value<'a> {
    Run { widths: [u32; 3], hashes: usize, bits: &'a [u8] },
    One { key: u64, postings: &'a [u8] },
}

/// Adds the blocks of a hash to `found`; `None` if the value is malformed.
pub(crate) fn look_up(key: u64, value: &[u8], hash: u64, block_count: u32, found: &mut RoaringBitmap) -> Option<()> {
    match Value::open(key, value)? {
        Value::One { key, postings } => {
            if key == hash {
                postings::decode(postings, block_count, found)?;
            }
        }
        run @ Value::Run { hashes, .. } => {
            let wanted = hash.checked_sub(key)?;
            let (mut low, mut high) = (0, hashes);
            while low < high {
                let middle = low.midpoint(high);
                if run.hash(middle) < wanted {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            if low == hashes || run.hash(low) != wanted {
                return Some(());
            }
            let before: usize = (0..low).map(|index| run.list_len(index)).sum();
            for index in before..before + run.list_len(low) {
                let block = run.block(index)?;
                (block < block_count).then(|| found.insert(block))?;
            }
        }
    }
    Some(())
}

/// Calls `each` with every hash and block of a value; `None` if it is malformed or out of order.
pub(crate) fn walk(key: u64, value: &[u8], block_count: u32, each: &mut dyn FnMut(u64, u32)) -> Option<()> {
    match Value::open(key, value)? {
        Value::One { key, postings } => {
            let mut blocks = RoaringBitmap::new();
            postings::decode(postings, block_count, &mut blocks)?;
            blocks.iter().for_each(|block| each(key, block));
        }
        run @ Value::Run { hashes, .. } => {
            let mut at = 0;
            let mut last = None;
            for index in 0..hashes {
                let distance = run.hash(index);
                let is_first = index == 0 && distance == 0;
                if !is_first && last.is_none_or(|last| last >= distance) {
                    return None;
                }
                last = Some(distance);
                for _ in 0..run.list_len(index) {
                    let block = run.block(at)?;
                    at += 1;
                    let hash = key.checked_add(distance)?;
                    (block < block_count).then(|| each(hash, block))?;
                }
            }
            if !run.ends_after(at) {
                return None;
            }
        }
    }
    Some(())
}

impl<'a> Value<'a> {
    fn open(key: u64, value: &'a [u8]) -> Option<Self> {
        let (&kind, rest) = value.split_first()?;
        match kind {
            ONE => Some(Self::One { key, postings: rest }),
            RUN => {
                let (&[hash, count, block, low, high], bits) = rest.split_first_chunk()?;
                let widths = [hash, count, block].map(u32::from);
                let hashes = usize::from(u16::from_le_bytes([low, high]));
                let [hash, count, block] = widths;
                let fixed = hashes * (hash + count) as usize;
                let is_good = hash <= 64 && count <= 5 && block <= 32 && hashes > 0 && fixed <= bits.len() * 8;
                is_good.then_some(Self::Run { widths, hashes, bits })
            }
            _ => None,
        }
    }

    /// Whether the value has no bytes beyond so many blocks.
    fn ends_after(self, blocks: usize) -> bool {
        match self {
            Self::Run { widths: [hash, count, block], hashes, bits, .. } => {
                (hashes * (hash + count) as usize + blocks * block as usize).div_ceil(8) == bits.len()
            }
            Self::One { .. } => true,
        }
    }

    /// A hash minus the key.
    fn hash(self, index: usize) -> u64 {
        match self {
            Self::Run { widths, bits, .. } => get(bits, index * widths[0] as usize, widths[0]),
            Self::One { .. } => 0,
        }
    }

    fn list_len(self, index: usize) -> usize {
        match self {
            Self::Run { widths: [_, 0, _], .. } | Self::One { .. } => 1,
            Self::Run { widths, hashes, bits, .. } => {
                get(bits, hashes * widths[0] as usize + index * widths[1] as usize, widths[1]) as usize + 1
            }
        }
    }

    fn block(self, index: usize) -> Option<u32> {
        match self {
            Self::Run { widths, hashes, bits, .. } => {
                let before = hashes * (widths[0] + widths[1]) as usize;
                let at = before + index * widths[2] as usize;
                if at + widths[2] as usize > bits.len() * 8 {
                    return None;
                }
                u32::try_from(get(bits, at, widths[2])).ok()
            }
            Self::One { .. } => None,
        }
    }
}

/// `width` bits, at most 64, from a place in bits; bits beyond the end are 0.
fn get(bits: &[u8], at: usize, width: u32) -> u64 {
    let mut window = [0; 16];
    let start = at / 8;
    if let Some(chunk) = bits.get(start..start + 16) {
        window.copy_from_slice(chunk);
    } else {
        for (to, from) in window.iter_mut().zip(bits.iter().skip(start)) {
            *to = *from;
        }
    }
    let number = u128::from_le_bytes(window) >> (at % 8);
    if width == 64 { number as u64 } else { number as u64 & ((1 << width) - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn check(mut entries: Vec<(u64, u32)>) {
        entries.sort_unstable();
        entries.dedup();
        let mut table = BTreeMap::new();
        encode::<()>(&entries, |key, value| {
            assert!(value.len() <= VALUE_LEN_MAX || value[0] == ONE, "{}", value.len());
            assert!(table.insert(key, value.to_vec()).is_none());
            Ok(())
        })
        .unwrap();
        let blocks = entries.iter().map(|&(_, block)| block + 1).max().unwrap_or(0);
        let mut walked = Vec::new();
        for (&key, value) in &table {
            walk(key, value, blocks, &mut |hash, block| walked.push((hash, block))).unwrap();
        }
        assert_eq!(walked, entries);
        walked.dedup_by_key(|entry| entry.0);
        let neighbours = walked.iter().flat_map(|&(hash, _)| [hash, hash.wrapping_add(1), hash.wrapping_sub(1)]);
        for hash in neighbours.chain([0, u64::MAX]) {
            let mut found = RoaringBitmap::new();
            if let Some((&key, value)) = table.range(..=hash).next_back() {
                look_up(key, value, hash, blocks, &mut found).unwrap();
            }
            let truth: RoaringBitmap = entries[entries.partition_point(|entry| entry.0 < hash)..]
                .iter()
                .take_while(|entry| entry.0 == hash)
                .map(|entry| entry.1)
                .collect();
            assert_eq!(found, truth);
        }
    }

    #[test]
    fn lists_of_every_length_come_back() {
        check(Vec::new());
        check(vec![(0, 0)]);
        check(vec![(0, u32::MAX - 1), (u64::MAX, 0)]);
        for len in [1, 2, 31, 32, 33, 34, 300] {
            check((0..20).flat_map(|hash| (0..len).map(move |block| (hash << 50, block * 7))).collect());
        }
        check((0..3000_u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n as u32 % 280)).collect());
        check((0..3000).map(|n| (n, 0)).collect());
    }

    proptest! {
        #[test]
        fn any_entries_come_back(
            entries in prop::collection::vec((prop_oneof![any::<u64>(), 0..20_u64, Just(7)], 0..300_u32), 0..400),
        ) {
            check(entries);
        }

        #[test]
        fn any_bytes_are_an_answer_or_malformed(
            key: u64,
            mut value in prop::collection::vec(any::<u8>(), 0..40),
            kind in 0..3_u8,
            hash: u64,
        ) {
            if let Some(first) = value.first_mut() {
                *first = kind;
            }
            if value.len() > 5 {
                value[1] %= 66;
                value[2] %= 7;
                value[3] %= 34;
                value[4] %= 5;
                value[5] %= 2;
            }
            look_up(key, &value, hash, 100, &mut RoaringBitmap::new());
            walk(key, &value, 100, &mut |_, _| {});
        }
    }
}
