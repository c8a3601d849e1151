//! The tables of a segment's `.redb`: names, keys and values, version 1.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | u8: 0 | u32 version, u32 number of blocks, u64 number of records |
//! | | u8: 1 | field names by id: number of them, then each as length and bytes |
//! | | u8: 2 | level spellings by id: number of them, then for each its normalised level, 1 if a level was sent, else 0, and the spelling as length and bytes |
//! | | u8: 3 | names of the user-defined indexes, ascending: number of them, then each as length and bytes |
//! | `blocks` | u32 block | [`crate::block_entry`] |
//! | `ts` | (i64 first timestamp, u32 block) | (i64 last timestamp of the block, i64 latest last timestamp of this and all rows before) |
//! | `level` | u8 normalised level | postings ([`crate::postings`]) |
//! | `service` | service (UTF-8) | u32 service id, then postings |
//! | `index:<name>` | u64 first hash | [`crate::user_index`] |
//!
//! Integers in keys, tuples and fixed places are little-endian, as redb writes them; numbers in
//! the names of `meta` are variable-length ([`crate::varint`]). A program that finds another
//! version uses the directory in the footer instead.

use crate::varint::{Reader, put};
use redb::TableDefinition;
use timberlog_segment::LevelSpelling;
use timberlog_types::Level;

/// The version of the tables.
pub const VERSION: u32 = 1;

pub(crate) const META: TableDefinition<'static, u8, &'static [u8]> = TableDefinition::new("meta");
pub(crate) const BLOCKS: TableDefinition<'static, u32, &'static [u8]> = TableDefinition::new("blocks");
pub(crate) const TS: TableDefinition<'static, (i64, u32), (i64, i64)> = TableDefinition::new("ts");
pub(crate) const LEVEL: TableDefinition<'static, u8, &'static [u8]> = TableDefinition::new("level");
pub(crate) const SERVICE: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("service");

pub(crate) fn user(table: &str) -> TableDefinition<'_, u64, &'static [u8]> {
    TableDefinition::new(table)
}

/// The name of a user-defined index's table.
pub(crate) fn user_table(name: &str) -> String {
    format!("index:{name}")
}

/// The rows of `meta`.
pub(crate) const HEADER: u8 = 0;
pub(crate) const FIELD_NAMES: u8 = 1;
pub(crate) const LEVEL_SPELLINGS: u8 = 2;
pub(crate) const USER_INDEXES: u8 = 3;

/// Row [`HEADER`] of `meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) blocks: u32,
    pub(crate) rows: u64,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[8..].copy_from_slice(&self.rows.to_le_bytes());
        bytes
    }

    /// A later version may have more bytes: the version comes first, and is looked at first.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first_chunk()?;
        let (&blocks, rest) = rest.split_first_chunk()?;
        let (&rows, _) = rest.split_first_chunk()?;
        let [version, blocks] = [version, blocks].map(u32::from_le_bytes);
        Some(Self { version, blocks, rows: u64::from_le_bytes(rows) })
    }
}

pub(crate) fn encode_names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, names.len() as u64);
    for name in names {
        put_text(&mut bytes, name);
    }
    bytes
}

pub(crate) fn decode_names(bytes: &[u8]) -> Option<Vec<String>> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(1)?;
    let names: Vec<String> = (0..count).map_while(|_| reader.text()).collect();
    (names.len() == count && reader.is_at_end()).then_some(names)
}

pub(crate) fn encode_levels(levels: &[LevelSpelling]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, levels.len() as u64);
    for level in levels {
        put(&mut bytes, level.level as u64);
        put(&mut bytes, u64::from(level.spelling.is_some()));
        put_text(&mut bytes, level.spelling.as_deref().unwrap_or_default());
    }
    bytes
}

pub(crate) fn decode_levels(bytes: &[u8]) -> Option<Vec<LevelSpelling>> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(3)?;
    let mut levels = Vec::with_capacity(count);
    for _ in 0..count {
        let level = Level::from_u8(u8::try_from(reader.u64()?).ok()?)?;
        let was_sent = reader.u64()? == 1;
        let text = reader.text()?;
        levels.push(LevelSpelling { level, spelling: was_sent.then_some(text) });
    }
    reader.is_at_end().then_some(levels)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}
