//! Counts by group. A group's key is one byte string, so that counting one more record of a group
//! that is known allocates nothing.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | bucket, 0 without steps |
//! | per value: 1 | 0 missing, 1 there |
//! | 4 + n | length and bytes, if there |

use super::Group;
use super::seed::Seed;
use crate::budget::Budget;
use crate::error::QueryError;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Counts by group.
pub(crate) struct Tally {
    seed: Seed,
    groups: HashTable<(Box<[u8]>, u64)>,
    groups_max: usize,
    /// Bytes of keys that were not charged yet.
    uncharged: usize,
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
        Self { seed: Seed::default(), groups: HashTable::new(), groups_max, uncharged: 0 }
    }

    /// Counts `rows` records of a group; none make no group.
    pub fn add(&mut self, key: &[u8], rows: u64) {
        if rows > 0 {
            self.put(key, rows);
        }
    }

    /// Adds what records of a group weigh together, be it nothing.
    pub fn put(&mut self, key: &[u8], weight: u64) {
        match self.groups.entry(self.seed.hash(key), |(known, _)| **known == *key, |(known, _)| self.seed.hash(known)) {
            Entry::Occupied(mut group) => group.get_mut().1 += weight,
            Entry::Vacant(group) => {
                self.uncharged += key.len() + ENTRY_BYTES;
                group.insert((key.into(), weight));
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
            let hash = self.seed.hash(&key);
            let group = self.groups.entry(hash, |(known, _)| *known == key, |(known, _)| self.seed.hash(known));
            group.or_insert((key, 0)).into_mut().1 += rows;
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
            .map(|(key, count)| {
                let (bucket, key) = decode(key);
                Group { key, bucket: has_buckets.then_some(bucket), count: *count }
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
