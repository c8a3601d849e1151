//! Counts by group. A group's key is one byte string, so that counting one more record of a group
//! that is known allocates nothing.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | bucket, 0 without steps |
//! | per value: 1 | 0 missing, 1 there |
//! | 4 + n | length and bytes, if there |

use super::Group;
use crate::budget::Budget;
use crate::error::QueryError;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Counts by group.
pub(crate) struct Tally {
    groups: HashMap<Box<[u8]>, u64, Seeded>,
    groups_max: usize,
    /// Bytes of keys that were not charged yet.
    uncharged: usize,
}

/// Makes hashers of keys. Values come from outside, so each table has a seed of its own.
#[derive(Clone)]
struct Seeded(u64);

/// XXH3-64, which for keys as short as these takes a fraction of what the standard library's hash does.
struct KeyHasher(u64);

impl Seeded {
    fn new() -> Self {
        Self(RandomState::new().hash_one(0_u64))
    }
}

impl BuildHasher for Seeded {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher(self.0)
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, len: usize) {
        // The length of what follows, which is hashed whole.
        self.0 ^= len as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Bytes that an entry of the table takes beside the key.
const ENTRY_BYTES: usize = 48;

/// Makes the key of a group in `key`.
pub(crate) fn encode<'a>(key: &mut Vec<u8>, bucket: i64, values: impl Iterator<Item = Option<&'a [u8]>>) {
    key.clear();
    key.extend_from_slice(&bucket.to_le_bytes());
    for value in values {
        match value {
            None => key.push(0),
            Some(value) => {
                key.push(1);
                // A value is part of a batch, which is shorter than 4 GiB.
                key.extend_from_slice(&(value.len() as u32).to_le_bytes());
                key.extend_from_slice(value);
            }
        }
    }
}

impl Tally {
    pub fn new(groups_max: usize) -> Self {
        Self { groups: HashMap::with_hasher(Seeded::new()), groups_max, uncharged: 0 }
    }

    /// Counts `rows` records of a group; none make no group.
    pub fn add(&mut self, key: &[u8], rows: u64) {
        if rows > 0 {
            self.put(key, rows);
        }
    }

    /// Adds what records of a group weigh together, be it nothing.
    pub fn put(&mut self, key: &[u8], weight: u64) {
        match self.groups.get_mut(key) {
            Some(total) => *total += weight,
            None => {
                self.uncharged += key.len() + ENTRY_BYTES;
                self.groups.insert(key.into(), weight);
            }
        }
    }

    /// Counts what another one has counted.
    pub fn merge(&mut self, other: Self) {
        if self.groups.is_empty() {
            let uncharged = self.uncharged + other.uncharged;
            *self = Self { uncharged, ..other };
            return;
        }
        for (key, rows) in other.groups {
            *self.groups.entry(key).or_insert(0) += rows;
        }
    }

    /// Ends the query if there are too many groups or they need too much memory.
    pub fn check(&mut self, budget: &Budget) -> Result<(), QueryError> {
        budget.take_memory(std::mem::take(&mut self.uncharged))?;
        if self.groups.len() > self.groups_max {
            return Err(QueryError::Groups { limit: self.groups_max });
        }
        Ok(())
    }

    /// The groups, in no order.
    pub fn groups(&self, has_buckets: bool) -> Vec<Group> {
        self.groups
            .iter()
            .map(|(key, &count)| {
                let (bucket, key) = decode(key);
                Group { key, bucket: has_buckets.then_some(bucket), count }
            })
            .collect()
    }
}

fn decode(key: &[u8]) -> (i64, Vec<Option<String>>) {
    let (bucket, mut rest) = key.split_first_chunk().map_or((0, key), |(b, rest)| (i64::from_le_bytes(*b), rest));
    let mut values = Vec::new();
    while let Some((tag, tail)) = rest.split_first() {
        rest = tail;
        if *tag == 0 {
            values.push(None);
            continue;
        }
        let (len, tail) = rest.split_first_chunk().map_or((0, rest), |(len, tail)| (u32::from_le_bytes(*len), tail));
        let (value, tail) = tail.split_at_checked(len as usize).unwrap_or((tail, &[]));
        values.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = tail;
    }
    (bucket, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_give_back_bucket_and_values() {
        let mut key = Vec::new();
        encode(&mut key, -5, [Some(&b"a"[..]), None, Some(b"")].into_iter());
        assert_eq!(decode(&key), (-5, vec![Some("a".to_owned()), None, Some(String::new())]));
    }
}
