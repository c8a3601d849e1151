//! A segment while a query looks at it: its opened files, what each test comes to in it, and its
//! columns, counted against the query's budget.

use crate::budget::Budget;
use crate::plan::OfFiles;
use roaring::RoaringBitmap;
use std::cell::RefCell;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use timberlog_filter::{BlockColumns, ColumnSource, Compiled, CompiledTest, SegmentFacts, Verdict};
use timberlog_index::{GroupAnswer, SegmentIndex, TokenFilter, TokenFilterGroup};
use timberlog_segment::{BlockMeta, Column, ColumnKey, Directory, FilterGroup};
use timberlog_storage::hidden::Hidden;
use timberlog_storage::tier::Demand;
use timberlog_storage::{Opened, Piece, Segment, Wants};
use timberlog_types::{Error, Result};

/// A segment while a query looks at it.
pub(crate) struct OpenSegment {
    pub segment: Arc<Segment>,
    files: Arc<Opened>,
    /// What is known of the query's tests.
    pub known: Known,
    /// What may hide rows of it.
    hides: Arc<OfFiles>,
    /// How many blocks of it the plan leaves out because they are hidden whole.
    pub blocks_hidden: u64,
    /// Whether a column of it was read.
    pub is_read: AtomicBool,
}

/// What the directory and the indexes of one segment know of the tests of a filter.
pub(crate) struct Known {
    pub facts: SegmentFacts,
    /// By test: the blocks that a user index names for it; `None` where no index answers.
    indexed: Vec<Option<RoaringBitmap>>,
    /// By test, then by group of blocks: what token filters say of it, once they were asked.
    tokens: Vec<Vec<OnceLock<GroupAnswer>>>,
}

impl Known {
    /// Looks at the opened files.
    pub fn new(files: &Opened, filter: &Compiled) -> Self {
        let directory = files.reader.directory();
        let facts = SegmentFacts::new(filter, directory);
        let indexed: Vec<_> = filter.tests().iter().map(|test| user_index(files, test)).collect();
        let groups = directory.blocks.len().div_ceil(FilterGroup::BLOCKS as usize);
        let has_filters = |(test, indexed): (&Arc<CompiledTest>, &Option<_>)| {
            !test.tokens().is_none() && indexed.is_none() && facts.column(test).is_some()
        };
        let groups = |test| if has_filters(test) { groups } else { 0 };
        let unasked = |groups| std::iter::repeat_with(OnceLock::new).take(groups).collect();
        let tokens = filter.tests().iter().zip(&indexed).map(groups).map(unasked).collect();
        Self { facts, indexed, tokens }
    }

    /// The blocks whose fields may pass a test, by a user index.
    pub fn indexed(&self, test: &CompiledTest) -> Option<&RoaringBitmap> {
        self.indexed.get(test.id())?.as_ref()
    }

    /// What the directory and the user indexes know of a block.
    pub fn judge(&self, filter: &Compiled, block: &BlockMeta) -> Verdict {
        filter.judge(&mut |test| self.facts.judge(test, block, &mut |test, _| self.judge_indexed(test, block)))
    }

    /// Whether an index or a token filter let a block through: it is likely to hold a match.
    pub fn is_selective(&self, filter: &Compiled, open: &OpenSegment, block: &BlockMeta) -> bool {
        let is_indexed =
            |test: &Arc<CompiledTest>| self.indexed(test).is_some_and(|blocks| blocks.contains(block.number));
        filter.tests().iter().any(is_indexed) || !open.token_filters(filter, self, block).is_empty()
    }

    fn judge_indexed(&self, test: &CompiledTest, block: &BlockMeta) -> Verdict {
        match self.indexed(test) {
            Some(blocks) if !blocks.contains(block.number) => Verdict::Never,
            _ => Verdict::Maybe,
        }
    }
}

impl OpenSegment {
    /// Opens the files; what is open already comes from the cache. `hidden` may hide rows of it.
    pub fn open(segment: &Arc<Segment>, filter: &Compiled, hidden: &Hidden, budget: &Budget) -> Result<Self> {
        let files = budget.with_demand(|demand| segment.open_for(demand))?;
        let known = Known::new(&files, filter);
        let hides = OfFiles::of(segment, &files, hidden);
        let segment = Arc::clone(segment);
        Ok(Self { segment, files, known, hides, blocks_hidden: 0, is_read: AtomicBool::new(false) })
    }

    pub fn directory(&self) -> &Directory {
        self.files.reader.directory()
    }

