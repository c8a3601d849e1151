//! A block of a segment as columns, and what its directory says without reading any.

use super::{Columns, StreamSet, filter_rows};
use crate::compile::{Compiled, CompiledTest};
use crate::tree::Target;
use crate::verdict::Verdict;
use std::sync::Arc;
use timberlog_segment::{BlockMeta, Column, ColumnKey, Directory};
use timberlog_types::{Error, Result, RowSet};

/// Where the columns of a segment's blocks come from: a reader, or a cache before one.
pub trait ColumnSource {
    /// A column that the block's directory entry lists.
    fn column(&self, block: u32, key: ColumnKey) -> Result<Arc<Column>>;
}

/// What each test of a filter comes to for the streams, services, level spellings and field names
/// of one segment: found out once, then used for each of its blocks.
#[derive(Debug)]
pub struct SegmentFacts {
    tests: Vec<Fact>,
}

/// What a test comes to in a segment.
#[derive(Debug)]
enum Fact {
    /// Nothing that the directory could know.
    None,
    /// Whether each level spelling passes, by id.
    Levels(Vec<bool>),
    /// Whether each service passes, by id.
    Services(Vec<bool>),
    Name {
        /// What each stream decides, by id; empty if no stream has such a label.
        streams: Vec<Option<bool>>,
        /// The column of the field of that name.
        field: Option<ColumnKey>,
    },
}

impl SegmentFacts {
    /// Looks at a segment's directory.
    pub fn new(filter: &Compiled, directory: &Directory) -> Self {
        let fact = |test: &Arc<CompiledTest>| match test.target() {
            Target::Timestamp | Target::Message => Fact::None,
            Target::Level | Target::Spelling => Fact::Levels(
                directory
                    .levels
                    .iter()
                    .map(|level| test.matches_level(level.level, level.spelling.as_ref().map(String::as_bytes)))
                    .collect(),
            ),
            Target::Stream => Fact::Name {
                streams: directory.streams.iter().map(|stream| test.decide_stream(stream)).collect(),
                field: None,
            },
            Target::Service => {
                Fact::Services(directory.services.iter().map(|service| test.matches_text(service.as_bytes())).collect())
            }
            Target::Name(name) => {
                let mut streams: Vec<_> = directory.streams.iter().map(|stream| test.decide_stream(stream)).collect();
                if streams.iter().all(Option::is_none) {
                    streams.clear();
                }
                Fact::Name { streams, field: directory.field(name).map(ColumnKey::Field) }
            }
        };
        Self { tests: filter.tests().iter().map(fact).collect() }
    }

    /// The column whose values may decide a test, wherever blocks have it.
    pub fn column(&self, test: &CompiledTest) -> Option<ColumnKey> {
        match self.tests.get(test.id()) {
            Some(Fact::Name { field, .. }) => *field,
            Some(Fact::None) if *test.target() == Target::Message => Some(ColumnKey::Message),
            _ => None,
        }
    }

    /// The same, if nothing else may decide it: no stream has such a label.
    pub fn column_alone(&self, test: &CompiledTest) -> Option<ColumnKey> {
        match self.tests.get(test.id()) {
            Some(Fact::Name { streams, .. }) if !streams.is_empty() => None,
            _ => self.column(test),
        }
    }

    /// The column of the field that a test asks, if the block has it.
    pub fn field(&self, test: &CompiledTest, block: &BlockMeta) -> Option<ColumnKey> {
        match self.tests.get(test.id()) {
            Some(Fact::Name { field: Some(key), .. }) if block.column(*key).is_some() => Some(*key),
            _ => None,
        }
    }

    /// Whether the records' fields alone decide a test in a block: no stream of it has such a label.
    pub fn is_field_alone(&self, test: &CompiledTest, block: &BlockMeta) -> bool {
        match self.tests.get(test.id()) {
            Some(Fact::Name { streams, .. }) => {
                streams.is_empty() || block_streams(block).all(|id| streams.get(id).copied().flatten().is_none())
            }
            _ => false,
        }
    }

    /// What is known of a test for the rows of a block. `column` is asked where the directory does
    /// not know and the values of a column would decide: of the message, or of the test's field.
    pub fn judge(
        &self,
        test: &CompiledTest,
        block: &BlockMeta,
        column: &mut dyn FnMut(&CompiledTest, ColumnKey) -> Verdict,
    ) -> Verdict {
        let marked = |marks: &[bool], ids: &[(u32, u32)]| {
            let mark = |&(id, _): &(u32, u32)| marks.get(id as usize).map_or(Verdict::Maybe, |&mark| Verdict::of(mark));
            Verdict::of_parts(ids.iter().map(mark))
        };
        match self.tests.get(test.id()) {
            Some(Fact::Levels(marks)) => marked(marks, &block.levels),
            Some(Fact::Services(marks)) => marked(marks, &block.services),
            Some(Fact::Name { streams, field }) => {
                let mut by_field = || match field.filter(|&key| block.column(key).is_some()) {
                    Some(key) => column(test, key),
                    None => Verdict::of(test.matches_missing()),
                };
                if streams.is_empty() {
                    return by_field();
                }
                let mut field_verdict = None;
                Verdict::of_parts(block_streams(block).map(|id| match streams.get(id) {
                    Some(Some(passes)) => Verdict::of(*passes),
                    _ => *field_verdict.get_or_insert_with(&mut by_field),
                }))
            }
            Some(Fact::None) if *test.target() == Target::Timestamp => test.judge_times(block.range),
            Some(Fact::None) if *test.target() == Target::Message => column(test, ColumnKey::Message),
            Some(Fact::None) | None => Verdict::Maybe,
        }
    }
}

