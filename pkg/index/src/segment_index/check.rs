//! Holds a whole index against the directory of its segment, for `verify`.

use super::{Problem, SegmentIndex, split_service};
use crate::backend::CheckedFile;
use crate::error::IndexError;
use crate::user_index;
use redb::ReadableTable;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use timberlog_disk::File;
use timberlog_segment::{BlockMeta, Directory, RedbPages};
use timberlog_types::Level;

/// The numbers of the pages of a `.redb` that do not match their checksums, whether a lookup would
/// ever read them or not.
pub fn damaged_pages(file: Arc<dyn File>, pages: RedbPages) -> Result<Vec<u64>, IndexError> {
    let file = CheckedFile::new(file, pages, Arc::new(OnceLock::new()))?;
    Ok(file.damaged_pages())
}

impl SegmentIndex {
    /// Checks every entry against the directory in the segment's footer. User-defined indexes are
    /// checked as far as they can be without the rows: order, and blocks that exist.
    pub fn check(&self, directory: &Directory) -> Result<(), IndexError> {
        self.check_names(directory)?;
        self.check_blocks(directory)?;
        self.check_ts(directory)?;
        for level in Level::ALL {
            let has = |id: u32| directory.levels.get(id as usize).is_some_and(|spelling| spelling.level == level);
            let expected: RoaringBitmap = blocks_where(directory, |block| block.levels.iter().any(|&(id, _)| has(id)));
            same(&format!("blocks of level `{level}`"), &self.blocks_with_level(level)?, &expected)?;
        }
        self.check_services(directory)?;
        self.check_user()
    }

    fn check_names(&self, directory: &Directory) -> Result<(), IndexError> {
        same("number of blocks", &(self.block_count() as usize), &directory.blocks.len())?;
        same("number of records", &self.rows(), &directory.rows())?;
        same("field names", &self.field_names(), &directory.field_names.as_slice())?;
        same("level spellings", &self.levels(), &directory.levels.as_slice())
    }

    fn check_blocks(&self, directory: &Directory) -> Result<(), IndexError> {
        self.ask(|opened| {
            let (mut expected, mut rows) = (0.., opened.blocks.iter()?);
            let in_order = rows.all(|row| row.is_ok_and(|(key, _)| expected.next() == Some(key.value())));
            let count = expected.start;
            if in_order && count == self.header.blocks { Ok(()) } else { Err(Problem::Malformed("numbers of blocks")) }
        })?;
        for (number, block) in (0..).zip(&directory.blocks) {
            let Some(indexed) = self.block(number)? else {
                return Err(IndexError::Corrupt(format!("block {number} is missing")));
            };
            let places = |block: &BlockMeta| block.columns.iter().map(|column| column.filter).collect::<Vec<_>>();
            same(&format!("token filters of block {number}"), &places(&indexed.meta), &places(block))?;
            same(&format!("block {number}"), &indexed.meta, block)?;
            let spelt = |id: u32| directory.levels.get(id as usize).map(|spelling| spelling.level);
            let expected: Option<Vec<Level>> = block.levels.iter().map(|&(id, _)| spelt(id)).collect();
            same(&format!("levels of block {number}"), &Some(indexed.normalised), &expected)?;
        }
        Ok(())
    }

    fn check_ts(&self, directory: &Directory) -> Result<(), IndexError> {
        let mut expected: Vec<_> =
            directory.blocks.iter().map(|block| (block.range.start, block.number, block.range.end)).collect();
        expected.sort_unstable();
        let (mut actual, mut latest) = (Vec::with_capacity(expected.len()), i64::MIN);
        self.ask(|opened| {
            for row in opened.ts.iter()? {
                let (key, value) = row?;
                let ((start, block), (end, latest_end)) = (key.value(), value.value());
                latest = latest.max(end);
                if latest != latest_end {
                    return Err(Problem::Malformed("latest end in `ts`"));
                }
                actual.push((start, block, end));
            }
            Ok(())
        })?;
        same("time ranges", &actual, &expected)
    }

    fn check_services(&self, directory: &Directory) -> Result<(), IndexError> {
        let (mut expected, mut actual) = (BTreeMap::new(), BTreeMap::new());
        for (id, name) in (0_u32..).zip(&directory.services) {
            let blocks = blocks_where(directory, |block| block.services.iter().any(|&(service, _)| service == id));
            expected.insert(name.clone(), (id, blocks));
        }
        self.ask(|opened| {
            for row in opened.service.iter()? {
                let (key, value) = row?;
                let (id, postings) = split_service(value.value())?;
                let mut blocks = RoaringBitmap::new();
                self.add(postings, &mut blocks)?;
                actual.insert(key.value().to_owned(), (id, blocks));
            }
            Ok(())
        })?;
        same("services", &actual, &expected)
    }

    fn check_user(&self) -> Result<(), IndexError> {
        self.ask(|opened| {
            for (_, table) in &opened.user {
                let mut last = None;
                for row in table.iter()? {
                    let (key, value) = row?;
                    let mut ascends = true;
                    let walked =
                        user_index::walk(key.value(), value.value(), self.header.blocks, &mut |hash, block| {
                            ascends &= last.is_none_or(|last| last < (hash, block));
                            last = Some((hash, block));
                        });
                    if walked.is_none() || !ascends {
                        return Err(Problem::Malformed("run of a user-defined index"));
                    }
                }
            }
            Ok(())
        })
    }
}

fn blocks_where(directory: &Directory, has: impl Fn(&BlockMeta) -> bool) -> RoaringBitmap {
    directory.blocks.iter().filter(|block| has(block)).map(|block| block.number).collect()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, actual: &T, expected: &T) -> Result<(), IndexError> {
    if actual == expected {
        return Ok(());
    }
    Err(IndexError::Corrupt(format!("{what}: the index differs from the directory")))
}