    /// A block by its number.
    pub fn block(&self, number: u32) -> Option<&BlockMeta> {
        self.directory().blocks.get(number as usize)
    }

    /// What may hide rows of it.
    pub fn hides(&self) -> &OfFiles {
        &self.hides
    }

    /// The index, if the segment has one that is whole.
    pub fn index(&self) -> Option<&SegmentIndex> {
        self.files.index.as_ref()?.as_ref().ok()
    }

    /// What token filters know of a block without a look at what the directory has of it: nearly all that they rule out.
    pub fn judge_tokens_alone(&self, filter: &Compiled, known: &Known, block: u32, budget: &Budget) -> Verdict {
        filter.judge(&mut |test| match known.facts.column_alone(test) {
            Some(key) if self.ask_group(known, test, block, key, budget) == Some(false) => Verdict::Never,
            _ => Verdict::Maybe,
        })
    }

    /// What token filters know of a block besides.
    pub fn judge_tokens(
        &self,
        filter: &Compiled,
        known: &Known,
        block: &BlockMeta,
        budget: &Budget,
    ) -> Result<Verdict> {
        let mut failed = None;
        let verdict = filter.judge(&mut |test| {
            known.facts.judge(test, block, &mut |test, key| {
                if known.indexed(test).is_some() {
                    // It knows the values by as many bits as the token filter.
                    return known.judge_indexed(test, block);
                }
                match self.may_match(known, test, block, key, budget) {
                    Ok(true) => Verdict::Maybe,
                    Ok(false) => Verdict::Never,
                    Err(error) => {
                        failed = Some(error);
                        Verdict::Maybe
                    }
                }
            })
        });
        // A filter that cannot be read rules nothing out, and loses nothing: the column answers.
        if let Some(error) = failed
            && budget.is_exceeded()
        {
            return Err(error);
        }
        Ok(verdict)
    }

    /// The columns of a block whose token filters are asked about a filter.
    pub fn token_filters(&self, filter: &Compiled, known: &Known, block: &BlockMeta) -> Vec<ColumnKey> {
        let mut keys = Vec::new();
        let _ = filter.judge(&mut |test| {
            known.facts.judge(test, block, &mut |test, key| {
                if known.indexed(test).is_some() {
                    return known.judge_indexed(test, block);
                }
                if has_filter(test, block, key) {
                    keys.push(key);
                }
                Verdict::Maybe
            })
        });
        keys
    }

    /// What is wanted of the segment, for fetching it.
    pub fn wants(&self, pieces: Vec<(u32, Piece)>) -> Wants<'_> {
        Wants { segment: &self.segment, files: &self.files, pieces }
    }

    fn may_match(
        &self,
        known: &Known,
        test: &CompiledTest,
        block: &BlockMeta,
        key: ColumnKey,
        budget: &Budget,
    ) -> Result<bool> {
        if let Some(may_match) = self.ask_group(known, test, block.number, key, budget) {
            return Ok(may_match);
        }
        if !has_filter(test, block, key) {
            return Ok(true);
        }
        let read = |demand: &Demand<'_>| self.segment.token_filter_for(&self.files, block.number, key, demand);
        let Some(bytes) = budget.with_demand(read)? else { return Ok(true) };
        budget.bytes_read.fetch_add(bytes.len() as u64, Relaxed);
        let filter = TokenFilter::open(&bytes).map_err(|error| Error::corrupt(error.to_string()))?;
        Ok(test.tokens().may_match(&mut |hash| filter.contains(hash)))
    }

    /// Whether the token filter of a block lets a test through, if it is one that is read with its neighbours: they are
    /// asked together, once.
    fn ask_group(
        &self,
        known: &Known,
        test: &CompiledTest,
        block: u32,
        key: ColumnKey,
        budget: &Budget,
    ) -> Option<bool> {
        let group = FilterGroup::of_block(block);
        let ask = || match self.segment.filter_group(&self.files, group, key) {
            Some(filters) => answer(&filters, test, budget),
            None => GroupAnswer::default(),
        };
        known.tokens.get(test.id())?.get(group as usize)?.get_or_init(ask).may_match(block)
    }

    /// The blocks of a group that may hold a match by the token filters that are at hand, a bit each; `None` if none is.
    pub fn ask_at_hand(&self, filter: &Compiled, group: u32, budget: &Budget) -> Option<u32> {
        let mut is_asked = false;
        let left = filter.may_match_of(&mut |test| match self.group_at_hand(test, group, budget) {
            Some(answer) => {
                is_asked = true;
                answer.left()
            }
            None => u32::MAX,
        });
        is_asked.then_some(left)
    }

    fn group_at_hand(&self, test: &CompiledTest, group: u32, budget: &Budget) -> Option<GroupAnswer> {
        let answered = self.known.tokens.get(test.id())?.get(group as usize)?;
        if let Some(answer) = answered.get() {
            return Some(*answer);
        }
        let filters = self.segment.filter_group_at_hand(group, self.known.facts.column_alone(test)?)?;
        Some(*answered.get_or_init(|| answer(&filters, test, budget)))
    }

    /// The columns of a block, for the evaluator of a filter of which this is known.
    pub fn columns<'a>(&'a self, known: &'a Known, block: &'a BlockMeta, source: &'a Columns<'a>) -> BlockColumns<'a> {
        BlockColumns::new(&known.facts, self.directory(), block, source)
    }

    /// The source of columns, counted against a budget.
    pub fn source<'a>(&'a self, budget: &'a Budget) -> Columns<'a> {
        self.source_of_part(budget, 1, 1)
    }

    /// The source of columns for some of a block's rows: who comes back to a block for other rows
    /// does not count it whole each time.
    pub fn source_of_part<'a>(&'a self, budget: &'a Budget, part: usize, whole: usize) -> Columns<'a> {
        Columns { segment: self, budget, part: part as u64, whole: whole.max(1) as u64, growing: RefCell::default() }
    }
}