/// The ids of the streams that may be in a block.
fn block_streams(block: &BlockMeta) -> impl Iterator<Item = usize> {
    block.streams.iter().flat_map(|&(first, last)| first as usize..=last as usize)
}

/// A block of a segment as columns. `directory` is that of the segment which `facts` are about.
pub struct BlockColumns<'a> {
    facts: &'a SegmentFacts,
    directory: &'a Directory,
    block: &'a BlockMeta,
    source: &'a dyn ColumnSource,
}

impl<'a> BlockColumns<'a> {
    /// The columns of a block of the segment that `facts` are about.
    pub fn new(
        facts: &'a SegmentFacts,
        directory: &'a Directory,
        block: &'a BlockMeta,
        source: &'a dyn ColumnSource,
    ) -> Self {
        Self { facts, directory, block, source }
    }

    fn column(&self, key: ColumnKey) -> Result<Arc<Column>> {
        self.source.column(self.block.number, key)
    }

    fn mixed_up(&self, key: ColumnKey) -> Error {
        Error::corrupt(format!("block {}: {key} is not of its kind", self.block.number))
    }
}

impl Columns for BlockColumns<'_> {
    fn rows(&self) -> usize {
        self.block.rows as usize
    }

    fn judge(&self, test: &CompiledTest) -> Verdict {
        self.facts.judge(test, self.block, &mut |_, _| Verdict::Maybe)
    }

    fn times(&self, test: &CompiledTest, within: &RowSet) -> Result<RowSet> {
        match &*self.column(ColumnKey::Timestamp)? {
            Column::Timestamps(times) => {
                Ok(filter_rows(within, |row| times.get(row).is_some_and(|&time| test.matches_time(time))))
            }
            _ => Err(self.mixed_up(ColumnKey::Timestamp)),
        }
    }

    fn levels(&self, test: &CompiledTest, within: &RowSet) -> Result<RowSet> {
        let Some(Fact::Levels(marks)) = self.facts.tests.get(test.id()) else {
            return Ok(RowSet::none(within.rows()));
        };
        match &*self.column(ColumnKey::Level)? {
            Column::Levels(levels) => {
                let marked: Vec<bool> =
                    levels.spellings().iter().map(|&id| marks.get(id as usize).copied().unwrap_or_default()).collect();
                let mut rows = levels.codes().select(&marked);
                rows.intersect(within);
                Ok(rows)
            }
            _ => Err(self.mixed_up(ColumnKey::Level)),
        }
    }

    fn streams(&self, test: &CompiledTest, within: &RowSet) -> Result<StreamSet> {
        let mut set = StreamSet { matched: RowSet::none(within.rows()), undecided: RowSet::none(within.rows()) };
        let streams = match self.facts.tests.get(test.id()) {
            Some(Fact::Name { .. }) if self.facts.is_field_alone(test, self.block) => {
                set.undecided = within.clone();
                return Ok(set);
            }
            Some(fact @ (Fact::Name { .. } | Fact::Services(_))) => fact,
            _ => return Ok(set),
        };
        let decide = |id: u32| match streams {
            Fact::Name { streams, .. } => streams.get(id as usize).copied().flatten(),
            Fact::Services(marks) => {
                let service = self.directory.streams.service(id);
                Some(service.and_then(|service| marks.get(service as usize).copied()).unwrap_or_default())
            }
            Fact::None | Fact::Levels(_) => None,
        };
        match &*self.column(ColumnKey::Stream)? {
            Column::Streams(runs) => {
                for (id, rows) in runs.runs() {
                    let end = rows.end.min(within.rows());
                    match decide(id) {
                        Some(true) => set.matched.insert_range(rows.start.min(end), end),
                        Some(false) => {}
                        None => set.undecided.insert_range(rows.start.min(end), end),
                    }
                }
            }
            _ => return Err(self.mixed_up(ColumnKey::Stream)),
        }
        set.matched.intersect(within);
        set.undecided.intersect(within);
        Ok(set)
    }

    fn message(&self, test: &CompiledTest, within: &RowSet) -> Result<RowSet> {
        let Some(matcher) = test.matcher() else { return Ok(RowSet::none(within.rows())) };
        match &*self.column(ColumnKey::Message)? {
            Column::Message(messages) => messages
                .search(matcher, within)
                .map_err(|error| Error::corrupt(format!("block {}: {error}", self.block.number))),
            _ => Err(self.mixed_up(ColumnKey::Message)),
        }
    }

    fn field(&self, _: &str, test: &CompiledTest, within: &RowSet) -> Result<RowSet> {
        let missing = test.matches_missing();
        let Some(key) = self.facts.field(test, self.block) else {
            return Ok(if missing { within.clone() } else { RowSet::none(within.rows()) });
        };
        match &*self.column(key)? {
            Column::Field(values) => {
                let entries = values.dictionary().map_or(values.len(), |entries| entries.len());
                let rows = within.count();
                if rows < entries || rows * 8 < values.rows() {
                    return Ok(filter_rows(within, |row| {
                        values.get(row).map_or(missing, |value| test.matches_value(value))
                    }));
                }
                let mut hits = values.select(missing, |value| test.matches_value(value));
                hits.intersect(within);
                Ok(hits)
            }
            _ => Err(self.mixed_up(key)),
        }
    }
}
