//! Dimensions: what records are counted by, and what a block's directory or dictionary answers.

use crate::error::QueryError;
use crate::logql::view;
use crate::plan::Plan;
use crate::source::{OpenSegment, mixed_up};
use timberlog_filter::{ColumnSource, Target};
use timberlog_segment::{BlockMeta, Column, ColumnKey};
use timberlog_types::{Level, Result, RowSet, StreamRef, ValueKind};

/// One thing that records are counted by. Where the stream has something to say, it decides for
/// all of its records; else each record does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dimension {
    pub stream: StreamSide,
    pub row: RowSide,
}

/// What of its stream a record is counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamSide {
    /// Nothing.
    None,
    /// The derived service.
    Service,
    /// The stream label of this name.
    Label(String),
    /// The label that LogQL sees under this name.
    View {
        name: String,
        /// Whether labels that Loki derives are seen.
        derived: bool,
    },
}

/// What of itself a record is counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowSide {
    /// Nothing.
    None,
    /// The normalised level.
    Level,
    /// The level as it was sent; missing if none was.
    Spelling,
    /// Loki's `detected_level`: the field of that name, else what the level comes to.
    DetectedLevel,
    /// The field of this name.
    Field(String),
    /// The message.
    Message,
}

impl RowSide {
    /// Whether the level has a say.
    pub fn is_level(&self) -> bool {
        matches!(self, Self::Level | Self::Spelling | Self::DetectedLevel)
    }

    /// The text for a level.
    pub fn of_level<'a>(&self, level: Level, spelling: Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::Level => Some(level.as_str()),
            Self::Spelling => spelling,
            Self::DetectedLevel => Some(view::detected_level(level, spelling)),
            Self::None | Self::Field(_) | Self::Message => None,
        }
    }

    /// The name of the field that has a say.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Field(name) => Some(name),
            Self::DetectedLevel => Some(view::DETECTED_LEVEL),
            Self::None | Self::Level | Self::Spelling | Self::Message => None,
        }
    }
}

impl Dimension {
    /// What native queries mean by a name.
    pub fn named(name: &str) -> Result<Self, QueryError> {
        let (stream, row) = match Target::named(name) {
            Target::Timestamp => {
                return Err(QueryError::Invalid(
                    "records cannot be counted by `timestamp`; give a step instead".to_owned(),
                ));
            }
            Target::Level => (StreamSide::None, RowSide::Level),
            Target::Spelling => (StreamSide::None, RowSide::Spelling),
            Target::Service => (StreamSide::Service, RowSide::None),
            Target::Message => (StreamSide::None, RowSide::Message),
            Target::Stream => (StreamSide::None, RowSide::None),
            Target::Name(name) => (StreamSide::Label(name.clone()), RowSide::Field(name)),
        };
        Ok(Self { stream, row })
    }

    /// The name that LogQL has for it.
    pub fn view_name(&self) -> &str {
        match &self.stream {
            StreamSide::View { name, .. } | StreamSide::Label(name) => name,
            StreamSide::Service | StreamSide::None => "",
        }
    }

    /// The columns that tell its value in a block.
    pub fn columns(&self, open: &OpenSegment, block: &BlockMeta, keys: &mut Vec<ColumnKey>) {
        if self.stream != StreamSide::None {
            keys.push(ColumnKey::Stream);
        }
        if self.row.is_level() {
            keys.push(ColumnKey::Level);
        }
        if self.row == RowSide::Message {
            keys.push(ColumnKey::Message);
        }
        keys.extend(self.field(open, block));
    }

    /// The column of the field, if it is one and the block has it.
    pub fn field(&self, open: &OpenSegment, block: &BlockMeta) -> Option<ColumnKey> {
        open.directory().field(self.row.field()?).map(ColumnKey::Field).filter(|&key| block.column(key).is_some())
    }