/// The columns of a segment, counted against a budget. It must outlive the use of its columns: when
/// it goes, the cache learns what reading them has decompressed.
pub(crate) struct Columns<'a> {
    segment: &'a OpenSegment,
    budget: &'a Budget,
    /// How much of a column's bytes is counted: `part / whole`.
    part: u64,
    whole: u64,
    /// The columns given out that grow while they are read.
    growing: RefCell<Vec<(u32, Arc<Column>)>>,
}

impl ColumnSource for Columns<'_> {
    fn column(&self, block: u32, key: ColumnKey) -> Result<Arc<Column>> {
        let OpenSegment { segment, files, .. } = self.segment;
        let column = self.budget.with_demand(|demand| segment.column_for(files, block, key, demand))?;
        self.segment.is_read.store(true, Relaxed);
        let bytes = (column.memory_bytes() as u64).saturating_mul(self.part) / self.whole;
        self.budget.bytes_read.fetch_add(bytes, Relaxed);
        self.budget.check()?;
        if let ColumnKey::Message = key {
            self.growing.borrow_mut().push((block, Arc::clone(&column)));
        }
        Ok(column)
    }
}

impl Drop for Columns<'_> {
    fn drop(&mut self) {
        for (block, column) in self.growing.get_mut().drain(..) {
            self.segment.segment.settle(block, ColumnKey::Message, &column);
        }
    }
}

impl Columns<'_> {
    /// The timestamps of a block.
    pub fn with_timestamps<T>(&self, block: u32, look: impl FnOnce(&[i64]) -> T) -> Result<T> {
        match &*self.column(block, ColumnKey::Timestamp)? {
            Column::Timestamps(times) => Ok(look(times)),
            _ => Err(mixed_up(block, ColumnKey::Timestamp)),
        }
    }
}

fn answer(filters: &TokenFilterGroup, test: &CompiledTest, budget: &Budget) -> GroupAnswer {
    budget.bytes_read.fetch_add(filters.len() as u64, Relaxed);
    filters.ask(test.tokens())
}

/// Whether a block has a token filter that can say something about a test.
fn has_filter(test: &CompiledTest, block: &BlockMeta, key: ColumnKey) -> bool {
    !test.tokens().is_none() && block.column(key).is_some_and(|column| column.filter.is_some())
}

pub(crate) fn mixed_up(block: u32, key: ColumnKey) -> Error {
    Error::corrupt(format!("block {block}: {key} is not of its kind"))
}

/// The blocks that a user index names for a test; `None` if none answers. One that cannot be read
/// costs only time.
fn user_index(files: &Opened, test: &CompiledTest) -> Option<RoaringBitmap> {
    let index = files.index.as_ref()?.as_ref().ok()?;
    let hashes = test.value_hashes()?;
    let name = test.target().name();
    index.user_indexes().find(|index| *index == name)?;
    let mut blocks = RoaringBitmap::new();
    for hash in hashes {
        blocks |= index.user(name, hash).ok()??;
    }
    Some(blocks)
}
