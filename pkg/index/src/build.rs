//! Builds a segment's `.redb`: in memory, in key order, compacted and closed, with the checksums
//! of its pages.

use crate::backend::{Memory, page_checksums};
use crate::error::IndexError;
use crate::tables::{self, Header};
use crate::{block_entry, postings, user_index};
use redb::{Builder, WriteTransaction};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use timberlog_segment::{Directory, RedbPages};

/// A user-defined index to build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserIndexInput {
    /// Its name: that of the field.
    pub name: String,
    /// The hash of a value and a block that it stands in, in any order, repetitions allowed.
    pub entries: Vec<(u64, u32)>,
}

/// A `.redb` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltIndex {
    /// The bytes of the file.
    pub bytes: Vec<u8>,
    /// The checksums of its pages, for the segment's footer.
    pub pages: RedbPages,
}

/// Memory that redb may keep pages in, while it builds, beside the file itself.
const CACHE_BYTES: usize = 16 << 20;

/// Builds the index of a segment. Sorts the user-defined indexes and their entries in place.
pub fn build(directory: &Directory, user: &mut [UserIndexInput]) -> Result<BuiltIndex, IndexError> {
    user.sort_by(|a, b| a.name.cmp(&b.name));
    if user.windows(2).any(|pair| pair[0].name == pair[1].name) {
        return Err(IndexError::Build("two user-defined indexes have one name".to_owned()));
    }
    let memory = Memory::default();
    let mut db = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(memory.clone()).map_err(failed)?;
    let transaction = db.begin_write().map_err(failed)?;
    put_meta(&transaction, directory, user)?;
    put_blocks(&transaction, directory)?;
    put_ts(&transaction, directory)?;
    put_levels(&transaction, directory)?;
    put_services(&transaction, directory)?;
    for index in user {
        put_user(&transaction, index, directory.blocks.len())?;
    }
    transaction.commit().map_err(failed)?;
    while db.compact().map_err(failed)? {}
    db.close().map_err(failed)?;
    let bytes = memory.take();
    let pages = page_checksums(&bytes);
    Ok(BuiltIndex { bytes, pages })
}

fn put_meta(transaction: &WriteTransaction, directory: &Directory, user: &[UserIndexInput]) -> Result<(), IndexError> {
    let blocks = u32::try_from(directory.blocks.len()).map_err(|_| IndexError::Build("too many blocks".to_owned()))?;
    let header = Header { version: tables::VERSION, blocks, rows: directory.rows() };
    let fields = tables::encode_names(directory.field_names.iter().map(String::as_str));
    let levels = tables::encode_levels(&directory.levels);
    let indexes = tables::encode_names(user.iter().map(|index| index.name.as_str()));
    let mut table = transaction.open_table(tables::META).map_err(failed)?;
    for (key, value) in [
        (tables::HEADER, header.encode().as_slice()),
        (tables::FIELD_NAMES, &fields),
        (tables::LEVEL_SPELLINGS, &levels),
        (tables::USER_INDEXES, &indexes),
    ] {
        table.insert(key, value).map_err(failed)?;
    }
    Ok(())
}

fn put_blocks(transaction: &WriteTransaction, directory: &Directory) -> Result<(), IndexError> {
    let mut table = transaction.open_table(tables::BLOCKS).map_err(failed)?;
    let mut entry = Vec::new();
    for (number, block) in (0..).zip(&directory.blocks) {
        entry.clear();
        let encoded = block_entry::encode(block, &directory.levels, &mut entry);
        if encoded.is_none() || block.number != number {
            return Err(IndexError::Build(format!("the metadata of block {number} contradicts itself")));
        }
        table.insert(number, entry.as_slice()).map_err(failed)?;
    }
    Ok(())
}

fn put_ts(transaction: &WriteTransaction, directory: &Directory) -> Result<(), IndexError> {
    let mut table = transaction.open_table(tables::TS).map_err(failed)?;
    let mut ranges: Vec<_> =
        directory.blocks.iter().map(|block| (block.range.start, block.number, block.range.end)).collect();
    ranges.sort_unstable();
    let mut latest = i64::MIN;
    for (start, block, end) in ranges {
        latest = latest.max(end);
        table.insert((start, block), (end, latest)).map_err(failed)?;
    }
    Ok(())
}

fn put_levels(transaction: &WriteTransaction, directory: &Directory) -> Result<(), IndexError> {
    let mut blocks: BTreeMap<u8, RoaringBitmap> = BTreeMap::new();
    for block in &directory.blocks {
        for &(id, _) in &block.levels {
            // `put_blocks` has seen that every spelling is there.
            if let Some(spelling) = directory.levels.get(id as usize) {
                blocks.entry(spelling.level as u8).or_default().insert(block.number);
            }
        }
    }
    let mut table = transaction.open_table(tables::LEVEL).map_err(failed)?;
    for (level, blocks) in blocks {
        table.insert(level, postings::encode(blocks).as_slice()).map_err(failed)?;
    }
    Ok(())
}

fn put_services(transaction: &WriteTransaction, directory: &Directory) -> Result<(), IndexError> {
    let mut by_name: BTreeMap<&str, (u32, RoaringBitmap)> = BTreeMap::new();
    let mut blocks: Vec<RoaringBitmap> = vec![RoaringBitmap::new(); directory.services.len()];
    for block in &directory.blocks {
        for &(id, _) in &block.services {
            let Some(blocks) = blocks.get_mut(id as usize) else {
                return Err(IndexError::Build(format!(
                    "block {} names service {id}, which is not there",
                    block.number
                )));
            };
            blocks.insert(block.number);
        }
    }
    for (id, (name, blocks)) in (0..).zip(directory.services.iter().zip(blocks)) {
        if by_name.insert(name, (id, blocks)).is_some() {
            return Err(IndexError::Build(format!("two services are named `{name}`")));
        }
    }
    let mut table = transaction.open_table(tables::SERVICE).map_err(failed)?;
    for (name, (id, blocks)) in by_name {
        let mut value = id.to_le_bytes().to_vec();
        value.extend_from_slice(&postings::encode(blocks));
        table.insert(name, value.as_slice()).map_err(failed)?;
    }
    Ok(())
}

fn put_user(transaction: &WriteTransaction, index: &mut UserIndexInput, blocks: usize) -> Result<(), IndexError> {
    index.entries.sort_unstable();
    index.entries.dedup();
    if index.entries.iter().any(|&(_, block)| block as usize >= blocks) {
        return Err(IndexError::Build(format!("index `{}` names a block that is not there", index.name)));
    }
    let name = tables::user_table(&index.name);
    let mut table = transaction.open_table(tables::user(&name)).map_err(failed)?;
    user_index::encode(&index.entries, |hash, value| table.insert(hash, value).map(drop).map_err(failed))
}

fn failed(error: impl Into<redb::Error>) -> IndexError {
    IndexError::Build(error.into().to_string())
}