    /// The one value of all rows of a block, if the directory knows that there is only one.
    #[allow(clippy::option_option, reason = "unknown, known to be missing, known: three different answers")]
    pub fn constant<'a>(&self, open: &'a OpenSegment, block: &BlockMeta) -> Option<Option<&'a [u8]>> {
        let directory = open.directory();
        if self.stream == StreamSide::Service {
            return match block.services.as_slice() {
                [(id, _)] => directory.services.get(*id as usize).map(|service| Some(service.as_bytes())),
                _ => None,
            };
        }
        if self.stream != StreamSide::None {
            let mut ids = block_streams(block);
            let label = |id: u32| directory.streams.get(id).map(|stream| self.of_stream(stream));
            let first = label(ids.next()?)?;
            if !ids.all(|id| label(id) == Some(first)) {
                return None;
            }
            if first.is_some() {
                return Some(first);
            }
        }
        match &self.row {
            RowSide::None => Some(None),
            _ if self.field(open, block).is_some() => None,
            side if side.is_level() => {
                let of =
                    |id: u32| directory.levels.get(id as usize).map(|l| side.of_level(l.level, l.spelling.as_deref()));
                let mut levels = block.levels.iter().map(|&(id, _)| of(id));
                let first = levels.next()??;
                levels.all(|level| level == Some(first)).then(|| first.map(str::as_bytes))
            }
            RowSide::Field(_) => Some(None),
            _ => None,
        }
    }

    /// Whether the directory counts the records of a block by it.
    pub fn is_counted(&self, open: &OpenSegment, block: &BlockMeta) -> bool {
        match &self.stream {
            StreamSide::Service => true,
            _ => self.row.is_level() && self.field(open, block).is_none() && !self.is_decided_by_streams(open, block),
        }
    }

    /// Whether some stream of a block has a say.
    pub fn is_decided_by_streams(&self, open: &OpenSegment, block: &BlockMeta) -> bool {
        let decides = |id| open.directory().streams.get(id).is_none_or(|stream| self.of_stream(stream).is_some());
        self.stream != StreamSide::None && block_streams(block).any(decides)
    }

    /// The counts of the directory.
    pub fn counts(&self, open: &OpenSegment, block: &BlockMeta, each: &mut dyn FnMut(Option<&[u8]>, u64)) {
        let directory = open.directory();
        if self.row.is_level() {
            for &(id, rows) in &block.levels {
                let level = directory.levels.get(id as usize);
                let value = level.and_then(|l| self.row.of_level(l.level, l.spelling.as_deref()));
                each(value.map(str::as_bytes), u64::from(rows));
            }
        } else if self.stream == StreamSide::Service {
            for &(id, rows) in &block.services {
                let service = directory.services.get(id as usize).map_or("", String::as_str);
                each(Some(service.as_bytes()), u64::from(rows));
            }
        }
    }

    /// What a stream says: `None` if each record does.
    pub fn of_stream<'a>(&self, stream: StreamRef<'a>) -> Option<&'a [u8]> {
        match &self.stream {
            StreamSide::None => None,
            StreamSide::Service => Some(stream.service().as_bytes()),
            StreamSide::Label(name) => stream.label(name).map(str::as_bytes),
            StreamSide::View { name, derived } => view::label(stream, name, *derived).map(str::as_bytes),
        }
    }
}

/// The ids of the streams that may be in a block.
pub(crate) fn block_streams(block: &BlockMeta) -> impl Iterator<Item = u32> {
    block.streams.iter().flat_map(|&(first, last)| first..=last)
}

/// Counts the rows of a block by one field of which the block has a dictionary, by its codes;
/// `None` if something else has a say.
pub(crate) fn count_by_dictionary(
    dimension: &Dimension,
    plan: &Plan,
    open: &OpenSegment,
    block: &BlockMeta,
    within: &RowSet,
    each: &mut dyn FnMut(Option<&[u8]>, u64),
) -> Result<Option<()>> {
    let Some(key) = dimension.field(open, block) else { return Ok(None) };
    if dimension.is_decided_by_streams(open, block) {
        return Ok(None);
    }
    let column = open.source(&plan.budget).column(block.number, key)?;
    let Column::Field(values) = &*column else { return Err(mixed_up(block.number, key)) };
    let within = (!within.is_full()).then_some(within);
    let (Some(entries), Some(counts)) = (values.dictionary(), values.count_by_code(within)) else { return Ok(None) };
    let mut missing = counts.last().copied().unwrap_or_default();
    let has_nulls = entries.iter().zip(&counts).any(|(value, &rows)| rows > 0 && value.kind == ValueKind::Null);
    if (missing > 0 || has_nulls) && dimension.row.is_level() {
        return Ok(None);
    }
    for (value, &rows) in entries.iter().zip(&counts) {
        match value.kind {
            ValueKind::Null => missing += rows,
            _ if rows > 0 => each(Some(value.text), rows),
            _ => {}
        }
    }
    each(None, missing);
    Ok(Some(()))
}
