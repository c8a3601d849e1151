//! Any bytes as one of the small files and objects that the storage keeps beside its data: records of
//! backups, plans, deletions, lines of the archive, pins, the bucket's roots and tombstones, deletes in
//! the WAL, producers, names. The first byte says which. What is read comes back from its encoding.

use timberlog_storage::formats;

/// See the module.
pub fn store_records(input: &[u8]) {
    read(input);
}

/// The kind that an input says, and whether it is one.
pub(crate) fn read(input: &[u8]) -> Option<(u8, bool)> {
    let (&kind, bytes) = input.split_first()?;
    let kind = kind % formats::KINDS;
    Some((kind, formats::read(kind, bytes)))
}
