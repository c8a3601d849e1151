//! The rows of a block or batch as LogQL sees them, one after the other: time, stream, line and
//! metadata. Reads only the columns that are needed, and allocates nothing for a row.

use super::view;
use crate::error::QueryError;
use crate::plan::{Place, Plan, Unit};
use crate::source::{OpenSegment, mixed_up};
use std::borrow::Cow;
use std::sync::Arc;
use timberlog_filter::ColumnSource;
use timberlog_logql::Wanted;
use timberlog_segment::{BlockMeta, Column, ColumnKey, ValueColumn};
use timberlog_types::{Batch, Error, FieldColumn, Level, Result, RowSet, StreamRef, ValueKind};

/// What somebody needs of rows.
pub(crate) struct Need<'a> {
    /// The metadata, by names as LogQL sees them.
    pub metadata: &'a Wanted,
    /// Whether the line is needed.
    pub line: bool,
    /// Whether labels that Loki derives are seen.
    pub derived: bool,
}

/// A row.
pub(crate) struct Row<'a> {
    pub row: usize,
    pub timestamp: i64,
    /// A number of the stream within the unit; rows of one stream mostly stand together.
    pub stream_id: usize,
    pub stream: StreamRef<'a>,
    /// Empty if it is not needed.
    pub line: &'a [u8],
    /// Sorted by name.
    pub metadata: &'a [(&'a str, &'a [u8])],
}

impl Need<'_> {
    /// Whether metadata of this name is needed, be it under the name that a collision gives it.
    fn wants(&self, name: &str) -> bool {
        match self.metadata {
            Wanted::All => true,
            Wanted::Names(names) => {
                names.iter().any(|wanted| wanted == name || wanted.strip_suffix("_extracted") == Some(name))
            }
        }
    }
}

impl Need<'_> {
    /// Whether the field of this stored name has to be read.
    fn reads(&self, stored: &str) -> bool {
        self.wants(&view::name(stored)) || (view::is_level_key(stored) && self.wants(view::LEVEL))
    }
}

/// Where one name of metadata comes from.
struct Metadata<'c> {
    name: Cow<'c, str>,
    source: Source<'c>,
}

#[derive(Clone)]
enum Source<'c> {
    Field(&'c ValueColumn),
    BatchField(FieldColumn<'c>),
    /// The level as it was sent; by level id.
    Spelling(Vec<Option<&'c str>>),
    /// What Loki makes of the level, by level id, unless the record has a field of that name; of
    /// several such fields the last counts, as with all metadata.
    Detected(Vec<&'c str>, Vec<Source<'c>>),
}

impl<'c> Source<'c> {
    fn value(&self, row: usize, level: usize) -> Option<&'c [u8]> {
        let value = match self {
            Self::Field(values) => values.get(row)?,
            Self::BatchField(values) => values.get(row)?,
            Self::Spelling(levels) => return levels.get(level).copied().flatten().map(str::as_bytes),
            Self::Detected(levels, fields) => {
                let own = fields.iter().rev().find_map(|field| field.value(row, level));
                return own.or_else(|| levels.get(level).map(|text| text.as_bytes()));
            }
        };
        (value.kind != ValueKind::Null).then_some(value.text)
    }
}

/// The sources of the metadata that is needed, sorted by name: of fields by their stored names,
/// and of the level.
fn sources<'c>(
    need: &Need<'_>,
    fields: impl Iterator<Item = (&'c str, Source<'c>)>,
    levels: &[(Level, Option<&'c str>)],
) -> Sources<'c> {
    let mut all = Vec::new();
    let mut level_keys = Vec::new();
    for (stored, source) in fields {
        if view::is_level_key(stored) && need.wants(view::LEVEL) {
            level_keys.push(source.clone());
        }
        let name = view::name(stored);
        if need.wants(&name) {
            all.push(Metadata { name, source });
        }
    }
    if need.wants(view::LEVEL) && levels.iter().any(|(_, spelling)| spelling.is_some()) {
        let source = Source::Spelling(levels.iter().map(|&(_, spelling)| spelling).collect());
        all.push(Metadata { name: Cow::Borrowed(view::LEVEL), source });
    }
    if need.derived && need.wants(view::DETECTED_LEVEL) {
        let own = all.extract_if(.., |metadata| metadata.name == view::DETECTED_LEVEL);
        let own = own.map(|metadata| metadata.source).collect();
        let texts = levels.iter().map(|&(level, spelling)| view::detected_level(level, spelling)).collect();
        all.push(Metadata { name: Cow::Borrowed(view::DETECTED_LEVEL), source: Source::Detected(texts, own) });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Sources { all, level_keys }
}

/// Where the metadata of a unit comes from.
struct Sources<'c> {
    all: Vec<Metadata<'c>>,
    /// Fields that tell a level under another name: a level that is the same was not sent besides.
    level_keys: Vec<Source<'c>>,
}

/// Calls `each` with the rows of a unit, ascending.
pub(crate) fn for_each(
    plan: &Plan,
    unit: &Unit,
    rows: &RowSet,
    need: &Need<'_>,
    each: &mut dyn FnMut(&Row<'_>) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    if let Place::Batch(batch) = &unit.place {
        return of_batch(&batch.batch, rows, need, each);
    }
    let Some((open, block)) = plan.block(unit) else { return Ok(()) };
    of_block(plan, open, block, rows, need, each)
}

pub(crate) fn of_batch(
    batch: &Batch,
    rows: &RowSet,
    need: &Need<'_>,
    each: &mut dyn FnMut(&Row<'_>) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    let levels: Vec<_> = (0..batch.level_count()).map(|id| batch.level(id)).map(|l| (l.level, l.spelling)).collect();
    let fields = batch.fields().filter(|field| need.reads(field.name()));
    let sources = sources(need, fields.map(|field| (field.name(), Source::BatchField(field))), &levels);
    let streams: Vec<bool> = (0..batch.stream_count()).map(|id| view::tells_level(batch.stream(id))).collect();
    let mut metadata = Vec::with_capacity(sources.all.len());
    for row in rows.iter() {
        let stream_id = batch.stream_id(row);
        let hides_level = streams.get(stream_id).copied().unwrap_or_default();
        gather(&sources, row, batch.level_id(row), hides_level, &mut metadata);
        each(&Row {
            row,
            timestamp: batch.timestamp(row),
            stream_id,
            stream: batch.stream(stream_id),
            line: if need.line { batch.message(row) } else { b"" },
            metadata: &metadata,
        })?;
    }
    Ok(())
}

fn gather<'c>(
    sources: &'c Sources<'c>,
    row: usize,
    level: usize,
    hides_level: bool,
    metadata: &mut Vec<(&'c str, &'c [u8])>,
) {
    metadata.clear();
    for Metadata { name, source } in &sources.all {
        let Some(value) = source.value(row, level).filter(|value| !value.is_empty()) else { continue };
        if matches!(source, Source::Spelling(_)) {
            let mut told = sources.level_keys.iter().filter_map(|key| key.value(row, level));
            if hides_level || told.any(|other| other == value) {
                continue;
            }
        }
        metadata.push((name, value));
    }
}

fn of_block(
    plan: &Plan,
    open: &OpenSegment,
    block: &BlockMeta,
    rows: &RowSet,
    need: &Need<'_>,
    each: &mut dyn FnMut(&Row<'_>) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    let (directory, number) = (open.directory(), block.number);
    let source = open.source_of_part(&plan.budget, rows.count(), rows.rows());
    let mut fields: Vec<(&str, Arc<Column>)> = Vec::new();
    for column in &block.columns {
        let ColumnKey::Field(id) = column.key else { continue };
        let Some(name) = directory.field_names.get(id as usize) else { continue };
        if need.reads(name) {
            fields.push((name, source.column(number, column.key)?));
        }
    }
    let mut columns = Vec::with_capacity(fields.len());
    for (name, column) in &fields {
        match &**column {
            Column::Field(values) => columns.push((*name, Source::Field(values))),
            _ => return Err(Error::corrupt(format!("block {number}: field `{name}` is not of its kind")).into()),
        }
    }
    let levels: Vec<_> = directory.levels.iter().map(|l| (l.level, l.spelling.as_deref())).collect();
    let sources = sources(need, columns.into_iter(), &levels);
    let column = source.column(number, ColumnKey::Level)?;
    let Column::Levels(level_ids) = &*column else { return Err(mixed_up(number, ColumnKey::Level).into()) };
    let column = source.column(number, ColumnKey::Timestamp)?;
    let Column::Timestamps(times) = &*column else { return Err(mixed_up(number, ColumnKey::Timestamp).into()) };
    let column = source.column(number, ColumnKey::Stream)?;
    let Column::Streams(runs) = &*column else { return Err(mixed_up(number, ColumnKey::Stream).into()) };
    let mut runs = runs.runs().peekable();
    let mut current: Option<(usize, StreamRef<'_>, bool, usize)> = None;
    let mut metadata = Vec::with_capacity(sources.all.len());
    let has_levels = sources.all.iter().any(|m| matches!(m.source, Source::Spelling(_) | Source::Detected(..)));
    let mut visit = |row: usize, line: &[u8]| -> Result<(), QueryError> {
        if current.is_none_or(|(.., end)| row >= end) {
            while runs.next_if(|(_, range)| range.end <= row).is_some() {}
            let Some((id, range)) = runs.peek() else { return Err(mixed_up(number, ColumnKey::Stream).into()) };
            let stream = directory.streams.get(*id).ok_or_else(|| mixed_up(number, ColumnKey::Stream))?;
            let has_level = has_levels && view::tells_level(stream);
            current = Some((*id as usize, stream, has_level, range.end));
        }
        let Some((stream_id, stream, hides_level, _)) = current else { return Ok(()) };
        let level = if has_levels { level_ids.get(row) as usize } else { 0 };
        gather(&sources, row, level, hides_level, &mut metadata);
        let timestamp = times.get(row).copied().unwrap_or_default();
        each(&Row { row, timestamp, stream_id, stream, line, metadata: &metadata })
    };
    if !need.line {
        return rows.iter().try_for_each(|row| visit(row, b""));
    }
    let column = source.column(number, ColumnKey::Message)?;
    let Column::Message(messages) = &*column else { return Err(mixed_up(number, ColumnKey::Message).into()) };
    let mut ended = Ok(());
    messages
        .read(rows, &mut |row, line| {
            if ended.is_ok() {
                ended = visit(row, line);
            }
        })
        .map_err(|error| Error::corrupt(format!("block {number}: {error}")))?;
    ended
}
